"""The gauges that only the database knows: read by every worker, every few seconds.

Each worker reads for itself: six queries on small indexes cost less than agreeing on who does it,
and a scrape costs the database nothing, however often it comes. Alerts take the maximum.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import structlog
from prometheus_client import Gauge

from qiao.engine.operations import Snapshot, Waiting, take_snapshot
from qiao.engine.runtime import Engine
from qiao.store.errors import StoreUnavailable
from qiao.telemetry import metrics

log = structlog.get_logger(__name__)
EVERY_SECONDS: Final = 15.0


@asynccontextmanager
async def taking_snapshots(
    engine: Engine, *, every_seconds: float = EVERY_SECONDS
) -> AsyncIterator[None]:
    """While the gauges are kept up to date."""
    task = asyncio.create_task(_take_again_and_again(engine, every_seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _take_again_and_again(engine: Engine, every_seconds: float) -> None:
    while True:
        try:
            show(await take_snapshot(engine.database, engine.now()))
        except (StoreUnavailable, asyncpg.PostgresError) as error:
            # What was last read stays, with the time of its reading, on which there is an alert.
            log.warning("snapshot_failed", error=type(error).__name__)
        await asyncio.sleep(every_seconds)


def show(snapshot: Snapshot) -> None:
    """Set the gauges; what is no longer there goes to zero, so that its alert ends."""
    _show_waiting(
        metrics.UNKNOWN_ATTEMPTS, metrics.UNKNOWN_AGE_SECONDS, dict(snapshot.unknown_attempts)
    )
    _show_waiting(metrics.JOBS_DUE, metrics.JOB_DUE_SECONDS, dict(snapshot.jobs_due))
    _set(metrics.JOBS_ABANDONED, dict(snapshot.jobs_abandoned))
    _set(metrics.ANOMALIES_OPEN, dict(snapshot.anomalies_open))
    metrics.WEBHOOKS_PENDING.set(snapshot.webhooks_pending.number)
    metrics.WEBHOOK_PENDING_SECONDS.set(snapshot.webhooks_pending.oldest_seconds)
    metrics.PERIODS_AHEAD_SECONDS.set(snapshot.periods_ahead_seconds)
    metrics.SNAPSHOT_TIMESTAMP_SECONDS.set(snapshot.taken_at.timestamp())


def _show_waiting(number: Gauge, oldest: Gauge, found: dict[str, Waiting]) -> None:
    _set(number, {name: one.number for name, one in found.items()})
    _set(oldest, {name: one.oldest_seconds for name, one in found.items()})


def _set(gauge: Gauge, found: dict[str, int] | dict[str, float]) -> None:
    known = {
        sample.labels[name]
        for m in gauge.collect()
        for sample in m.samples
        for name in sample.labels
    }
    for name in known | set(found):
        gauge.labels(name).set(found.get(name, 0))
