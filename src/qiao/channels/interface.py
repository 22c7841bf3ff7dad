"""What a channel promises: a manifest, six verbs, and optional interfaces of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from qiao.channels.diagnosis import Diagnosis
from qiao.channels.disputes import Dispute, DisputeQuery, DisputeReply, DisputeSpan
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
    Product,
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
from qiao.channels.settings import Settings
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.domain.money import Money
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
from qiao.domain.periods import ChargeWindow


class Capability(StrEnum):
    """An optional interface; a channel declares it and implements the protocol of that name."""

    AGREEMENTS = "agreements"
    CODE_REVERSAL = "code_reversal"
    DISPUTES = "disputes"
    PAYER_IDENTITY = "payer_identity"
    PROFIT_SHARING = "profit_sharing"
    SEPARATE_CAPTURE = "separate_capture"
    SHARE_RECEIVERS = "share_receivers"
    SHARE_RETURNS = "share_returns"
    STATEMENTS = "statements"
    TRANSFERS = "transfers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a channel is and can do. Limits are in minor units of each currency."""

    id: str
    name: Mapping[str, str]
    """The name for people, by language (``zh``, ``en``)."""
    products: frozenset[Product]
    currencies: frozenset[str]
    capabilities: frozenset[Capability] = frozenset()
    authorization_products: frozenset[Product] = frozenset()
    """The products by which an amount can be held first and captured later."""
    agreement_products: frozenset[Product] = frozenset()
    """The products by which an agreement can be signed, to be charged later."""
    charge_window: ChargeWindow | None = None
    """When an agreement may be charged; None where the channel sets no days."""
    min_minor: int = 1
    max_minor: int
    documentation_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentNotification:
    """An authentic message about a payment; ``reference`` is our number."""

    id: str
    reference: str
    outcome: PaymentOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNotification:
    """An authentic message about a refund; both references are our numbers."""

    id: str
    payment_reference: str
    reference: str
    outcome: RefundOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementNotification:
    """An authentic message that an agreement was signed or ended; ``reference`` is our number."""

    id: str
    reference: str
    outcome: AgreementOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeNotification:
    """An authentic message that there is a dispute, or news of one: ask the channel for it."""

    id: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNotification:
    """An authentic message that is about none of these; kept, acknowledged, and nothing more."""

    id: str
    kind: str


Notification = (
    PaymentNotification
    | RefundNotification
    | AgreementNotification
    | DisputeNotification
    | OtherNotification
)


class EntryKind(StrEnum):
    """What a line of a statement says."""

    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementEntry:
    """One line of a channel's statement. ``amount`` is gross; ``booked_at`` is UTC.

    ``fee_minor`` is signed: positive when the merchant pays it, negative when it comes back.
    """

    kind: EntryKind
    reference: str
    refund_reference: str | None
    channel_reference: str
    amount: Money
    fee_minor: int
    booked_at: datetime
    columns: Mapping[str, str] = field(default_factory=dict)
    """Every column as the channel wrote it, by its header."""


class Channel(Protocol):
    """One account at one channel. Every verb is a generator of requests; none does I/O."""

    @property
    def manifest(self) -> Manifest: ...

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Ask for a payment. Raises InvalidInput before the first request, and never after."""
        ...

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]: ...

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Make sure that no money can come any more; Succeeded when it already came."""
        ...

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]: ...

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]: ...

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        """Prove who sent the raw message, then read it. Raises NotificationRejected."""
        ...

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        """What to answer a notification with, once it is stored or was refused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelType:
    """How a channel is found: its package's entry point in ``qiao.channels`` names one of these.

    ``open`` makes the channel of one account. It is called once for each account, because it loads
    keys; it raises InvalidSettings. ``diagnosis`` lets ``qiao doctor`` say what is wrong with an
    account in the channel's own terms; without it, a general one says what it can.
    """

    manifest: Manifest
    settings: type[Settings]
    open: Callable[[Any], Channel]
    diagnosis: Diagnosis | None = None


class SeparateCapture(Protocol):
    """An amount is held first, and taken later, or let go. Authorized says that it is held.

    A verb of its own asks for it, so that a channel without the capability can never take the
    money instead. One capture takes all or a part, and ends the authorization.
    """

    def authorize(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        """Ask for an authorization; as ``create``, and Authorized in place of Succeeded."""
        ...

    def query_authorization(
        self, query: AuthorizationQuery, context: Context
    ) -> Operation[PaymentOutcome]:
        """Authorized while the amount is held; Closed once nothing is held any more."""
        ...

    def void(self, query: AuthorizationQuery, context: Context) -> Operation[PaymentOutcome]:
        """Make sure that nothing is held and nothing can be: Closed. Again does no harm."""
        ...

    def capture(self, request: CaptureRequest, context: Context) -> Operation[PaymentOutcome]:
        """Take it: Succeeded, with the amount that was captured; Declined when it was refused."""
        ...

    def query_capture(self, query: CaptureQuery, context: Context) -> Operation[PaymentOutcome]: ...


class Agreements(Protocol):
    """A customer agrees once, and is charged later without being asked again.

    What was charged is a payment like any other: it is queried, closed and refunded as one.
    """

    def sign(self, request: AgreementRequest, context: Context) -> Operation[AgreementOutcome]:
        """Ask for a signature: AgreementPending with what the customer must do, or a refusal.

        Raises InvalidInput before the first request, and never after. Again does no harm.
        """
        ...

    def query_agreement(
        self, query: AgreementQuery, context: Context
    ) -> Operation[AgreementOutcome]:
        """Whether it is signed. NotFound also where one that was not signed is not known."""
        ...

    def end_agreement(self, query: AgreementQuery, context: Context) -> Operation[AgreementOutcome]:
        """Make sure that nothing can be charged any more: AgreementEnded. Again does no harm."""
        ...

    def charge(self, request: AgreementCharge, context: Context) -> Operation[PaymentOutcome]:
        """Take money; a payment of its own, under its own number."""
        ...


class CodeReversal(Protocol):
    """A code payment whose outcome is not known in time is taken back."""

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]: ...


class PayerIdentity(Protocol):
    """The channel tells its own id of the payer, through OAuth in the payer's wallet."""

    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        """Where to send the payer's browser; it comes back with ``state`` and a code."""
        ...

    def identify(self, code: str, context: Context) -> Operation[str | None]:
        """The payer's id for the code; None when the channel refuses the code."""
        ...


class Transfers(Protocol):
    """Money goes out to a person."""

    def transfer(
        self, request: TransferRequest, context: Context
    ) -> Operation[TransferOutcome]: ...

    def query_transfer(
        self, query: TransferQuery, context: Context
    ) -> Operation[TransferOutcome]: ...


class ProfitSharing(Protocol):
    """A paid payment is divided between receivers, in one or several sharings."""

    def share_profit(
        self, request: ProfitSharingRequest, context: Context
    ) -> Operation[SharingOutcome]:
        """Order a sharing, or leave the rest to the merchant; the same number again is the same."""
        ...

    def query_profit_sharing(
        self, query: ProfitSharingQuery, context: Context
    ) -> Operation[SharingOutcome]: ...


class ShareReturns(Protocol):
    """A receiver gives its share back to the merchant, in whole or in part."""

    def return_share(
        self, request: ShareReturnRequest, context: Context
    ) -> Operation[TransferOutcome]:
        """Ask for it. Raises InvalidInput for a receiver of a kind that cannot give back."""
        ...

    def query_share_return(
        self, query: ShareReturnQuery, context: Context
    ) -> Operation[TransferOutcome]: ...


class ShareReceivers(Protocol):
    """Who may get shares of a merchant's payments must be bound to the merchant first."""

    def bind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]: ...

    def unbind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]: ...


class Disputes(Protocol):
    """Customers complain, or have their bank take money back; the merchant answers in time."""

    def list_disputes(self, span: DisputeSpan, context: Context) -> Operation[tuple[Dispute, ...]]:
        """Every dispute of the span, without phones: notifications may be lost."""
        ...

    def query_dispute(self, query: DisputeQuery, context: Context) -> Operation[Dispute | NotFound]:
        """The dispute as it is now, with the customer's phone where the channel tells it."""
        ...

    def reply_to_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        """Write to the customer. It is written once more when it is told again."""
        ...

    def finish_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        """Say that it is dealt with, and how."""
        ...


class Statements(Protocol):
    """The channel tells, a day later, what it booked."""

    def download_statement(
        self, request: StatementRequest, context: Context
    ) -> Operation[bytes | None]:
        """The statement's own bytes, as sent; None while there is none for that day."""
        ...

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        """Read what ``download_statement`` brought. Raises AnswerUnreadable."""
        ...


CAPABILITY_PROTOCOLS: Mapping[Capability, tuple[str, ...]] = {
    Capability.AGREEMENTS: ("sign", "query_agreement", "end_agreement", "charge"),
    Capability.CODE_REVERSAL: ("reverse",),
    Capability.DISPUTES: (
        "list_disputes",
        "query_dispute",
        "reply_to_dispute",
        "finish_dispute",
    ),
    Capability.PAYER_IDENTITY: ("authorization_url", "identify"),
    Capability.PROFIT_SHARING: ("share_profit", "query_profit_sharing"),
    Capability.SEPARATE_CAPTURE: (
        "authorize",
        "query_authorization",
        "void",
        "capture",
        "query_capture",
    ),
    Capability.SHARE_RECEIVERS: ("bind_receiver", "unbind_receiver"),
    Capability.SHARE_RETURNS: ("return_share", "query_share_return"),
    Capability.STATEMENTS: ("download_statement", "parse_statement"),
    Capability.TRANSFERS: ("transfer", "query_transfer"),
}
"""The verbs that each capability promises: no more and no fewer are there on the channel."""
