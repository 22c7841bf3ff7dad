"""What operators look at, over all merchants: what waits, what is unknown, what goes wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from qiao.store.database import Database, Queries
from qiao.store.partitions import periods_ahead_seconds
from qiao.store.sql import load_statements

SQL = load_statements("operations")
STATEMENT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many there are, and for how long the oldest has waited (0 when there is none)."""

    number: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How things stand at one moment; mappings are by channel or kind, and hold no zeros."""

    taken_at: datetime
    unknown_attempts: Mapping[str, Waiting]
    jobs_due: Mapping[str, Waiting]
    jobs_abandoned: Mapping[str, int]
    webhooks_pending: Waiting
    anomalies_open: Mapping[str, int]
    periods_ahead_seconds: float
    """For how long yet there are partitions made for what will happen."""


async def take_snapshot(database: Database, now: datetime) -> Snapshot:
    """Six short queries in one read-only transaction. Raises StoreUnavailable."""
    async with database.transaction() as queries:
        await only_read(queries)
        unknown = await queries.fetch(SQL.unknown_attempts)
        due = await queries.fetch(SQL.jobs_due, now)
        abandoned = await queries.fetch(SQL.jobs_abandoned)
        webhooks = await queries.fetch(SQL.webhooks_pending)
        anomalies = await queries.fetch(SQL.anomalies_open)
        ahead = await periods_ahead_seconds(queries, now)
    return Snapshot(
        taken_at=now,
        unknown_attempts={row["channel"]: _waiting(row, now) for row in unknown},
        jobs_due={row["kind"]: _waiting(row, now) for row in due},
        jobs_abandoned={row["kind"]: row["number"] for row in abandoned},
        webhooks_pending=_waiting(webhooks[0], now),
        anomalies_open={row["kind"]: row["number"] for row in anomalies},
        periods_ahead_seconds=ahead,
    )


async def only_read(queries: Queries) -> None:
    """Looking must not get in anybody's way: this transaction only reads, and not for long."""
    await queries.execute("SET TRANSACTION READ ONLY")
    await queries.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'")


def _waiting(row: asyncpg.Record, now: datetime) -> Waiting:
    oldest = row["oldest"]
    seconds = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    return Waiting(number=row["number"], oldest_seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """The newest of what is unresolved."""

    merchant_id: str
    kind: str
    payment_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What happened since a moment: events by type, attempts by channel and present state."""

    since: datetime
    events: Mapping[str, int]
    attempts: Mapping[str, Mapping[str, int]]
    anomalies: Sequence[Anomaly]


async def look_back(database: Database, since: datetime, *, anomalies: int = 5) -> Recent:
    """What happened since. Raises StoreUnavailable."""
    async with database.transaction() as queries:
        await only_read(queries)
        events = await queries.fetch(SQL.recent_events, since)
        attempts = await queries.fetch(SQL.recent_attempts, since)
        newest = await queries.fetch(SQL.newest_anomalies, anomalies)
    by_channel: dict[str, dict[str, int]] = {}
    for row in attempts:
        by_channel.setdefault(row["channel"], {})[row["state"]] = row["number"]
    return Recent(
        since=since,
        events={row["type"]: row["number"] for row in events},
        attempts=by_channel,
        anomalies=[Anomaly(**dict(row)) for row in newest],
    )
