"""The connections to the database: asyncpg's pool, and before it those that served well lately.

For every statement the pool makes a task, a shield and several futures, which together take longer
than the statement. So a connection that served well is kept at hand and used again; one that saw
any error, that somebody waits for, or that has not been used for a while goes back to the pool,
which looks after it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from qiao.telemetry import metrics

KEPT_SECONDS: Final = 60.0
"""How long one is kept without being used; and after how long in use the pool sees it again."""
RELEASE_SECONDS: Final = 2.0
"""How long one may take to come back whose statement was cut off; then it is ended instead. A
server that vanished answers no cancellation, and who asked for the statement waits for it."""
Raw: TypeAlias = "PoolConnectionProxy[Record]"


LOST: Final = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


def is_closed(raw: "asyncpg.Connection[Record] | Raw") -> bool:
    """Whether it is of no use any more."""
    try:
        return raw.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, because it was lost
        return True


@dataclass(slots=True)
class Taken:
    """A connection out of the pool; when it was taken from there, and when last used."""

    raw: Raw
    since: float
    used_at: float


class Pool:
    """``take`` a connection and ``give_back`` it. Raises what asyncpg raises."""

    def __init__(self, pool: "asyncpg.Pool[Record]") -> None:
        self._pool = pool
        self._kept: list[Taken] = []
        self._lost: list[Taken] = []  # of those that were kept; the pool does not know it yet
        self._out = 0  # of the pool, those that are kept too, or asked of it
        self._waiting = 0
        self._expired_at = float("-inf")  # monotonic
        self._sweeping: asyncio.Task[None] | None = None
        self._closing = False

    def sizes(self) -> tuple[int, int, int]:
        """Connections in use, idle, and how many there may be."""
        kept = sum(not is_closed(one.raw) for one in (*self._kept, *self._lost))
        idle = self._pool.get_idle_size() + kept
        return self._pool.get_size() - idle, idle, self._pool.get_max_size()

    def at_hand(self) -> Taken | None:
        """One that is kept, if there is any; then nobody needs to wait."""
        while self._kept:
            one = self._kept.pop()
            if not is_closed(one.raw):
                return one
            self._lost.append(one)
        return None

    async def take(self, timeout_seconds: Callable[[], float]) -> Taken:
        """The pool's next; who has to wait for it does so for ``timeout_seconds``."""
        while self._lost:
            await self._release(self._lost.pop())
            if (at_hand := self.at_hand()) is not None:  # one came back meanwhile
                return at_hand
        begun = time.monotonic()
        # A timer costs as much as taking one, and is needed only where all are taken: connecting
        # has a time-out of its own.
        waits = self._out >= self._pool.get_max_size()
        self._out += 1
        self._waiting += 1  # what comes back now goes to the pool, or we might wait in vain
        try:
            raw = await self._pool.acquire(timeout=timeout_seconds() if waits else None)
        except BaseException:
            self._out -= 1
            raise
        finally:
            self._waiting -= 1
        now = time.monotonic()
        metrics.observe(metrics.DATABASE_WAIT_SECONDS, now - begun)
        return Taken(raw=raw, since=now, used_at=now)

    async def give_back(self, one: Taken, *, served_well: bool) -> None:
        """Keep it at hand, or let the pool look after it."""
        one.used_at = time.monotonic()
        fresh = one.since > self._expired_at and one.used_at - one.since < KEPT_SECONDS
        wanted = not self._waiting and not self._closing
        if served_well and fresh and wanted and not is_closed(one.raw):
            self._kept.append(one)
            if self._sweeping is None:
                # In a context of its own: it outlives the request.
                self._sweeping = asyncio.create_task(self._sweep(), context=Context())
            return
        await self._release(one)

    async def expire(self) -> None:
        """Use none of today's connections again."""
        self._expired_at = time.monotonic()  # what is in use now is kept no more
        await self._pool.expire_connections()
        await self._release_kept(before=float("inf"))

    async def close(self) -> None:
        """Wait for what is in use, and end all connections."""
        self._closing = True  # what comes back from now on is kept no more
        if self._sweeping is not None:
            self._sweeping.cancel()
        try:
            await self._release_kept(before=float("inf"))
            await self._pool.close()
        except BaseException:
            self._pool.terminate()
            raise

    async def _sweep(self) -> None:
        while self._kept:
            await asyncio.sleep(KEPT_SECONDS)
            await self._release_kept(before=time.monotonic() - KEPT_SECONDS)
        self._sweeping = None

    async def _release_kept(self, *, before: float) -> None:
        stale = [one for one in self._kept if one.used_at < before]
        self._kept = [one for one in self._kept if one.used_at >= before]
        self._lost += stale  # so that none is forgotten when this is cancelled
        while self._lost:
            await self._release(self._lost.pop())

    async def _release(self, one: Taken) -> None:
        # What was asked for has happened or has failed by now; this changes neither.
        try:
            with suppress(*LOST):
                await self._pool.release(one.raw, timeout=RELEASE_SECONDS)
        finally:
            self._out -= 1
