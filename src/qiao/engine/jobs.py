"""What must happen later, as the outbox's handlers. Each may run twice and does no harm."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from qiao.engine.attempts import ask, attempt_of_id, slowest, watch_seconds
from qiao.engine.closing import is_over, try_to_close
from qiao.engine.endpoint_gate import EndpointGate
from qiao.engine.payments import payment_now
from qiao.engine.refunds import FINAL, refund_now, work
from qiao.engine.runtime import Engine
from qiao.engine.settlement import note_anomaly
from qiao.engine.webhooks import Try, deliver
from qiao.store.outbox import Abandon, Again, Done, Handler, Job, Verdict
from qiao.telemetry.tracing import link_to

GIVE_UP_AFTER: Final = timedelta(days=7)
"""When a channel has not told a payment's outcome for so long, a person must ask it."""
GIVE_UP_REFUND_AFTER: Final = timedelta(days=30)
WEBHOOK_KINDS: Final = frozenset({"deliver_webhook"})
"""Jobs that wait for merchants' servers; a worker of their own keeps them out of money's way."""
MIN_PACE_SECONDS: Final = 3.0


def handlers(engine: Engine) -> Mapping[str, Handler]:
    """A handler for every kind of job that the engine's statements put in."""

    async def query_attempt(job: Job) -> Verdict:
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

    async def close_payment(job: Job) -> Verdict:
        payment = await payment_now(engine, job.merchant_id, job.subject_id)
        if is_over(payment):
            return Done()
        payment = await try_to_close(engine, payment)
        if is_over(payment):
            return Done()
        return Again(after_seconds=_pace(job, engine.now()))

    async def work_refund(job: Job) -> Verdict:
        refund = await work(engine, await refund_now(engine, job.merchant_id, job.subject_id))
        if refund.state in FINAL:
            return Done()
        if engine.now() > refund.created_at + GIVE_UP_REFUND_AFTER:
            attempt = await attempt_of_id(engine, refund.merchant_id, refund.attempt_id)
            detail = {"refund_id": refund.refund_id, "state": refund.state}
            await note_anomaly(engine, attempt, "refund_unresolved", detail)
            return Abandon(reason="the channel has not told the refund's outcome for weeks")
        return Again(after_seconds=_pace(job, engine.now()))

    return {
        "query_attempt": query_attempt,
        "close_payment": close_payment,
        "work_refund": work_refund,
        "deliver_webhook": _webhooks(engine),
    }


def _webhooks(engine: Engine) -> Handler:
    # By the running loop's clock and the engine's chance, which in a simulation are its own.
    gate = EndpointGate(
        now=lambda: asyncio.get_running_loop().time(),
        chance=lambda: int.from_bytes(engine.random(4)) / 2**32,
    )

    async def deliver_webhook(job: Job) -> Verdict:
        event_id, _, endpoint_id = job.subject_id.partition(":")
        pause = await gate.enter(endpoint_id)
        if pause is not None:
            return Again(after_seconds=pause)
        tried = Try()
        try:
            tried = await deliver(engine, job.merchant_id, event_id, endpoint_id)
        finally:
            gate.leave(endpoint_id, went_well=tried.delivered)
        return Done() if tried.again_seconds is None else Again(after_seconds=tried.again_seconds)

    return deliver_webhook


def _pace(job: Job, now: datetime) -> float:
    age = (now - job.created_at).total_seconds()
    return slowest(age, MIN_PACE_SECONDS * 1.5 ** min(job.tries - 1, 32))
