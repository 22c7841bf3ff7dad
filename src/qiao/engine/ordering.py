"""Accept an order and attempt it at once: the usual request, in two statements.

The first accepts the payment and commits its attempt as *sending*, before a byte goes out; the
second settles what the channel said. Whatever is not usual goes the ordinary way, one step after
the other, and so means the same: an order or a key that is known already, a method that cannot be
used, an account that has just changed, a limit that would be passed.
"""

from dataclasses import dataclass, replace
from typing import Any

import asyncpg

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number
from qiao.domain.states import AttemptState
from qiao.engine.attempts import LEASE, Method, attempt, creation, or_another, price_of, send
from qiao.engine.errors import ChannelBusy
from qiao.engine.payment_limits import limit_exceeded
from qiao.engine.payments import NewPayment, Order, accept, count_accepted, payment_now
from qiao.engine.pricing import document
from qiao.engine.records import Attempt, CaptureMode, Payment, read
from qiao.engine.routing.choosing import choose
from qiao.engine.routing.wanted import ANY_CHANNEL
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.store.sql import load_statements
from qiao.telemetry.tracing import traced, traceparent

SQL = load_statements("payments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """The payment and its attempt; ``created`` is False when the order was already known."""

    payment: Payment
    attempt: Attempt
    created: bool


@traced("order")
async def order_and_attempt(
    engine: Engine, scope: Scope, order: Order, method: Method, *, key: IdempotencyKey | None = None
) -> Ordered:
    """Accept ``order`` and attempt it; raises what ``accept`` and ``attempt`` raise.

    An order whose attempt is refused stays accepted, for another attempt.
    """
    ordered = await _at_once(engine, scope, order, method, key)
    if ordered is None:
        accepted = await accept(engine, scope, order, key=key)
        # The attempt that the same request asks for has a key of its own.
        own = key and replace(key, key=f"{key.key}/attempt")
        payment_id = accepted.payment.payment_id
        tried = await attempt(engine, scope, payment_id, method, key=own)
        ordered = Ordered(payment=accepted.payment, attempt=tried, created=accepted.created)
    elif ordered.attempt.state is AttemptState.PENDING:
        return ordered  # and so the payment is open, as it was accepted
    payment = await payment_now(engine, scope.merchant_id, ordered.payment.payment_id)
    return replace(ordered, payment=payment)


async def _at_once(
    engine: Engine, scope: Scope, order: Order, method: Method, key: IdempotencyKey | None
) -> Ordered | None:
    """None when it must go the ordinary way; then nothing was written and nothing was sent."""
    if order.methods and method.channel not in (*order.methods, ANY_CHANNEL):
        return None
    new = NewPayment.of(engine, order)
    attempt_id = engine.new_id(IdKind.ATTEMPT)
    reference, now, cause = order_number(attempt_id), engine.now(), traceparent()
    try:
        wanted = method.wanted(order, new.payment_id, now, app_id=scope.app_id)
        choice = await choose(engine, scope, wanted)
        account = choice.account
        currency = order.amount.currency
        price = await price_of(engine, scope, account, method.product, currency, scope.app_id)
        operation = creation(engine, account, new, method, reference)
    except ChannelBusy:
        raise  # it would only be written to be refused
    except InvalidInput:
        return None
    try:
        row = await engine.database.fetch_row(
            SQL.accept_and_attempt,
            *new.values(engine, scope, key),
            attempt_id,
            account.account_id,
            account.version,
            account.channel_id,
            method.product,
            reference,
            now,
            LEASE,
            cause,
            *(scope.app_id, order.capture, choice.document),
            *(document(price), document(choice.cost), order.profit_sharing),
        )
    except asyncpg.UniqueViolationError:
        operation.close()
        return None
    except asyncpg.PostgresError as error:
        operation.close()
        if limit_exceeded(error) is None:
            raise
        return None
    if row is None:
        operation.close()
        engine.accounts.forget(scope.merchant_id)
        return None
    count_accepted()
    payment = read(Payment, row)
    started = Attempt(
        attempt_id=attempt_id,
        account_id=account.account_id,
        channel=account.channel_id,
        product=method.product,
        reference=reference,
        sent_at=now,
        traceparent=cause,
        routing=choice.document,
        price=document(price),
        cost=document(choice.cost),
        **_of_payment(payment),
    )
    sent = await send(engine, account, started, operation)
    tried = await or_another(engine, scope, payment, method, sent)
    return Ordered(payment=payment, attempt=tried, created=True)


def _of_payment(payment: Payment) -> dict[str, Any]:
    """What an attempt that was made with its payment has of it."""
    return {
        "merchant_id": payment.merchant_id,
        "payment_id": payment.payment_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "state": AttemptState.SENDING,
        "manual": payment.capture is CaptureMode.MANUAL,
        "expires_at": payment.expires_at,
        "created_at": payment.created_at,
    }
