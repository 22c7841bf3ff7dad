"""Accept a payment and show it. Accepting the same order again gives the same payment."""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import Money
from qiao.engine.errors import Conflict, Missing
from qiao.engine.organisations import check_taking
from qiao.engine.payment_limits import limit_exceeded
from qiao.engine.records import Attempt, Capture, CaptureMode, Payment, Refund, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.store.sql import load_statements
from qiao.telemetry import metrics
from qiao.telemetry.tracing import traced

SQL = load_statements("payments")
REFUNDS = load_statements("refunds")
ATTEMPTS = msgspec.json.Decoder(list[Attempt])
REFUND_LIST = msgspec.json.Decoder(list[Refund])
CAPTURES = msgspec.json.Decoder(list[Capture])
Made = TypeVar("Made")

ORDER_ID: Final = re.compile(r"[!-~]{1,64}", re.ASCII)
MAX_DESCRIPTION: Final = 127
MAX_METADATA: Final = 20
MAX_METADATA_TEXT: Final = 500
MIN_EXPIRY_SECONDS: Final = 60
MAX_EXPIRY_SECONDS: Final = 7 * 24 * 3600
DEFAULT_EXPIRY_SECONDS: Final = 30 * 60
MAX_PAGE: Final = 100
MAX_URL: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a merchant wants to be paid for. ``methods`` limits the channels; empty means any."""

    order_id: str
    amount: Money
    description: str
    methods: tuple[str, ...] = ()
    return_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_in_seconds: int = DEFAULT_EXPIRY_SECONDS
    capture: CaptureMode = CaptureMode.AUTOMATIC
    profit_sharing: bool = False

    def __post_init__(self) -> None:
        check_number(self.order_id, "an order number", field="order_id")
        if self.amount.minor <= 0:
            raise InvalidInput(
                "nothing to pay", field="amount", remedy="give a whole number above zero"
            )
        if not 1 <= len(self.description) <= MAX_DESCRIPTION or not self.description.isprintable():
            raise InvalidInput(
                "not a description that a wallet can show",
                field="description",
                remedy=f"give 1 to {MAX_DESCRIPTION} printable characters",
            )
        if not MIN_EXPIRY_SECONDS <= self.expires_in_seconds <= MAX_EXPIRY_SECONDS:
            raise InvalidInput(
                "expires too soon or too late",
                field="expires_in",
                remedy=f"give {MIN_EXPIRY_SECONDS} to {MAX_EXPIRY_SECONDS} seconds",
            )
        if self.profit_sharing and self.capture is CaptureMode.MANUAL:
            raise InvalidInput(
                "what is held first cannot be shared",
                field="profit_sharing",
                remedy="accept an order with capture 'automatic', or share nothing of it",
            )
        if self.return_url is not None:
            check_url(self.return_url, field="return_url")
        check_metadata(self.metadata)


def check_number(number: str, what: str, *, field: str = "number") -> None:
    """Raises InvalidInput unless it can be a number that a merchant gives."""
    if not ORDER_ID.fullmatch(number):
        raise InvalidInput(
            f"not {what}",
            field=field,
            remedy="give 1 to 64 printable ASCII characters without spaces",
        )


def check_texts(texts: Mapping[str, str | None], limit: int) -> None:
    """Raises InvalidInput, which names the field, for a text that cannot be shown; None is none."""
    for name, text in texts.items():
        if text is not None and not (1 <= len(text) <= limit and text.isprintable()):
            raise InvalidInput(
                "empty, too long or not printable",
                field=name,
                remedy=f"give 1 to {limit} printable characters",
            )


def check_page(limit: int, before: str | None, kind: IdKind) -> None:
    """Raises InvalidInput, and InvalidId where ``before`` can end no page."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    if before is not None:
        parse_id(kind, before, field="before")


def check_url(url: str, *, field: str) -> None:
    """Raises InvalidInput unless ``url`` is an absolute http or https address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        good = False
    if not good or " " in url or len(url) > MAX_URL:
        raise InvalidInput(
            "not a web address", field=field, remedy="give an absolute http or https address"
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raises InvalidInput for too much of it."""
    texts = [text for pair in metadata.items() for text in pair]
    too_long = any(len(text) > MAX_METADATA_TEXT or "\0" in text for text in texts)
    if len(metadata) > MAX_METADATA or too_long:
        raise InvalidInput(
            "too much metadata",
            field="metadata",
            remedy=f"give at most {MAX_METADATA} texts of {MAX_METADATA_TEXT} characters",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The payment; ``created`` is False when the order was already known."""

    payment: Payment
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """An order about to be accepted, under its payment's id."""

    order: Order
    payment_id: str
    expires_at: datetime

    @classmethod
    def of(cls, engine: Engine, order: Order) -> Self:
        return cls(
            order=order,
            payment_id=engine.new_id(IdKind.PAYMENT),
            expires_at=engine.now() + timedelta(seconds=order.expires_in_seconds),
        )

    @property
    def amount(self) -> Money:
        return self.order.amount

    @property
    def description(self) -> str:
        return self.order.description

    @property
    def capture(self) -> CaptureMode:
        return self.order.capture

    @property
    def profit_sharing(self) -> bool:
        return self.order.profit_sharing

    def values(
        self, engine: Engine, scope: Scope, key: IdempotencyKey | None
    ) -> tuple[object, ...]:
        """What the statements that accept a payment take first."""
        order = self.order
        return (
            scope.merchant_id,
            self.payment_id,
            scope.live,
            order.order_id,
            order.amount.minor,
            order.amount.currency,
            order.description,
            list(order.methods),
            order.return_url,
            dict(order.metadata),
            base64.urlsafe_b64encode(engine.random(24)).decode(),
            self.expires_at,
            engine.new_id(IdKind.EVENT),
            key.key if key else None,
            key.body_digest if key else None,
        )


@traced("accept")
async def accept(
    engine: Engine, scope: Scope, order: Order, *, key: IdempotencyKey | None = None
) -> Accepted:
    """Accept ``order`` once.

    Raises Conflict for a known order number or key of another order, when the app, its merchant or
    the organisation is suspended, and when a limit would be passed.
    """
    if (known := await replayed(engine, scope, key)) is not None:
        return Accepted(payment=await show(engine, scope, known), created=False)
    try:
        row = await engine.database.fetch_row(
            SQL.accept_payment,
            *NewPayment.of(engine, order).values(engine, scope, key),
            scope.app_id,
            order.capture,
            order.profit_sharing,
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "idempotency_key_once" and key is not None:
            return await accept(engine, scope, order, key=key)
        return Accepted(payment=await _known_order(engine, scope, order), created=False)
    except asyncpg.PostgresError as error:
        if (refused := limit_exceeded(error)) is not None:
            raise refused from None
        raise
    if row is None:
        return await _not_taken(engine, scope, order, key)
    count_accepted()
    return Accepted(payment=read(Payment, row), created=True)


async def _not_taken(
    engine: Engine, scope: Scope, order: Order, key: IdempotencyKey | None
) -> Accepted:
    """An order that was known before is shown, suspended or not. Raises Conflict."""
    try:
        return Accepted(payment=await _known_order(engine, scope, order), created=False)
    except Missing:
        await check_taking(engine, scope, scope.app_id)
    return await accept(engine, scope, order, key=key)  # resumed meanwhile


def count_accepted() -> None:
    metrics.count(metrics.PAYMENTS, "accepted", metrics.NONE, metrics.NONE)


async def replayed(engine: Engine, scope: Scope, key: IdempotencyKey | None) -> str | None:
    """The id of what was made under ``key`` before. Raises Conflict when it was another body."""
    if key is None:
        return None
    row = await engine.database.fetch_row(SQL.idempotent, scope.merchant_id, scope.live, key.key)
    if row is None:
        return None
    if row["body_digest"] != key.body_digest:
        raise Conflict(
            "the key was used for another request",
            code="idempotency_key_reused",
            field="Idempotency-Key",
            remedy="take a new key for a new request",
        )
    resource_id: str = row["resource_id"]
    return resource_id


async def once(
    engine: Engine,
    scope: Scope,
    key: IdempotencyKey | None,
    *,
    show: Callable[[str], Awaitable[Made]],
    make: Callable[[], Awaitable[Made]],
) -> Made:
    """What was made under ``key`` before; otherwise what ``make`` makes, which keeps the key.

    Where ``make`` is refused because the same key was at work at the same time: what that made.
    """
    if (known := await replayed(engine, scope, key)) is not None:
        return await show(known)
    try:
        return await make()
    except (asyncpg.UniqueViolationError, Conflict):
        if (known := await replayed(engine, scope, key)) is None:
            raise
        return await show(known)


async def _known_order(engine: Engine, scope: Scope, order: Order) -> Payment:
    payment = await show_order(engine, scope, order.order_id)
    terms = {
        "amount": (payment.amount, order.amount),
        "capture": (payment.capture, order.capture),
        "profit_sharing": (payment.profit_sharing, order.profit_sharing),
    }
    for name, (known, told) in terms.items():
        if known != told:
            raise Conflict(
                f"the order is known with another {name}",
                code=f"order_exists_with_different_{name}",
                field=name,
                remedy=f"take a new order number, or the {name} of the first request",
            )
    return payment


async def show(engine: Engine, scope: Scope, payment_id: str) -> Payment:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    row = await engine.database.fetch_row(
        SQL.payment_of_id, scope.merchant_id, scope.live, payment_id
    )
    return _found(row, "payment_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class InFull:
    """A payment with its attempts, captures and refunds (surplus too), the oldest first."""

    payment: Payment
    attempts: list[Attempt]
    captures: list[Capture]
    refunds: list[Refund]


async def show_in_full(engine: Engine, scope: Scope, payment_id: str) -> InFull:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    row = await engine.database.fetch_row(
        SQL.payment_in_full, scope.merchant_id, scope.live, payment_id
    )
    payment = _found(row, "payment_id")
    assert row is not None  # noqa: S101 - or it would not have been found
    return InFull(
        payment=payment,
        attempts=ATTEMPTS.decode(row["attempts"]),
        captures=CAPTURES.decode(row["captures"]),
        refunds=REFUND_LIST.decode(row["refunds"]),
    )


async def show_order(engine: Engine, scope: Scope, order_id: str) -> Payment:
    """The payment of an order number. Raises Missing."""
    row = await engine.database.fetch_row(
        SQL.payment_of_order, scope.merchant_id, scope.live, order_id
    )
    return _found(row, "order_id")


def _found(row: asyncpg.Record | None, field: str) -> Payment:
    if row is None:
        raise Missing(
            "no such payment", field=field, remedy="look at the id, and at the key's mode"
        )
    return read(Payment, row)


async def list_payments(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: str | None = None,
    limit: int = 20,
) -> list[Payment]:
    """The newest payments first; ``before`` is the id that ended the page before."""
    check_page(limit, before, IdKind.PAYMENT)
    rows = await engine.database.fetch(
        SQL.payments, scope.merchant_id, scope.live, before, state, limit
    )
    return [read(Payment, row) for row in rows]


async def attempts_of(engine: Engine, payment: Payment) -> list[Attempt]:
    """The payment's attempts, the oldest first."""
    rows = await engine.database.fetch(
        SQL.attempts_of_payment, payment.merchant_id, payment.payment_id
    )
    return [read(Attempt, row) for row in rows]


async def refunds_of(engine: Engine, payment: Payment) -> list[Refund]:
    """The payment's refunds, surplus too, the oldest first."""
    rows = await engine.database.fetch(
        REFUNDS.refunds_of_payment, payment.merchant_id, payment.payment_id
    )
    return [read(Refund, row) for row in rows]


async def payment_now(engine: Engine, merchant_id: str, payment_id: str) -> Payment:
    """The payment as it is now, in whichever mode."""
    row = await engine.database.fetch_row(SQL.payment_of_any_mode, merchant_id, payment_id)
    if row is None:
        raise LookupError(payment_id)
    return read(Payment, row)
