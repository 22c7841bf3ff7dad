"""Captures and voids: what is held is taken once, in whole or in part, or let go.

A capture is asked about under its one number until it is known. Meanwhile nothing is voided and no
other capture starts; and once a void was asked for, no capture starts any more.
"""

from datetime import timedelta
from functools import partial
from typing import Final, assert_never

from qiao.channels.requests import CaptureQuery, CaptureRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number
from qiao.domain.money import Money
from qiao.domain.outcomes import (
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
    CAPTURE,
    AttemptState,
    CaptureEvent,
    CaptureState,
    PaymentState,
    after,
    sources,
)
from qiao.engine.accounts import Account
from qiao.engine.attempts import SETTLING_WINDOW, ask, attempt_of_id
from qiao.engine.calls import believed, call
from qiao.engine.closing import close
from qiao.engine.errors import Conflict
from qiao.engine.holds import held, holder
from qiao.engine.payments import attempts_of, once, payment_now, show
from qiao.engine.records import Attempt, Capture, Payment, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.engine.settlement import note_anomaly
from qiao.store.sql import load_statements

SQL = load_statements("captures")
LEASE: Final = timedelta(seconds=30)
SENDABLE: Final = sorted(sources(CAPTURE, CaptureEvent.SEND))
FINAL: Final = frozenset({CaptureState.SUCCEEDED, CaptureState.FAILED})


async def capture(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    key: IdempotencyKey | None = None,
) -> Capture:
    """Take ``amount_minor`` (or all) of what is held, and let go of the rest; sent at once.

    Raises Missing, InvalidInput, and Conflict when nothing is held, it is less, or another capture
    or a void is on its way.
    """
    return await once(
        engine,
        scope,
        key,
        show=partial(capture_now, engine, scope.merchant_id),
        make=partial(_capture, engine, scope, payment_id, amount_minor, key),
    )


async def _capture(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    amount_minor: int | None,
    key: IdempotencyKey | None,
) -> Capture:
    payment = await show(engine, scope, payment_id)
    holding = await _holding(engine, payment)
    wanted = holding.amount_minor if amount_minor is None else amount_minor
    if wanted <= 0:
        raise InvalidInput(
            "nothing to capture", field="amount", remedy="give a whole number above zero"
        )
    if wanted > holding.amount_minor:
        raise Conflict(
            f"more than is held: {holding.amount}",
            code="capture_exceeds_authorization",
            field="amount",
            remedy="capture at most what is held",
        )
    capture_id = engine.new_id(IdKind.CAPTURE)
    row = await engine.database.fetch_row(
        SQL.request_capture,
        scope.merchant_id,
        payment_id,
        capture_id,
        order_number(capture_id),
        wanted,
        scope.live,
        key.key if key else None,
        key.body_digest if key else None,
        LEASE,
        engine.now(),
    )
    if row is None:
        raise _in_progress("a capture or a void is on its way already")
    return await work(engine, read(Capture, row))


async def void(engine: Engine, scope: Scope, payment_id: str) -> Payment:
    """Let go of what is held, now or as soon as the channel has said so; again changes nothing.

    Raises Missing, and Conflict when nothing is held or a capture is on its way.
    """
    payment = await show(engine, scope, payment_id)
    if payment.state is PaymentState.CLOSED and payment.authorized_minor:
        return payment
    holding = await _holding(engine, payment)
    if holding.capturing_minor:
        raise _in_progress("a capture is on its way, and may have taken it")
    return await close(engine, scope, payment_id)


async def _holding(engine: Engine, payment: Payment) -> Attempt:
    """The attempt that holds the amount. Raises Conflict when there is none."""
    for one in reversed(await attempts_of(engine, payment)):
        if one.state is AttemptState.AUTHORIZED and payment.state is PaymentState.AUTHORIZED:
            return one
    raise Conflict(
        "nothing is held for this payment",
        code="payment_not_authorized",
        field="payment_id",
        remedy="look at its state: it must be 'authorized'",
    )


async def ask_about_hold(engine: Engine, payment: Payment) -> None:
    """Ask the channel now whether it still holds the amount, and what a capture has come to."""
    if payment.state is not PaymentState.AUTHORIZED:
        return
    for one in await captures_of(engine, payment):
        await work(engine, one)
    for attempt in await attempts_of(engine, payment):
        if attempt.state is AttemptState.AUTHORIZED and not attempt.capturing_minor:
            await ask(engine, attempt)


async def captures_of(engine: Engine, payment: Payment) -> list[Capture]:
    """The payment's captures, the oldest first; at most one did not fail."""
    rows = await engine.database.fetch(
        SQL.captures_of_payment, payment.merchant_id, payment.payment_id
    )
    return [read(Capture, row) for row in rows]


async def capture_now(engine: Engine, merchant_id: str, capture_id: str) -> Capture:
    """The capture as it is now."""
    row = await engine.database.fetch_row(SQL.capture_of_any_mode, merchant_id, capture_id)
    if row is None:
        raise LookupError(capture_id)
    return read(Capture, row)


async def capture_of_reference(engine: Engine, merchant_id: str, reference: str) -> Capture | None:
    """The capture that a channel knows by this number."""
    row = await engine.database.fetch_row(SQL.capture_of_reference, merchant_id, reference)
    return None if row is None else read(Capture, row)


async def work(engine: Engine, capture: Capture) -> Capture:
    """Do the next thing for a capture: send it, or ask about it. Again does no harm."""
    if capture.state in FINAL:
        return capture
    if capture.state is CaptureState.REQUESTED:
        return await _send(engine, capture)
    sent_at = capture.sent_at or capture.created_at
    if capture.state is CaptureState.SENDING and engine.now() < sent_at + LEASE:
        return capture  # somebody waits for its answer
    holding = await attempt_of_id(engine, capture.merchant_id, capture.attempt_id)
    account = await engine.accounts.of_id(capture.merchant_id, holding.account_id)
    outcome = await _ask(engine, account, holding, capture)
    if isinstance(outcome, NotFound) and capture.state is not CaptureState.PENDING:
        if capture.state is CaptureState.SENDING:
            await _move(engine, capture, CaptureEvent.LOSE)
        if engine.now() > sent_at + SETTLING_WINDOW:
            return await _send(engine, capture)  # the same number: at worst it is told twice
        return await capture_now(engine, capture.merchant_id, capture.capture_id)
    return await settle_capture(engine, capture, outcome)


async def settle_capture(engine: Engine, capture: Capture, outcome: PaymentOutcome) -> Capture:
    """Make what the channel said of a capture true in the books; again changes nothing."""
    match outcome:
        case Succeeded():
            await _succeed(engine, capture, outcome)
        case Declined():
            await _fail(engine, capture, outcome)
        case Closed():
            await _fail(engine, capture, Declined(code="closed", channel_code=""))
        case Pending() | Authorized():
            await _move(engine, capture, CaptureEvent.WAIT, outcome.channel_reference)
        case Unknown():
            await _move(engine, capture, CaptureEvent.LOSE)
        case NotFound() | NotSent():
            pass
        case _:
            assert_never(outcome)
    engine.wake()
    return await capture_now(engine, capture.merchant_id, capture.capture_id)


async def _succeed(engine: Engine, capture: Capture, outcome: Succeeded) -> None:
    if outcome.amount != capture.amount:
        await _note(engine, capture, "other_amount", outcome.amount)
        return
    paid = await engine.database.fetch_value(
        SQL.settle_captured,
        capture.merchant_id,
        capture.payment_id,
        capture.capture_id,
        sorted(sources(CAPTURE, CaptureEvent.SUCCEED)),
        outcome.channel_reference,
        outcome.paid_at,
        engine.new_id(IdKind.EVENT),
    )
    now = await capture_now(engine, capture.merchant_id, capture.capture_id)
    if paid is None and now.state is CaptureState.FAILED:
        await _note(engine, capture, "captured_after_refusal", outcome.amount)


async def _note(engine: Engine, capture: Capture, kind: str, amount: Money) -> None:
    holding = await attempt_of_id(engine, capture.merchant_id, capture.attempt_id)
    detail = {
        "capture_id": capture.capture_id,
        "amount": amount.minor,
        "currency": amount.currency,
    }
    await note_anomaly(engine, holding, kind, detail)


async def _fail(engine: Engine, capture: Capture, outcome: Declined) -> None:
    await engine.database.fetch_row(
        SQL.settle_capture_failed,
        capture.merchant_id,
        capture.payment_id,
        capture.capture_id,
        sorted(sources(CAPTURE, CaptureEvent.FAIL)),
        outcome.code,
        outcome.channel_code,
        outcome.channel_message,
        engine.new_id(IdKind.EVENT),
    )


async def _ask(
    engine: Engine, account: Account, holding: Attempt, capture: Capture
) -> PaymentOutcome:
    query = CaptureQuery(
        reference=capture.reference, amount=capture.amount, authorization=held(holding)
    )
    operation = holder(account).query_capture(query, engine.context)
    return await call(engine, account, "query_capture", operation)


async def _send(engine: Engine, capture: Capture) -> Capture:
    holding = await attempt_of_id(engine, capture.merchant_id, capture.attempt_id)
    account = await engine.accounts.of_id(capture.merchant_id, holding.account_id)
    payment = await payment_now(engine, capture.merchant_id, capture.payment_id)
    request = CaptureRequest(
        reference=capture.reference,
        amount=capture.amount,
        authorization=held(holding),
        description=payment.description,
        notify_url=engine.notify_url(capture.merchant_id, holding.account_id),
    )
    operation = primed(holder(account).capture(request, engine.context))
    row = await engine.database.fetch_row(
        SQL.send_capture, capture.merchant_id, capture.capture_id, SENDABLE, engine.now()
    )
    if row is None:
        operation.close()
        return await capture_now(engine, capture.merchant_id, capture.capture_id)
    outcome = await call(engine, account, "capture", operation)
    resent = capture.state is not CaptureState.REQUESTED
    if resent:
        ask = partial(_ask, engine, account, holding, capture)
        outcome = await believed(outcome, (Declined, Closed), ask)
    if isinstance(outcome, NotSent) and not resent:
        await _move(engine, capture, CaptureEvent.FAIL_TO_SEND)
    elif isinstance(outcome, NotSent):  # an earlier sending of the number may have arrived
        await _move(engine, capture, CaptureEvent.LOSE)
    else:
        return await settle_capture(engine, capture, outcome)
    return await capture_now(engine, capture.merchant_id, capture.capture_id)


async def _move(
    engine: Engine, capture: Capture, event: CaptureEvent, channel_reference: str | None = None
) -> None:
    states = sorted(sources(CAPTURE, event))
    await engine.database.execute(
        SQL.move_capture,
        capture.merchant_id,
        capture.capture_id,
        after(CAPTURE, CaptureState(states[0]), event),
        states,
        channel_reference,
    )


def _in_progress(message: str) -> Conflict:
    return Conflict(
        message,
        code="capture_in_progress",
        field="payment_id",
        remedy="wait until its outcome is known; it is being asked about",
    )
