"""What came of an operation on a channel. Not sent, refused and unknown are different types."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from qiao.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Send the customer's browser to ``url``."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QrCode:
    """Show ``content`` as a QR code for the customer's wallet to scan."""

    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormPost:
    """Let the customer's browser post ``fields`` to ``url``."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientParameters:
    """Hand signed ``parameters`` to the wallet's own SDK (app, JSAPI, mini program)."""

    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """Tell the customer what to do, as name and value: account number, voucher, deadline."""

    lines: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitCustomer:
    """The customer is already asked, on a device of their own; ask the channel again later."""


Action = Redirect | QrCode | FormPost | ClientParameters | Instructions | AwaitCustomer


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The customer paid ``amount``; ``paid_at`` is UTC."""

    amount: Money
    channel_reference: str
    paid_at: datetime
    payer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorized:
    """``amount`` is held and may be captured until ``expires_at`` (UTC)."""

    amount: Money
    channel_reference: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The channel knows the payment; the customer has yet to do ``action``."""

    action: Action
    channel_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """The channel refused; no money moved and none will."""

    code: str
    channel_code: str
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The channel will take no money for this any more."""

    channel_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """The channel does not know the number; it may merely not know it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Nothing reached the channel."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may have happened: ask, never guess, never send it elsewhere."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """``amount`` of this one refund went back; ``refunded_at`` is UTC, None if not told."""

    amount: Money
    channel_reference: str | None = None
    refunded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPending:
    """The channel accepted the refund and works on it."""

    channel_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRefused:
    """The channel refused the refund; no money moved."""

    code: str
    channel_code: str
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """``amount`` reached the payee, or every receiver of a profit sharing its share."""

    amount: Money
    channel_reference: str
    transferred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPending:
    """The channel accepted the transfer; ``action`` is what the payee must do, if anything."""

    channel_reference: str | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRefused:
    """The channel refused the transfer, or took it back; no money moved in the end."""

    code: str
    channel_code: str
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareResult:
    """What became of one receiver's share. Without ``arrived`` it stays the merchant's."""

    arrived: bool
    channel_code: str = ""
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartlyShared:
    """Some receivers got their share, the others will not: ``results`` in the order of the shares.

    ``amount`` is what arrived, of all of them together.
    """

    amount: Money
    results: tuple[ShareResult, ...]
    channel_reference: str
    transferred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The receiver may get shares of the merchant's payments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbound:
    """The receiver may get no share any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRefused:
    """The channel refused; nothing changed."""

    code: str
    channel_code: str
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementPending:
    """The channel waits for the customer to sign; ``action`` is what they must do, if told."""

    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementActive:
    """The customer signed; ``channel_reference`` is what charges name. Times are UTC."""

    channel_reference: str
    signed_at: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRefused:
    """The channel refused to let it be signed: nothing was signed, and nothing will be."""

    code: str
    channel_code: str
    channel_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementEnded:
    """It was signed and is no more, whoever ended it; ``ended_at`` is UTC, None if not told."""

    channel_reference: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeAnswered:
    """The channel took what was said about a dispute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeAnswerRefused:
    """The channel did not take what was said about a dispute; nothing changed."""

    code: str
    channel_code: str
    channel_message: str = ""


PaymentOutcome = Succeeded | Authorized | Pending | Declined | Closed | NotFound | NotSent | Unknown
RefundOutcome = Refunded | RefundPending | RefundRefused | NotFound | NotSent | Unknown
TransferOutcome = Transferred | TransferPending | TransferRefused | NotFound | NotSent | Unknown
SharingOutcome = TransferOutcome | PartlyShared
DisputeOutcome = DisputeAnswered | DisputeAnswerRefused | NotSent | Unknown
BindingOutcome = Bound | Unbound | BindingRefused | NotSent | Unknown
AgreementOutcome = (
    AgreementPending
    | AgreementActive
    | AgreementRefused
    | AgreementEnded
    | NotFound
    | NotSent
    | Unknown
)
