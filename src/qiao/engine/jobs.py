"""What must happen later, as the outbox's handlers. Each may run twice and does no harm."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from qiao.domain.outcomes import Closed, NotFound
from qiao.domain.states import AgreementState
from qiao.engine import (
    agreement_work,
    captures,
    dispute_watch,
    disputes,
    holds,
    movements,
    subscription_work,
    transfer_work,
)
from qiao.engine.attempts import ask, attempt_of_id, slowest, watch_seconds
from qiao.engine.calls import call
from qiao.engine.closing import held_for_seconds, is_over, try_to_close
from qiao.engine.endpoint_gate import EndpointGate
from qiao.engine.payments import payment_now
from qiao.engine.refunds import FINAL, refund_now, work
from qiao.engine.routing.health import WATCH_ACCOUNTS, watch
from qiao.engine.runtime import Engine
from qiao.engine.settlement import note_anomaly
from qiao.engine.share_work import RETURNS, SHARES
from qiao.engine.webhook_delivery import Deliveries, Try
from qiao.store.database import Queries
from qiao.store.errors import TablesBusy
from qiao.store.outbox import Abandon, Again, Done, Handler, Job, Verdict, enqueue
from qiao.store.partitions import make_ahead
from qiao.telemetry.tracing import link_to

GIVE_UP_AFTER: Final = timedelta(days=7)
"""When a channel has not told a payment's outcome for so long, a person must ask it."""
GIVE_UP_MOVEMENT_AFTER: Final = timedelta(days=30)
"""The same for a refund, a capture, a transfer, a profit share and its return."""
WEBHOOK_KINDS: Final = frozenset({"deliver_webhook"})
"""Jobs that wait for merchants' servers; a worker of their own keeps them out of money's way."""
GIVE_UP_VOID_AFTER_TRIES: Final = 200
"""More than a week, at the pace below."""
MIN_PACE_SECONDS: Final = 3.0
SERVER: Final = "server"
"""Whose the jobs are that belong to no merchant."""
MAKE_PERIODS: Final = "make_periods"
WANT_DISPUTES: Final = "want_disputes"
LOOK_FOR_PERIODS_SECONDS: Final = 6 * 3600.0
TABLES_BUSY_SECONDS: Final = 60.0


def handlers(engine: Engine) -> Mapping[str, Handler]:
    """A handler for every kind of job that the engine's statements put in."""
    handlers = {kind: partial(handle, engine) for kind, handle in HANDLERS.items()}
    return {**handlers, "deliver_webhook": _webhooks(engine)}


async def _query_attempt(engine: Engine, job: Job) -> Verdict:
    attempt = await attempt_of_id(engine, job.merchant_id, job.subject_id)
    link_to(attempt.traceparent)
    if watch_seconds(attempt, engine.now()) is None:
        return Done()
    attempt = await ask(engine, attempt)
    again = watch_seconds(attempt, engine.now())
    if again is None:
        return Done()
    if engine.now() > attempt.sent_at + GIVE_UP_AFTER:
        await note_anomaly(engine, attempt, "payment_unresolved", {"state": attempt.state})
        return Abandon(reason="the channel has not told the outcome for days")
    return Again(after_seconds=again)


async def _close_payment(engine: Engine, job: Job) -> Verdict:
    payment = await payment_now(engine, job.merchant_id, job.subject_id)
    if is_over(payment):
        return Done()
    held = await held_for_seconds(engine, payment)
    if held is not None:
        return Again(after_seconds=held)
    payment = await try_to_close(engine, payment)
    if is_over(payment):
        return Done()
    return Again(after_seconds=_pace(job, engine.now()))


async def _void_attempt(engine: Engine, job: Job) -> Verdict:
    attempt = await attempt_of_id(engine, job.merchant_id, job.subject_id)
    account = await engine.accounts.of_id(attempt.merchant_id, attempt.account_id)
    outcome = await call(engine, account, "close", holds.end(engine, account, attempt))
    if isinstance(outcome, Closed | NotFound):
        return Done()
    if job.tries > GIVE_UP_VOID_AFTER_TRIES:
        await note_anomaly(engine, attempt, "hold_unresolved", {"state": attempt.state})
        return Abandon(reason="the channel does not let go of what it holds")
    return Again(after_seconds=_pace(job, engine.now()))


class Worked(Protocol):
    """What a channel works on."""

    @property
    def state(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


Note = Callable[[str, dict[str, Any]], Awaitable[None]]


async def _until_over(
    engine: Engine, job: Job, row: Worked, note: Note, *, over: bool, since: datetime | None = None
) -> Verdict:
    """Work on it again until it is over; after so long a time a person must look."""
    if over:
        return Done()
    if engine.now() > (since or row.created_at) + GIVE_UP_MOVEMENT_AFTER:
        await note("unresolved", {"state": row.state})
        return Abandon(reason="the channel has not told the outcome for weeks")
    return Again(after_seconds=_pace(job, engine.now()))


async def _note(
    engine: Engine, job: Job, what: str, attempt_id: str, kind: str, detail: dict[str, Any]
) -> None:
    attempt = await attempt_of_id(engine, job.merchant_id, attempt_id)
    detail = {f"{what}_id": job.subject_id, **detail}
    await note_anomaly(engine, attempt, f"{what}_{kind}", detail)


async def _work_capture(engine: Engine, job: Job) -> Verdict:
    capture = await captures.capture_now(engine, job.merchant_id, job.subject_id)
    capture = await captures.work(engine, capture)
    note = partial(_note, engine, job, "capture", capture.attempt_id)
    return await _until_over(engine, job, capture, note, over=capture.state in captures.FINAL)


async def _work_refund(engine: Engine, job: Job) -> Verdict:
    refund = await work(engine, await refund_now(engine, job.merchant_id, job.subject_id))
    note = partial(_note, engine, job, "refund", refund.attempt_id)
    return await _until_over(engine, job, refund, note, over=refund.state in FINAL)


async def _work_transfer(engine: Engine, job: Job) -> Verdict:
    transfer = await transfer_work.transfer_now(engine, job.merchant_id, job.subject_id)
    transfer = await transfer_work.work(engine, transfer)
    note = partial(transfer_work.note_anomaly, engine, transfer)
    over = transfer.state in transfer_work.FINAL
    return await _until_over(engine, job, transfer, note, over=over, since=transfer.sent_at)


async def _work_profit_share(engine: Engine, job: Job) -> Verdict:
    share = await SHARES.now(engine, job.merchant_id, job.subject_id)
    share = await SHARES.work(engine, share)
    note = partial(_note, engine, job, "share", share.attempt_id)
    return await _until_over(engine, job, share, note, over=share.state in movements.FINAL)


async def _work_share_return(engine: Engine, job: Job) -> Verdict:
    back = await RETURNS.now(engine, job.merchant_id, job.subject_id)
    back = await RETURNS.work(engine, back)
    share = await SHARES.now(engine, back.merchant_id, back.share_id)
    note = partial(_note, engine, job, "share_return", share.attempt_id)
    return await _until_over(engine, job, back, note, over=back.state in movements.FINAL)


async def _work_agreement(engine: Engine, job: Job) -> Verdict:
    before = await agreement_work.agreement_now(engine, job.merchant_id, job.subject_id)
    agreement = await agreement_work.work(engine, before)
    note = partial(agreement_work.note_anomaly, engine, agreement)
    pending = agreement.state is AgreementState.PENDING
    ending = agreement.end_requested_at is not None
    over = agreement.state in agreement_work.OVER or not (pending or ending)
    since = agreement.end_requested_at or agreement.expires_at
    return await _until_over(engine, job, agreement, note, over=over, since=since)


async def _watch_accounts(engine: Engine, job: Job) -> Verdict:
    again = await watch(engine, job.merchant_id)
    return Done() if again is None else Again(after_seconds=again)


async def _make_periods(engine: Engine, _: Job) -> Verdict:
    try:
        await make_ahead(engine.database, engine.now())
    except TablesBusy as error:
        return Again(after_seconds=TABLES_BUSY_SECONDS, error=str(error))
    return Again(after_seconds=LOOK_FOR_PERIODS_SECONDS)


async def _want_disputes(engine: Engine, _: Job) -> Verdict:
    await dispute_watch.want_watching(engine)
    return Again(after_seconds=dispute_watch.EVERY_SECONDS)


async def _watch_disputes(engine: Engine, job: Job) -> Verdict:
    account = await engine.accounts.of_id(job.merchant_id, job.subject_id)
    await dispute_watch.watch_account(engine, account)
    return Done()


async def keep_house(queries: Queries) -> None:
    """Want what has to happen again and again, for the server as a whole."""
    for kind in (MAKE_PERIODS, WANT_DISPUTES):
        await enqueue(queries, merchant_id=SERVER, kind=kind, subject_id=kind)


async def _work_subscription(engine: Engine, job: Job) -> Verdict:
    again = await subscription_work.work(engine, job.merchant_id, job.subject_id)
    return Done() if again is None else Again(after_seconds=again)


async def _look_at_dispute(engine: Engine, job: Job) -> Verdict:
    account_id, _, number = job.subject_id.partition(":")
    account = await engine.accounts.of_id(job.merchant_id, account_id)
    if await disputes.look(engine, account, number) is not None:
        return Done()
    if engine.now() > job.created_at + GIVE_UP_AFTER:
        return Abandon(reason="the channel has not told the dispute for days")
    return Again(after_seconds=_pace(job, engine.now()))


async def _remind_of_dispute(engine: Engine, job: Job) -> Verdict:
    left = await disputes.remind(engine, job.merchant_id, job.subject_id)
    return Done() if left is None else Again(after_seconds=left)


HANDLERS: Final[Mapping[str, Callable[[Engine, Job], Awaitable[Verdict]]]] = {
    "query_attempt": _query_attempt,
    "close_payment": _close_payment,
    "void_attempt": _void_attempt,
    "work_capture": _work_capture,
    "work_refund": _work_refund,
    "work_transfer": _work_transfer,
    WATCH_ACCOUNTS: _watch_accounts,
    "work_profit_share": _work_profit_share,
    "work_share_return": _work_share_return,
    MAKE_PERIODS: _make_periods,
    WANT_DISPUTES: _want_disputes,
    "watch_disputes": _watch_disputes,
    "work_agreement": _work_agreement,
    "work_subscription": _work_subscription,
    "look_at_dispute": _look_at_dispute,
    "remind_of_dispute": _remind_of_dispute,
}


def _webhooks(engine: Engine) -> Handler:
    # By the running loop's clock and the engine's chance, which in a simulation are its own.
    gate = EndpointGate(
        now=lambda: asyncio.get_running_loop().time(),
        chance=lambda: int.from_bytes(engine.random(4)) / 2**32,
    )

    deliveries = Deliveries(engine)

    async def deliver_webhook(job: Job) -> Verdict:
        event_id, _, endpoint_id = job.subject_id.partition(":")
        pause = await gate.enter(endpoint_id)
        if pause is not None:
            return Again(after_seconds=pause)
        tried = Try()
        try:
            tried = await deliveries.deliver(job.merchant_id, event_id, endpoint_id)
        finally:
            gate.leave(endpoint_id, went_well=tried.delivered)
        return Done() if tried.again_seconds is None else Again(after_seconds=tried.again_seconds)

    return deliver_webhook


def _pace(job: Job, now: datetime) -> float:
    age = (now - job.created_at).total_seconds()
    return slowest(age, MIN_PACE_SECONDS * 1.5 ** min(job.tries - 1, 32))
