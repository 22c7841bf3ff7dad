"""What must happen later, as the outbox's handlers. Each may run twice and does no harm."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from qiao.engine.attempts import ask, attempt_of_id, watch_seconds
from qiao.engine.closing import is_over, try_to_close
from qiao.engine.payments import payment_now
from qiao.engine.refunds import FINAL, refund_now, work
from qiao.engine.routing.health import KIND, watch
from qiao.engine.runtime import Engine
from qiao.engine.settlement import note_anomaly
from qiao.engine.webhooks import deliver
from qiao.store.outbox import Abandon, Again, Done, Handler, Job, Verdict

GIVE_UP_AFTER: Final = timedelta(days=7)
"""When a channel has not told a payment's outcome for so long, a person must ask it."""
GIVE_UP_REFUND_AFTER: Final = timedelta(days=30)
MIN_PACE_SECONDS: Final = 3.0
MAX_PACE_SECONDS: Final = 3600.0


def handlers(engine: Engine) -> Mapping[str, Handler]:
    """A handler for every kind of job that the engine's statements put in."""

    async def query_attempt(job: Job) -> Verdict:
        attempt = await attempt_of_id(engine, job.merchant_id, job.subject_id)
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

    async def close_payment(job: Job) -> Verdict:
        payment = await payment_now(engine, job.merchant_id, job.subject_id)
        if is_over(payment):
            return Done()
        payment = await try_to_close(engine, payment)
        if is_over(payment):
            return Done()
        return Again(after_seconds=_pace(job))

    async def work_refund(job: Job) -> Verdict:
        refund = await work(engine, await refund_now(engine, job.merchant_id, job.subject_id))
        if refund.state in FINAL:
            return Done()
        if engine.now() > refund.created_at + GIVE_UP_REFUND_AFTER:
            attempt = await attempt_of_id(engine, refund.merchant_id, refund.attempt_id)
            detail = {"refund_id": refund.refund_id, "state": refund.state}
            await note_anomaly(engine, attempt, "refund_unresolved", detail)
            return Abandon(reason="the channel has not told the refund's outcome for weeks")
        return Again(after_seconds=_pace(job))

    async def deliver_webhook(job: Job) -> Verdict:
        event_id, _, endpoint_id = job.subject_id.partition(":")
        again = await deliver(engine, job.merchant_id, event_id, endpoint_id)
        return Done() if again is None else Again(after_seconds=again)

    return {
        "query_attempt": query_attempt,
        "close_payment": close_payment,
        "work_refund": work_refund,
        "deliver_webhook": deliver_webhook,
        KIND: partial(_watch_accounts, engine),
    }


async def _watch_accounts(engine: Engine, job: Job) -> Verdict:
    again = await watch(engine, job.merchant_id)
    return Done() if again is None else Again(after_seconds=again)


def _pace(job: Job) -> float:
    return min(MIN_PACE_SECONDS * 1.5 ** min(job.tries - 1, 32), MAX_PACE_SECONDS)
