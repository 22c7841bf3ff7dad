"""Settle what a channel said of a payment: the only place where money makes a payment paid.

Any of this may come twice, late or in the wrong order. A success counts once, and only when its
amount is the order's; one that comes for a payment which is already paid or closed, or on an
attempt that was given up, is surplus and goes back to the customer.
"""

from typing import Any, assert_never

import msgspec

from qiao.domain.ids import IdKind, order_number
from qiao.domain.outcomes import (
    Action,
    Authorized,
    Closed,
    Declined,
    NotFound,
    NotSent,
    PaymentOutcome,
    Pending,
    Succeeded,
    Unknown,
)
from qiao.domain.states import (
    ATTEMPT,
    BLOCKING_ATTEMPTS,
    PAYMENT,
    AttemptEvent,
    AttemptState,
    PaymentEvent,
    after,
    sources,
)
from qiao.engine.holds import HOLD_LIFE
from qiao.engine.records import Attempt, read
from qiao.engine.runtime import Engine
from qiao.store.database import Queries
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements
from qiao.telemetry import metrics
from qiao.telemetry.tracing import link_to

SQL = load_statements("payments")
CAPTURES = load_statements("captures")
PAYABLE = sorted(sources(PAYMENT, PaymentEvent.PAY))
SUCCEEDABLE = sorted(sources(ATTEMPT, AttemptEvent.SUCCEED) - {AttemptState.AUTHORIZED})
"""What is held is taken by a capture, under the capture's number, and by nothing else."""
HOLDABLE = sorted(sources(ATTEMPT, AttemptEvent.AUTHORIZE))
AUTHORIZABLE = sorted(sources(PAYMENT, PaymentEvent.AUTHORIZE))
EXCEEDABLE = sorted(sources(ATTEMPT, AttemptEvent.EXCEED))
BROUGHT_MONEY = frozenset({AttemptState.SUCCEEDED, AttemptState.SURPLUS})
NEVER_HEARD_OF = "its sending was never heard of again"
"""Our own process died over it: nothing that speaks against the channel."""
RELEASED = "the channel holds nothing any more"
SURPLUS_REASON = "money that was not asked for"


async def settle(engine: Engine, attempt: Attempt, outcome: PaymentOutcome) -> Attempt | None:
    """Make ``outcome`` true in the books; again changes nothing.

    Gives the attempt as it is now, where that is known without asking the database once more.
    NotFound and NotSent of a question say nothing by themselves and are left to who asked.
    """
    match outcome:
        case Succeeded():
            await _succeed(engine, attempt, outcome)
        case Pending():
            return await _move(
                engine,
                attempt,
                AttemptEvent.WAIT,
                action=action_document(outcome.action),
                channel_reference=outcome.channel_reference,
            )
        case Declined():
            return await _move(engine, attempt, AttemptEvent.DECLINE, declined=outcome)
        case Closed():
            moved = await _move(engine, attempt, AttemptEvent.CLOSE)
            return moved or await _release(engine, attempt)
        case Unknown():
            return await _move(
                engine,
                attempt,
                AttemptEvent.LOSE,
                reason=outcome.reason,
                lost=outcome.reason != NEVER_HEARD_OF,
            )
        case Authorized():
            await _hold(engine, attempt, outcome)
        case NotFound() | NotSent():
            pass
        case _:
            assert_never(outcome)
    return None


async def not_sent(engine: Engine, attempt: Attempt, reason: str) -> Attempt | None:
    """The attempt's first request provably never went out: another one may start at once."""
    return await _move(engine, attempt, AttemptEvent.FAIL_TO_SEND, reason=reason)


async def close_attempt(engine: Engine, attempt: Attempt, reason: str) -> None:
    """The channel will take no money for the attempt any more."""
    await _move(engine, attempt, AttemptEvent.CLOSE, reason=reason)


async def note_anomaly(engine: Engine, attempt: Attempt, kind: str, detail: dict[str, Any]) -> None:
    """Keep for the operator what may not happen and did."""
    await engine.database.execute(
        SQL.note_anomaly,
        attempt.merchant_id,
        engine.new_id(IdKind.EVENT),
        attempt.payment_id,
        attempt.attempt_id,
        kind,
        detail,
    )


def action_document(action: Action) -> dict[str, Any]:
    """The action as the API shows it: its type in snake case, and what it holds."""
    kind = "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in type(action).__name__
    )
    return {"type": kind.removeprefix("_"), **msgspec.to_builtins(action)}


async def _hold(engine: Engine, attempt: Attempt, outcome: Authorized) -> None:
    if not attempt.manual or outcome.amount != attempt.amount:
        kind = "other_amount" if attempt.manual else "authorized"
        detail = {"amount": outcome.amount.minor, "currency": outcome.amount.currency}
        await note_anomaly(engine, attempt, kind, detail)
        return
    authorized = await engine.database.fetch_value(
        CAPTURES.settle_authorized,
        attempt.merchant_id,
        attempt.reference,
        outcome.expires_at or engine.now() + HOLD_LIFE,
        outcome.channel_reference,
        HOLDABLE,
        AUTHORIZABLE,
        engine.new_id(IdKind.EVENT),
    )
    if authorized is None:
        row = await engine.database.fetch_row(
            SQL.attempt_of_id, attempt.merchant_id, attempt.attempt_id
        )
        if row is not None and AttemptState(row["state"]) not in BLOCKING_ATTEMPTS:
            # Held on an attempt that was given up: nobody may take it, so it is let go.
            await enqueue(
                engine.database,
                merchant_id=attempt.merchant_id,
                kind="void_attempt",
                subject_id=attempt.attempt_id,
            )
    engine.wake()


async def _release(engine: Engine, attempt: Attempt) -> Attempt | None:
    """The channel holds nothing any more: neither can the payment be paid by this attempt."""
    row = await engine.database.fetch_row(
        CAPTURES.release_attempt,
        attempt.merchant_id,
        attempt.payment_id,
        attempt.attempt_id,
        RELEASED,
    )
    engine.wake()
    return None if row is None else read(Attempt, row)


async def _succeed(engine: Engine, attempt: Attempt, outcome: Succeeded) -> None:
    if outcome.amount != attempt.amount:
        await note_anomaly(
            engine,
            attempt,
            "other_amount",
            {"amount": outcome.amount.minor, "currency": outcome.amount.currency},
        )
        return
    if attempt.state in BROUGHT_MONEY:
        return  # told twice, as after most payments by code: those states stay
    if not await settle_at_once(engine, attempt.merchant_id, attempt.reference, outcome):
        await _book_surplus(engine, attempt, outcome)
    engine.wake()


async def settle_at_once(
    engine: Engine,
    merchant_id: str,
    reference: str,
    outcome: Succeeded,
    *,
    told_by: tuple[str, str] | None = None,
    queries: Queries | None = None,
) -> bool:
    """The ordinary success in one statement; False, and nothing changed, when it is not one.

    ``told_by`` is the account to which it was told, which must be the attempt's, and the id of
    the notification. The caller wakes the worker.
    """
    account_id, notification_id = told_by or (None, None)
    paid = await (queries or engine.database).fetch_row(
        SQL.settle_paid,
        merchant_id,
        reference,
        outcome.amount.minor,
        outcome.amount.currency,
        outcome.channel_reference,
        outcome.paid_at,
        SUCCEEDABLE,
        PAYABLE,
        engine.new_id(IdKind.EVENT),
        account_id,
        notification_id,
    )
    if paid is None:
        return False
    link_to(paid["traceparent"])
    metrics.count(metrics.PAYMENTS, "paid", paid["channel"], paid["product"])
    metrics.count(metrics.ATTEMPTS, paid["channel"], paid["product"], "succeeded")
    return True


async def _book_surplus(engine: Engine, attempt: Attempt, outcome: Succeeded) -> None:
    async with engine.database.transaction() as transaction:
        row = await transaction.fetch_row(SQL.lock_attempt, attempt.merchant_id, attempt.reference)
        if row is None:
            return
        now = read(Attempt, row)
        if now.state in BROUGHT_MONEY:
            return
        if now.state is AttemptState.AUTHORIZED:
            detail = {"amount": outcome.amount.minor, "currency": outcome.amount.currency}
            await note_anomaly(engine, now, "taken_without_capture", detail)
            return
        payable = now.state in SUCCEEDABLE and row["payment_state"] in PAYABLE
        if payable and await settle_at_once(
            engine, now.merchant_id, now.reference, outcome, queries=transaction
        ):
            return  # the payment was released between the two statements
        after(ATTEMPT, now.state, AttemptEvent.EXCEED)
        refund_id = engine.new_id(IdKind.REFUND)
        await transaction.fetch_value(
            SQL.book_surplus,
            attempt.merchant_id,
            attempt.attempt_id,
            outcome.channel_reference,
            outcome.paid_at,
            EXCEEDABLE,
            refund_id,
            order_number(refund_id),
            engine.new_id(IdKind.EVENT),
            SURPLUS_REASON,
        )
    link_to(attempt.traceparent)
    metrics.count(metrics.PAYMENTS, "surplus", attempt.channel, attempt.product)
    metrics.count(metrics.ATTEMPTS, attempt.channel, attempt.product, AttemptState.SURPLUS)
    metrics.count(metrics.REFUNDS, attempt.channel, "requested")


async def _move(
    engine: Engine,
    attempt: Attempt,
    event: AttemptEvent,
    *,
    action: dict[str, Any] | None = None,
    channel_reference: str | None = None,
    declined: Declined | None = None,
    reason: str | None = None,
    lost: bool = False,
) -> Attempt | None:
    """Move the attempt if its table knows the event in the state that it is in now; or None."""
    states = sorted(sources(ATTEMPT, event) - {AttemptState.AUTHORIZED})
    state = after(ATTEMPT, AttemptState(states[0]), event)
    row = await engine.database.fetch_row(
        SQL.move_attempt,
        attempt.merchant_id,
        attempt.reference,
        state,
        states,
        action,
        channel_reference,
        declined.code if declined else None,
        declined.channel_code if declined else None,
        declined.channel_message if declined else None,
        reason,
        lost,
    )
    if row is None:
        return None
    if state is not attempt.state:
        metrics.count(metrics.ATTEMPTS, attempt.channel, attempt.product, state)
    return read(Attempt, row)
