"""One Alipay account as a channel: its manifest, and each verb handed to the file that does it."""

from collections.abc import Sequence
from typing import Final

from qiao.channels.alipay import (
    agreements,
    authorizations,
    disputes,
    notifications,
    oauth,
    payments,
    products,
    profit_sharing,
    refunds,
    share_receivers,
    share_returns,
    statements,
    transfers,
)
from qiao.channels.alipay.account import Account
from qiao.channels.alipay.gateway import Gateway
from qiao.channels.alipay.settings import AlipaySettings
from qiao.channels.alipay.texts import CURRENCY, MAX_MINOR, MIN_MINOR
from qiao.channels.disputes import Dispute, DisputeQuery, DisputeReply, DisputeSpan
from qiao.channels.interface import Capability, Manifest, Notification, StatementEntry
from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
    AuthorizationQuery,
    CaptureQuery,
    CaptureRequest,
    Context,
    PaymentQuery,
    PaymentRequest,
    ProfitSharingQuery,
    ProfitSharingRequest,
    ReceiverRequest,
    RefundQuery,
    RefundRequest,
    ShareReturnQuery,
    ShareReturnRequest,
    StatementRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.domain.outcomes import (
    AgreementOutcome,
    BindingOutcome,
    DisputeOutcome,
    NotFound,
    PaymentOutcome,
    RefundOutcome,
    SharingOutcome,
    TransferOutcome,
)

MANIFEST: Final = Manifest(
    id="alipay",
    name={"zh": "支付宝", "en": "Alipay"},
    products=frozenset(products.METHODS),
    currencies=frozenset({CURRENCY}),
    capabilities=frozenset(
        {
            Capability.AGREEMENTS,
            Capability.CODE_REVERSAL,
            Capability.DISPUTES,
            Capability.PAYER_IDENTITY,
            Capability.PROFIT_SHARING,
            Capability.SEPARATE_CAPTURE,
            Capability.SHARE_RECEIVERS,
            Capability.SHARE_RETURNS,
            Capability.STATEMENTS,
            Capability.TRANSFERS,
        }
    ),
    authorization_products=frozenset(authorizations.METHODS),
    agreement_products=frozenset(agreements.WAYS),
    charge_window=agreements.WINDOW,
    min_minor=MIN_MINOR,
    max_minor=MAX_MINOR,
    documentation_url="https://opendocs.alipay.com/",
)


class AlipayChannel:
    """The verbs of :class:`qiao.channels.interface.Channel` and of every capability declared.

    Raises InvalidSettings when the settings do not go together.
    """

    manifest = MANIFEST

    def __init__(self, settings: AlipaySettings) -> None:
        self._gateway = Gateway(account=Account.load(settings))

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Ask for a payment; see :func:`.products.create_payment`."""
        return products.create_payment(self._gateway, request, context)

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Ask for the trade's state; see :func:`.payments.query_payment`."""
        return payments.query_payment(self._gateway, query, context)

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Close the trade; see :func:`.payments.close_payment`."""
        return payments.close_payment(self._gateway, query, context)

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Take a code payment back; see :func:`.payments.reverse_payment`."""
        return payments.reverse_payment(self._gateway, query, context)

    def authorize(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Have an amount held; see :func:`.authorizations.authorize`."""
        return authorizations.authorize(self._gateway, request, context)

    def query_authorization(
        self, query: AuthorizationQuery, context: Context
    ) -> Operation[PaymentOutcome]:
        """Ask whether it is held; see :func:`.authorizations.query_authorization`."""
        return authorizations.query_authorization(self._gateway, query, context)

    def void(self, query: AuthorizationQuery, context: Context) -> Operation[PaymentOutcome]:
        """Let go of it; see :func:`.authorizations.void`."""
        return authorizations.void(self._gateway, query, context)

    def capture(self, request: CaptureRequest, context: Context) -> Operation[PaymentOutcome]:
        """Take a part or all of it; see :func:`.authorizations.capture`."""
        return authorizations.capture(self._gateway, request, context)

    def query_capture(self, query: CaptureQuery, context: Context) -> Operation[PaymentOutcome]:
        """Ask for a capture; see :func:`.authorizations.query_capture`."""
        return authorizations.query_capture(self._gateway, query, context)

    def sign(self, request: AgreementRequest, context: Context) -> Operation[AgreementOutcome]:
        """Where the customer signs; see :func:`.agreements.sign`."""
        return agreements.sign(self._gateway, request, context)

    def query_agreement(
        self, query: AgreementQuery, context: Context
    ) -> Operation[AgreementOutcome]:
        """Ask whether it is signed; see :func:`.agreements.query_agreement`."""
        return agreements.query_agreement(self._gateway, query, context)

    def end_agreement(self, query: AgreementQuery, context: Context) -> Operation[AgreementOutcome]:
        """End it; see :func:`.agreements.end_agreement`."""
        return agreements.end_agreement(self._gateway, query, context)

    def charge(self, request: AgreementCharge, context: Context) -> Operation[PaymentOutcome]:
        """Take money by it; see :func:`.agreements.charge`."""
        return agreements.charge(self._gateway, request, context)

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        """Give money back; see :func:`.refunds.refund_payment`."""
        return refunds.refund_payment(self._gateway, request, context)

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]:
        """Ask for a refund; see :func:`.refunds.query_refund`."""
        return refunds.query_refund(self._gateway, query, context)

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        """Prove and read a notification; see :func:`.notifications.authenticate`."""
        return notifications.authenticate(self._gateway.account, message)

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        """``success`` or ``fail``."""
        return notifications.acknowledge(accepted=accepted)

    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        """Where the payer's browser goes for a code; see :func:`.oauth.authorization_url`."""
        return oauth.authorization_url(self._gateway, redirect_url=redirect_url, state=state)

    def identify(self, code: str, context: Context) -> Operation[str | None]:
        """The payer's id for the code; see :func:`.oauth.identify_payer`."""
        return oauth.identify_payer(self._gateway, code, context)

    def transfer(self, request: TransferRequest, context: Context) -> Operation[TransferOutcome]:
        """Pay out; see :func:`.transfers.send_transfer`."""
        return transfers.send_transfer(self._gateway, request, context)

    def query_transfer(self, query: TransferQuery, context: Context) -> Operation[TransferOutcome]:
        """Ask for a transfer; see :func:`.transfers.query_transfer`."""
        return transfers.query_transfer(self._gateway, query, context)

    def share_profit(
        self, request: ProfitSharingRequest, context: Context
    ) -> Operation[SharingOutcome]:
        """Divide a paid payment; see :func:`.profit_sharing.share_profit`."""
        return profit_sharing.share_profit(self._gateway, request, context)

    def query_profit_sharing(
        self, query: ProfitSharingQuery, context: Context
    ) -> Operation[SharingOutcome]:
        """Ask for a sharing; see :func:`.profit_sharing.query_profit_sharing`."""
        return profit_sharing.query_profit_sharing(self._gateway, query, context)

    def return_share(
        self, request: ShareReturnRequest, context: Context
    ) -> Operation[TransferOutcome]:
        """Have a share given back; see :func:`.share_returns.return_share`."""
        return share_returns.return_share(self._gateway, request, context)

    def query_share_return(
        self, query: ShareReturnQuery, context: Context
    ) -> Operation[TransferOutcome]:
        """Ask for a return; see :func:`.share_returns.query_share_return`."""
        return share_returns.query_share_return(self._gateway, query, context)

    def bind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        """Bind a receiver of shares; see :func:`.share_receivers.bind_receiver`."""
        return share_receivers.bind_receiver(self._gateway, request, context)

    def unbind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        """Unbind a receiver of shares; see :func:`.share_receivers.unbind_receiver`."""
        return share_receivers.unbind_receiver(self._gateway, request, context)

    def list_disputes(self, span: DisputeSpan, context: Context) -> Operation[tuple[Dispute, ...]]:
        """The span's complaints; see :func:`.disputes.list_disputes`."""
        return disputes.list_disputes(self._gateway, span, context)

    def query_dispute(self, query: DisputeQuery, context: Context) -> Operation[Dispute | NotFound]:
        """One complaint; see :func:`.disputes.query_dispute`."""
        return disputes.query_dispute(self._gateway, query, context)

    def reply_to_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        """Write to the customer; see :func:`.disputes.reply_to_dispute`."""
        return disputes.reply_to_dispute(self._gateway, reply, context)

    def finish_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        """It is dealt with; see :func:`.disputes.finish_dispute`."""
        return disputes.finish_dispute(self._gateway, reply, context)

    def download_statement(
        self, request: StatementRequest, context: Context
    ) -> Operation[bytes | None]:
        """The day's zip; see :func:`.statements.download_statement`."""
        return statements.download_statement(self._gateway, request, context)

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        """Read the zip; see :func:`.statements.parse_statement`."""
        return statements.parse_statement(statement)
