"""Refunds: reserved under a guard, sent under one number, asked about until they are known."""

from datetime import timedelta
from functools import partial
from typing import Final, assert_never

from qiao.channels.requests import RefundQuery, RefundRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    NotSent,
    Refunded,
    RefundOutcome,
    RefundPending,
    RefundRefused,
    Unknown,
)
from qiao.domain.states import REFUND, RefundEvent, RefundState, after, sources
from qiao.engine.accounts import Account
from qiao.engine.attempts import SETTLING_WINDOW, attempt_of_id
from qiao.engine.audit import record_for
from qiao.engine.calls import believed, call
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import attempts_of, check_texts, once, show
from qiao.engine.records import Attempt, Refund, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.store.sql import load_statements
from qiao.telemetry import metrics
from qiao.telemetry.tracing import traced

SQL = load_statements("refunds")
LEASE: Final = timedelta(seconds=30)
SENDABLE: Final = sorted(sources(REFUND, RefundEvent.SEND))
FINAL: Final = frozenset({RefundState.SUCCEEDED, RefundState.FAILED})
MAX_REASON: Final = 80


@traced("refund")
async def refund(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    *,
    amount_minor: int | None = None,
    reason: str | None = None,
    key: IdempotencyKey | None = None,
) -> Refund:
    """Give ``amount_minor`` (or all that is left) of a paid payment back; send it at once.

    Raises Missing, InvalidInput, and Conflict when the payment is not paid or too little is left:
    refunds and shares that are not known to have failed count.
    """
    return await once(
        engine,
        scope,
        key,
        show=partial(show_refund, engine, scope),
        make=partial(_refund, engine, scope, payment_id, amount_minor, reason, key),
    )


async def _refund(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    amount_minor: int | None,
    reason: str | None,
    key: IdempotencyKey | None,
) -> Refund:
    payment = await show(engine, scope, payment_id)
    check_texts({"reason": reason}, MAX_REASON)
    paid = [one for one in await attempts_of(engine, payment) if one.state == "succeeded"]
    if not paid:
        raise Conflict(
            "there is nothing to refund: the payment is not paid",
            code="payment_not_paid",
            field="payment_id",
            remedy="refund it once it is paid, or close it",
        )
    left = paid[0].captured_minor - paid[0].reserved_minor
    wanted = left if amount_minor is None else amount_minor
    if wanted <= 0 and amount_minor is not None:
        raise InvalidInput(
            "nothing to refund", field="amount", remedy="give a whole number above zero"
        )
    refund_id = engine.new_id(IdKind.REFUND)
    row = None
    if 0 < wanted <= left:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(
                SQL.request_refund,
                scope.merchant_id,
                payment_id,
                refund_id,
                order_number(refund_id),
                wanted,
                reason,
                engine.new_id(IdKind.EVENT),
                scope.live,
                key.key if key else None,
                key.body_digest if key else None,
                LEASE,
                engine.now(),
            )
            if row is not None:
                await record_for(engine, queries, scope, "refund.asked", refund_id)
    if row is None:
        raise _exceeds(await attempt_of_id(engine, scope.merchant_id, paid[0].attempt_id), wanted)
    metrics.count(metrics.REFUNDS, paid[0].channel, RefundState.REQUESTED)
    return await work(engine, read(Refund, row))


def _exceeds(paid: Attempt, wanted: int) -> Conflict:
    left = paid.captured_minor - paid.reserved_minor
    if paid.shared_minor and wanted <= left + paid.shared_minor:
        return Conflict(
            f"its money went to receivers of shares; left is {Money(left, paid.currency)}",
            code="payment_shared",
            field="amount",
            remedy="have shares returned first: POST /v1/profit-shares/{id}/returns",
        )
    return Conflict(
        f"more than is left: {Money(left, paid.currency)}",
        code="refund_exceeds_payment",
        field="amount",
        remedy="refund at most what is left; refunds on their way count",
    )


async def show_refund(engine: Engine, scope: Scope, refund_id: str) -> Refund:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.REFUND, refund_id, field="refund_id")
    row = await engine.database.fetch_row(
        SQL.refund_of_id, scope.merchant_id, scope.live, refund_id
    )
    if row is None:
        raise Missing(
            "no such refund", field="refund_id", remedy="look at the id, and at the key's mode"
        )
    return read(Refund, row)


async def work(engine: Engine, refund: Refund) -> Refund:
    """Do the next thing for a refund: send it, or ask about it. Again does no harm."""
    if refund.state in FINAL:
        return refund
    if refund.state is RefundState.REQUESTED:
        return await _send(engine, refund)
    lapses_at = (refund.sent_at or refund.created_at) + LEASE
    if refund.state is RefundState.SENDING and engine.now() < lapses_at:
        return refund  # somebody waits for its answer
    attempt = await attempt_of_id(engine, refund.merchant_id, refund.attempt_id)
    account = await engine.accounts.of_id(refund.merchant_id, attempt.account_id)
    outcome = await _ask(engine, account, attempt, refund)
    if isinstance(outcome, NotFound) and refund.state is not RefundState.PENDING:
        if refund.state is RefundState.SENDING:
            await _move(engine, refund, RefundEvent.LOSE, channel=account.channel_id)
        if engine.now() > (refund.sent_at or refund.created_at) + SETTLING_WINDOW:
            return await _send(engine, refund)  # the same number: at worst it is told twice
        return await refund_now(engine, refund.merchant_id, refund.refund_id)
    return await settle_refund(engine, refund, outcome, channel=account.channel_id)


async def settle_refund(
    engine: Engine, refund: Refund, outcome: RefundOutcome, *, channel: str
) -> Refund:
    """Make what the channel said of a refund true in the books; again changes nothing."""
    match outcome:
        case Refunded():
            if outcome.amount == refund.amount:
                done = await engine.database.fetch_row(
                    SQL.settle_refunded,
                    refund.merchant_id,
                    refund.refund_id,
                    sorted(sources(REFUND, RefundEvent.SUCCEED)),
                    outcome.channel_reference,
                    outcome.refunded_at,
                    engine.new_id(IdKind.EVENT),
                )
                _count(done is not None, channel, RefundState.SUCCEEDED)
        case RefundRefused():
            done = await engine.database.fetch_row(
                SQL.settle_refund_failed,
                refund.merchant_id,
                refund.refund_id,
                sorted(sources(REFUND, RefundEvent.FAIL)),
                outcome.code,
                outcome.channel_code,
                outcome.channel_message,
                engine.new_id(IdKind.EVENT),
            )
            _count(done is not None, channel, RefundState.FAILED)
        case RefundPending():
            await _move(
                engine, refund, RefundEvent.WAIT, outcome.channel_reference, channel=channel
            )
        case Unknown():
            await _move(engine, refund, RefundEvent.LOSE, channel=channel)
        case NotFound() | NotSent():
            pass
        case _:
            assert_never(outcome)
    engine.wake()
    return await refund_now(engine, refund.merchant_id, refund.refund_id)


async def _ask(engine: Engine, account: Account, attempt: Attempt, refund: Refund) -> RefundOutcome:
    query = RefundQuery(
        reference=refund.reference,
        payment_reference=attempt.taken_under,
        amount=refund.amount,
    )
    operation = account.channel.query_refund(query, engine.context)
    return await call(engine, account, "query_refund", operation)


async def _send(engine: Engine, refund: Refund) -> Refund:
    attempt = await attempt_of_id(engine, refund.merchant_id, refund.attempt_id)
    account = await engine.accounts.of_id(refund.merchant_id, attempt.account_id)
    operation = primed(
        account.channel.refund(
            RefundRequest(
                reference=refund.reference,
                payment_reference=attempt.taken_under,
                payment_amount=attempt.taken,
                amount=refund.amount,
                notify_url=engine.notify_url(refund.merchant_id, attempt.account_id),
                reason=refund.reason,
            ),
            engine.context,
        )
    )
    row = await engine.database.fetch_row(
        SQL.send_refund, refund.merchant_id, refund.refund_id, SENDABLE, engine.now()
    )
    if row is None:
        operation.close()
        return await refund_now(engine, refund.merchant_id, refund.refund_id)
    outcome = await call(engine, account, "refund", operation)
    resent = refund.state is not RefundState.REQUESTED
    if resent:
        ask = partial(_ask, engine, account, attempt, refund)
        outcome = await believed(outcome, RefundRefused, ask)
    if isinstance(outcome, NotSent) and not resent:
        await _move(engine, refund, RefundEvent.FAIL_TO_SEND, channel=account.channel_id)
    elif isinstance(outcome, NotSent):  # an earlier sending of the number may have arrived
        await _move(engine, refund, RefundEvent.LOSE, channel=account.channel_id)
    else:
        return await settle_refund(engine, refund, outcome, channel=account.channel_id)
    return await refund_now(engine, refund.merchant_id, refund.refund_id)


async def _move(
    engine: Engine,
    refund: Refund,
    event: RefundEvent,
    channel_reference: str | None = None,
    *,
    channel: str,
) -> None:
    states = sorted(sources(REFUND, event))
    state = after(REFUND, RefundState(states[0]), event)
    moved = await engine.database.fetch_value(
        SQL.move_refund, refund.merchant_id, refund.refund_id, state, states, channel_reference
    )
    told = "not_sent" if event is RefundEvent.FAIL_TO_SEND else state
    _count(moved is not None and state is not refund.state, channel, told)


def _count(happened: bool, channel: str, outcome: str) -> None:
    if happened:
        metrics.count(metrics.REFUNDS, channel, outcome)


async def refund_now(engine: Engine, merchant_id: str, refund_id: str) -> Refund:
    """The refund as it is now."""
    row = await engine.database.fetch_row(SQL.refund_of_any_mode, merchant_id, refund_id)
    if row is None:
        raise LookupError(refund_id)
    return read(Refund, row)
