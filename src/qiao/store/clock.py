"""The database's time, which every process shares, whatever becomes of a machine's wall clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from qiao.store.database import Queries
from qiao.store.errors import StoreUnavailable

REFRESH_SECONDS: Final = 30.0


def loop_seconds() -> float:
    """The running loop's monotonic clock, in seconds: a simulation's is its own."""
    return asyncio.get_running_loop().time()


class DatabaseClock:
    """Tells the database's time (UTC) between questions by this machine's monotonic clock.

    What is decided by the time that has passed (that a channel will never know a number, say)
    must not be decided by a wall clock, which an operator, NTP or a resumed machine may move by
    hours. Make one with :meth:`read`.
    """

    def __init__(self, now: datetime, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._set(now, monotonic())

    @classmethod
    async def read(
        cls, queries: Queries, *, monotonic: Callable[[], float] = time.monotonic
    ) -> "DatabaseClock":
        """A clock that agrees with the database. Raises StoreUnavailable."""
        return cls(await _ask(queries), monotonic=monotonic)

    def __call__(self) -> datetime:
        return self._at + timedelta(seconds=self._monotonic() - self._read_at)

    async def refresh(self, queries: Queries) -> None:
        """Agree with the database again. Raises StoreUnavailable, and then goes on as it was."""
        asked_at = self._monotonic()
        now = await _ask(queries)
        self._set(now, (asked_at + self._monotonic()) / 2)

    def _set(self, now: datetime, read_at: float) -> None:
        self._at, self._read_at = now, read_at

    @asynccontextmanager
    async def kept(self, queries: Queries) -> AsyncIterator[None]:
        """Refreshed every so often while the block runs."""
        task = asyncio.create_task(self._keep(queries))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep(self, queries: Queries) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            with suppress(StoreUnavailable):
                await self.refresh(queries)


async def _ask(queries: Queries) -> datetime:
    now: datetime = await queries.fetch_value("SELECT now()")
    return now
