"""One WeChat Pay account on API v3: its manifest, and each verb handed to its own file."""

from collections.abc import Sequence
from typing import Final

from qiao.channels.disputes import Dispute, DisputeQuery, DisputeReply, DisputeSpan
from qiao.channels.interface import Capability, Manifest, Notification, StatementEntry
from qiao.channels.requests import (
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
from qiao.channels.wechat import (
    certificates,
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
from qiao.channels.wechat.account import Account
from qiao.channels.wechat.gateway import Gateway
from qiao.channels.wechat.settings import WechatSettings
from qiao.channels.wechat.texts import CURRENCY, MAX_MINOR, MIN_MINOR
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.domain.outcomes import (
    BindingOutcome,
    DisputeOutcome,
    NotFound,
    PaymentOutcome,
    RefundOutcome,
    SharingOutcome,
    TransferOutcome,
)

MANIFEST: Final = Manifest(
    id="wechat",
    name={"zh": "微信支付", "en": "WeChat Pay"},
    products=frozenset(products.PATHS),
    currencies=frozenset({CURRENCY}),
    capabilities=frozenset(
        {
            Capability.CODE_REVERSAL,
            Capability.DISPUTES,
            Capability.PAYER_IDENTITY,
            Capability.PROFIT_SHARING,
            Capability.SHARE_RECEIVERS,
            Capability.SHARE_RETURNS,
            Capability.STATEMENTS,
            Capability.TRANSFERS,
        }
    ),
    min_minor=MIN_MINOR,
    max_minor=MAX_MINOR,
    documentation_url="https://pay.weixin.qq.com/doc/v3/merchant/4012062524",
)


class WechatChannel:
    """The verbs of :class:`qiao.channels.interface.Channel` and of every capability declared.

    Raises InvalidSettings when the settings do not go together.
    """

    manifest = MANIFEST

    def __init__(self, settings: WechatSettings) -> None:
        self._gateway = Gateway(account=Account.load(settings))

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Ask for a payment; see :func:`.products.create_payment`."""
        return products.create_payment(self._gateway, request, context)

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Ask for the order's state; see :func:`.payments.query_payment`."""
        return payments.query_payment(self._gateway, query, context)

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Close the order; see :func:`.payments.close_payment`."""
        return payments.close_payment(self._gateway, query, context)

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Take a code payment back; see :func:`.payments.reverse_payment`."""
        return payments.reverse_payment(self._gateway, query, context)

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        """Give money back; see :func:`.refunds.refund_payment`."""
        return refunds.refund_payment(self._gateway, request, context)

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]:
        """Ask for a refund; see :func:`.refunds.query_refund`."""
        return refunds.query_refund(self._gateway, query, context)

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        """Prove and read a notification; see :func:`.notifications.authenticate`."""
        return notifications.authenticate(self._gateway.account, message, context)

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        """An empty 204, or an error."""
        return notifications.acknowledge(accepted=accepted)

    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        """Where the payer's browser goes for a code; see :func:`.oauth.authorization_url`."""
        settings = self._gateway.account.settings
        return oauth.authorization_url(settings, redirect_url=redirect_url, state=state)

    def identify(self, code: str, context: Context) -> Operation[str | None]:
        """The payer's id for the code; see :func:`.oauth.identify_payer`."""
        return oauth.identify_payer(self._gateway.account.settings, code)

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
        """Add a receiver of shares; see :func:`.share_receivers.bind_receiver`."""
        return share_receivers.bind_receiver(self._gateway, request, context)

    def unbind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        """Delete a receiver of shares; see :func:`.share_receivers.unbind_receiver`."""
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
        """The day's trade bill; see :func:`.statements.download_statement`."""
        return statements.download_statement(self._gateway, request, context)

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        """Read the bill; see :func:`.statements.parse_statement`."""
        return statements.parse_statement(statement)

    def download_fund_flow(
        self, request: StatementRequest, context: Context, *, account_type: str = "BASIC"
    ) -> Operation[bytes | None]:
        """The day's fund flow bill; see :func:`.statements.download_fund_flow`."""
        return statements.download_fund_flow(
            self._gateway, request, context, account_type=account_type
        )

    def download_certificates(self, context: Context) -> Operation[dict[str, str]]:
        """WeChat Pay's own certificates; see :func:`.certificates.download_certificates`."""
        return certificates.download_certificates(self._gateway, context)
