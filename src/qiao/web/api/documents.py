"""What the API takes and shows. Amounts are whole minor units, times RFC 3339 in UTC."""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.money import MAX_MINOR
from qiao.domain.states import AttemptState, CaptureState, PaymentState, RefundState
from qiao.engine.payments import MAX_PAGE
from qiao.engine.records import Attempt, Capture, CaptureMode, Payment, Refund

Amount = Annotated[int, Meta(ge=1, le=MAX_MINOR, description="whole minor units (fen, cents)")]
Text = Annotated[str, Meta(max_length=2000)]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]


class MethodInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the customer pays. ``payer`` is the channel's id of the payer, ``auth_code`` scanned.

    The channel ``auto`` leaves it to the routing rules; country, device and preference (a channel)
    are for them alone.
    """

    channel: Text
    product: Product
    payer: Text | None = None
    auth_code: Text | None = None
    client_ip: Text | None = None
    return_url: Text | None = None
    country: Country | None = None
    device: Text | None = None
    preference: Text | None = None


class PaymentInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order to be paid for. With ``method`` it is attempted at once.

    With ``capture`` ``manual`` the amount is only held, until it is captured or voided. With
    ``profit_sharing`` it may be shared once it is paid.
    """

    order_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    amount: Amount
    description: Annotated[str, Meta(min_length=1, max_length=127)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")] = "CNY"
    methods: Annotated[list[Text], Meta(max_length=32)] = []
    return_url: Text | None = None
    metadata: dict[str, str] = {}
    expires_in: Annotated[int, Meta(ge=60, le=604_800, description="seconds")] = 1800
    capture: CaptureMode = CaptureMode.AUTOMATIC
    profit_sharing: bool = False
    method: MethodInput | None = None


class CaptureInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much to take of what is held; all of it when ``amount`` is not given."""

    amount: Amount | None = None


class RefundInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much to give back; all that is left when ``amount`` is not given."""

    amount: Amount | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=80)] | None = None


class EndpointInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to send events; every type when ``event_types`` is empty."""

    url: Text
    event_types: Annotated[list[Text], Meta(max_length=32)] = []


class AttemptDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One try to be paid. ``action`` is what the customer must do, while it is pending."""

    id: str
    payment_id: str
    channel: str
    product: Product
    reference: Annotated[str, Meta(description="our number at the channel")]
    state: AttemptState
    action: dict[str, Any] | None
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    created_at: datetime
    replaces: Annotated[
        str | None, Meta(description="the attempt of the same request that failed before")
    ] = None
    routing: Annotated[
        dict[str, Any] | None, Meta(description="the rules' version and row, and the candidates")
    ] = None
    fee: Annotated[int, Meta(description="what the operator charges; 0 until it is paid")] = 0
    channel_fee: Annotated[int, Meta(description="what the channel keeps, by the fees known")] = 0
    object: str = "attempt"


class CaptureDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The taking of what was held, or of a part of it."""

    id: str
    payment_id: str
    amount: int
    currency: str
    state: CaptureState
    code: str | None
    channel_code: str | None
    channel_message: str | None
    channel_reference: str | None
    captured_at: datetime | None
    created_at: datetime
    object: str = "capture"


class RefundDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Money given back. ``surplus``: it came too late or twice and went back by itself."""

    id: str
    payment_id: str
    amount: int
    currency: str
    state: RefundState
    surplus: bool
    reason: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    channel_reference: str | None
    refunded_at: datetime | None
    created_at: datetime
    fee_returned: Annotated[int, Meta(description="what of the operator's fee goes back")] = 0
    channel_fee_returned: int = 0
    object: str = "refund"


class PaymentDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An order and how far its payment is. ``app_id``: the app whose key accepted it."""

    id: str
    live: bool
    order_id: str
    app_id: str | None
    amount: int
    currency: str
    description: str
    state: PaymentState
    capture: CaptureMode
    profit_sharing: bool
    authorized: int
    captured: int
    refunded: int
    methods: list[str]
    return_url: str | None
    metadata: dict[str, str]
    cashier_url: str
    expires_at: datetime
    authorized_at: datetime | None
    paid_at: datetime | None
    closed_at: datetime | None
    created_at: datetime
    attempts: list[AttemptDocument] = []
    captures: list[CaptureDocument] = []
    refunds: list[RefundDocument] = []
    object: str = "payment"


class EventDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; ``data`` is what it was about, as it was then."""

    id: str
    type: str
    payment_id: Annotated[str | None, Meta(description="null for a transfer's")]
    created_at: datetime
    data: dict[str, Any]
    object: str = "event"


class EndpointDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go. ``secret`` is shown only when the endpoint is made.

    With ``app_id`` it is told only of that app's payments.
    """

    id: str
    app_id: str | None
    url: str
    event_types: list[str]
    enabled: bool
    created_at: datetime
    secret: str | None = None
    object: str = "webhook_endpoint"


class DeliveryDocument(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one event at one endpoint: pending, delivered or failed."""

    event_id: str
    type: str
    state: str
    tries: int
    last_status: int | None
    last_error: str | None
    last_tried_at: datetime | None
    delivered_at: datetime | None
    object: str = "webhook_delivery"


class ChannelDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that the merchant has an account at, and what it offers."""

    id: str
    name: dict[str, str]
    products: list[Product]
    currencies: list[str]
    object: str = "channel"


Item = TypeVar("Item")
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
"""How many things a page shows at most."""


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page, the newest first; the next is ``before`` the id of its last one."""

    data: list[Item]
    has_more: bool
    object: str = "list"


def page_of(documents: list[Item], limit: int) -> Page[Item]:
    """A page that was asked to hold ``limit`` of them: a full one may have more behind it."""
    return Page(data=documents, has_more=len(documents) == limit)


def payment_document(
    payment: Payment,
    public_url: str,
    attempts: list[Attempt] | None = None,
    refunds: list[Refund] | None = None,
    captures: list[Capture] | None = None,
) -> PaymentDocument:
    return PaymentDocument(
        id=payment.payment_id,
        live=payment.live,
        order_id=payment.order_id,
        app_id=payment.app_id,
        amount=payment.amount_minor,
        currency=payment.currency,
        description=payment.description,
        state=payment.state,
        capture=payment.capture,
        profit_sharing=payment.profit_sharing,
        authorized=payment.authorized_minor,
        captured=payment.captured_minor,
        refunded=payment.refunded_minor,
        methods=payment.methods,
        return_url=payment.return_url,
        metadata=payment.metadata,
        cashier_url=cashier_url(payment, public_url),
        expires_at=payment.expires_at,
        authorized_at=payment.authorized_at,
        paid_at=payment.paid_at,
        closed_at=payment.closed_at,
        created_at=payment.created_at,
        attempts=[attempt_document(one) for one in attempts or []],
        captures=[capture_document(one) for one in captures or []],
        refunds=[refund_document(one) for one in refunds or []],
    )


def cashier_url(payment: Payment, public_url: str) -> str:
    """The page where the customer pays; the token in it is all that is needed."""
    return (
        f"{public_url}/cashier/{payment.merchant_id}/{payment.payment_id}/{payment.cashier_token}"
    )


def attempt_document(attempt: Attempt) -> AttemptDocument:
    return AttemptDocument(
        id=attempt.attempt_id,
        payment_id=attempt.payment_id,
        channel=attempt.channel,
        product=attempt.product,
        reference=attempt.reference,
        state=attempt.state,
        action=attempt.action,
        channel_reference=attempt.channel_reference,
        code=attempt.code,
        channel_code=attempt.channel_code,
        channel_message=attempt.channel_message,
        created_at=attempt.created_at,
        replaces=attempt.replaces,
        routing=attempt.routing,
        fee=attempt.fee_minor,
        channel_fee=attempt.channel_fee_minor,
    )


def capture_document(capture: Capture) -> CaptureDocument:
    return CaptureDocument(
        id=capture.capture_id,
        payment_id=capture.payment_id,
        amount=capture.amount_minor,
        currency=capture.currency,
        state=capture.state,
        code=capture.code,
        channel_code=capture.channel_code,
        channel_message=capture.channel_message,
        channel_reference=capture.channel_reference,
        captured_at=capture.captured_at,
        created_at=capture.created_at,
    )


def refund_document(refund: Refund) -> RefundDocument:
    return RefundDocument(
        id=refund.refund_id,
        payment_id=refund.payment_id,
        amount=refund.amount_minor,
        currency=refund.currency,
        state=refund.state,
        surplus=refund.surplus,
        reason=refund.reason,
        code=refund.code,
        channel_code=refund.channel_code,
        channel_message=refund.channel_message,
        channel_reference=refund.channel_reference,
        refunded_at=refund.refunded_at,
        fee_returned=refund.fee_returned_minor,
        channel_fee_returned=refund.channel_fee_returned_minor,
        created_at=refund.created_at,
    )
