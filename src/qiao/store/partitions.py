"""Partitions by time: a month of events, ledger entries and webhook deliveries each, made ahead.

What no month was made for goes to ``later``, which is always there: so nobody's payment ever waits
for a partition. docs/adr/0011-partitions-by-time.md tells why they are as they are.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from qiao.domain.ids import IdKind, first_id, made_at
from qiao.store.database import Connection, Database, Queries
from qiao.store.errors import TablesBusy
from qiao.store.sql import load_statements

SQL = load_statements("partitions")
TABLES: Final = ("event", "ledger_entry", "webhook_delivery")
MONTHS_AHEAD: Final = 3
MAX_SPAN_MONTHS: Final = 24
"""A partition that holds what came meanwhile never reaches further: a clock may have been wrong."""
LATER: Final = "later"
LOCK_MILLISECONDS: Final = 500
"""Shorter than PostgreSQL waits before it looks for a deadlock (1 s), of which it ends somebody."""
TRIES: Final = 40
PAUSE_SECONDS: Final = 0.25
BUSY: Final = (
    "the tables were never free for a moment, and nothing was changed: end the transactions that"
    " have read them for long (pg_stat_activity), and try again"
)
EMPTY_TIME: Final = "0" * 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """A partition of each table, from ``lower_id`` (None: the beginning) to before ``upper_id``
    (None: for ever).

    ``rows`` is what the database guesses for all three together, ``bytes`` with their indexes.
    """

    name: str
    lower_id: str | None
    upper_id: str | None
    tables: Sequence[str]
    bytes: int
    rows: int

    @property
    def until(self) -> datetime | None:
        """The first moment that is no longer the period's."""
        return None if self.upper_id is None else moment_of(self.upper_id)


def moment_of(bound: str) -> datetime:
    """The time of a bound."""
    return made_at(bound + EMPTY_TIME)


def month_after(moment: datetime, months: int = 0) -> datetime:
    """The first of the month that lies so many months after the one of ``moment``."""
    count = moment.year * 12 + moment.month - 1 + months
    return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)


def bound_at(moment: datetime) -> str:
    """What events' ids from then on sort behind."""
    return first_id(IdKind.EVENT, moment)


async def periods(queries: Queries) -> list[Period]:
    """Those that are attached, the oldest first."""
    return [
        Period(
            name=row["period"],
            lower_id=row["lower_id"],
            upper_id=row["upper_id"],
            tables=row["tables"],
            bytes=row["bytes"],
            rows=row["rows"],
        )
        for row in await queries.fetch(SQL.periods)
    ]


async def make_ahead(
    database: Database, now: datetime, *, months: int = MONTHS_AHEAD
) -> Sequence[str]:
    """Make the months that are missing until ``months`` after this one; the periods it made.

    It needs the tables for some milliseconds when nobody has them, and tries for some seconds.
    Raises TablesBusy when they are never free.
    """
    if await _begins(database) >= bound_at(month_after(now, months + 1)):
        return ()
    for tried in range(TRIES):
        try:
            async with database.transaction() as queries:
                await queries.execute(SQL.lock)
                await queries.execute(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
                await queries.execute(SQL.lock_tables)
                return await _make(queries, month_after(now, months + 1), now)
        except asyncpg.LockNotAvailableError as error:
            if tried + 1 == TRIES:
                raise TablesBusy(BUSY) from error
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError("the loop ends by itself")


async def periods_ahead_seconds(queries: Queries, now: datetime) -> float:
    """Until events go to ``later``; below zero once they do."""
    return (moment_of(await _begins(queries)) - now).total_seconds()


async def _begins(queries: Queries) -> str:
    begins: str = await queries.fetch_value(SQL.later_begins)
    return begins


async def _make(queries: Connection, end: datetime, now: datetime) -> Sequence[str]:
    """Under the lock: what ``later`` held becomes a period of its own, or it is made smaller."""
    begin = moment_of(await _begins(queries))
    if begin >= end:  # somebody else was first
        return ()
    last = await queries.fetch_value(SQL.last_of_later)
    made: list[str] = []
    if last is None:
        for table in reversed(TABLES):
            await queries.execute(f"DROP TABLE {table}_{LATER}")
        while begin < end:
            after = month_after(begin, 1)
            made.append(f"{begin:%Y_%m}")
            await queries.fetch_value(SQL.make_period, made[-1], bound_at(begin), bound_at(after))
            begin = after
    else:  # nobody made any for a while
        end = max(end, month_after(made_at(last), 1))
        if end > month_after(now, MAX_SPAN_MONTHS):
            return ()  # the gauge stays low, and its alert tells
        made.append(f"until_{end:%Y_%m}")
        await _close_later(queries, made[-1], bound_at(begin), bound_at(end))
    await queries.fetch_value(SQL.make_period, LATER, bound_at(end), None)
    return made


async def _close_later(queries: Connection, name: str, lower: str, upper: str) -> None:
    """Give ``later`` an end, and a name. Attaching reads its rows, all of them younger."""
    for table in TABLES:
        later, closed = f"{table}_{LATER}", f"{table}_{name}"
        await queries.execute(f"ALTER TABLE {table} DETACH PARTITION {later}")
        await queries.execute(f"ALTER TABLE {later} RENAME TO {closed}")
        await queries.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {closed}"
            f" FOR VALUES FROM ('{lower}') TO ('{upper}')"
        )
