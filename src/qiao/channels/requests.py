"""What a channel is asked to do, in the domain's words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit


class Product(StrEnum):
    """How a payment reaches the customer."""

    QR = "qr"
    CODE = "code"
    PAGE = "page"
    H5 = "h5"
    APP = "app"
    MINI_PROGRAM = "mini_program"
    OFFICIAL_ACCOUNT = "official_account"
    AGREEMENT = "agreement"
    """Charged by an agreement that was signed before: nobody asks for it by ``create``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a channel may not fetch for itself: the time (aware, UTC) and fresh randomness."""

    now: Callable[[], datetime]
    nonce: Callable[[], str]
    """A new text of 32 characters from ``[0-9a-zA-Z]`` at every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """Ask for ``amount`` under ``reference``, our number, which stays the same on every resend.

    ``payer`` is the channel's own id of the payer (Alipay's buyer_open_id, WeChat Pay's openid),
    ``auth_code`` what was scanned from the customer's phone, ``expires_at`` UTC.
    """

    reference: str
    amount: Money
    product: Product
    description: str
    notify_url: str
    expires_at: datetime
    return_url: str | None = None
    payer: str | None = field(default=None, repr=False)
    auth_code: str | None = field(default=None, repr=False)
    client_ip: str | None = field(default=None, repr=False)
    store: str | None = None
    profit_sharing: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentQuery:
    """Ask about the payment ``reference``, which was for ``amount``.

    ``by_agreement`` says that it was charged by an agreement: a channel may answer elsewhere.
    """

    reference: str
    amount: Money
    by_agreement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationQuery:
    """Ask about the authorization ``reference``, which was to hold ``amount``."""

    reference: str
    amount: Money
    channel_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Take ``amount`` of what is held, and let go of the rest.

    ``reference`` is the capture's own number and stays the same on every resend.
    """

    reference: str
    amount: Money
    authorization: AuthorizationQuery
    description: str
    notify_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureQuery:
    """Ask about the capture ``reference`` of ``amount``."""

    reference: str
    amount: Money
    authorization: AuthorizationQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Give ``amount`` of the payment ``payment_reference`` (for ``payment_amount``) back.

    What was captured separately is refunded under the capture's number, and ``payment_amount`` is
    what was captured.

    ``reference`` is the refund's own number and stays the same on every resend.
    """

    reference: str
    payment_reference: str
    payment_amount: Money
    amount: Money
    notify_url: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundQuery:
    """Ask about the refund ``reference`` of ``amount``."""

    reference: str
    payment_reference: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRequest:
    """Ask for the statement of one day in the channel's own time zone."""

    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """Pay ``amount`` out to ``payee``, the channel's own id of a person.

    ``payee_name`` lets the channel check that the id is that person's. ``scene`` is the channel's
    own code for the purpose, where it wants one.
    """

    reference: str
    amount: Money
    payee: str = field(repr=False)
    payee_name: str | None = field(default=None, repr=False)
    description: str
    scene: str | None = None
    notify_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferQuery:
    """Ask about the transfer ``reference`` of ``amount``."""

    reference: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRule:
    """What the customer agrees to: at most ``max_amount`` once in every ``count`` units.

    ``first_on`` is the first day of a charge, in the channel's own time zone.
    """

    max_amount: Money
    unit: PeriodUnit
    count: int
    first_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRequest:
    """Ask the customer to sign, under ``reference``, our number, the same on every resend.

    ``plan`` is the channel's own code for what is agreed on, where it wants one (WeChat Pay's
    plan_id, Alipay's sign_scene). ``display_name`` is what the customer is called by the merchant,
    and sees while signing.
    """

    reference: str
    product: Product
    rule: ChargeRule
    display_name: str = field(repr=False)
    notify_url: str
    plan: str | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementQuery:
    """Ask about the agreement ``reference``, or end it; ``plan`` as it was asked for."""

    reference: str
    plan: str | None = None
    channel_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementCharge:
    """Take ``amount`` by an agreement that is signed, without the customer.

    ``reference`` is the payment's own number and stays the same on every resend.
    """

    reference: str
    amount: Money
    agreement_reference: str
    """The channel's own number of the agreement."""
    description: str
    notify_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One receiver's part. ``receiver_type`` is the channel's own word for the kind of id."""

    receiver_type: str
    receiver: str = field(repr=False)
    amount: Money
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitSharingRequest:
    """Divide part of a paid payment. ``finish`` leaves the rest to the merchant for good.

    With ``finish`` and without shares it does that alone.
    """

    reference: str
    payment_reference: str
    payment_channel_reference: str
    shares: tuple[Share, ...]
    finish: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitSharingQuery:
    """Ask about the sharing ``reference``, which divided ``amount`` in all.

    ``shares`` are those of the request; without them it cannot be told who got what, and an end in
    part is unknown.
    """

    reference: str
    payment_reference: str
    payment_channel_reference: str
    amount: Money
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareReturnQuery:
    """Ask about the return ``reference``: ``amount`` of the share that ``share`` was."""

    reference: str
    amount: Money
    sharing_reference: str
    payment_reference: str
    payment_channel_reference: str
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareReturnRequest(ShareReturnQuery):
    """Have ``share``'s receiver give ``amount`` of it back to the merchant.

    ``reference`` is the return's own number and stays the same on every resend. The request names
    all that a question about it does, and is one.
    """

    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRequest:
    """Bind a receiver to the merchant, or unbind it, under the channel's own words.

    ``reference`` is new at every asking, for to bind again does no harm. ``relation`` is the
    channel's word for what the receiver is to the merchant, and ``memo`` what people call it.
    """

    reference: str
    receiver_type: str
    receiver: str = field(repr=False)
    name: str | None = field(default=None, repr=False)
    relation: str | None = None
    memo: str | None = None
