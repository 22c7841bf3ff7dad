"""PostgreSQL for a simulation: the real one, asked one statement at a time, and on its clock.

Each statement is a step: chance decides what other steps come before it, and whether its answer, or
the statement itself, is lost. Statements of one transaction are one step, because nobody else can
be let in between them: who waited for its locks would stop the clock.

``now()`` is the simulation's: a function of that name stands before PostgreSQL's own in the search
path, since before the migrations ran.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
import uvloop

from qiao.store.database import Connection, Database, open_database
from qiao.store.errors import StoreUnavailable
from qiao.store.migrate import migrate

Result = TypeVar("Result")
CLOCK = """
CREATE SCHEMA simulation;
CREATE FUNCTION simulation.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT coalesce(nullif(current_setting('simulation.now', true), '')::timestamptz,
                  pg_catalog.now())
$$;
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = simulation, public, pg_catalog',
                 current_database());
  EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
END $$;
"""
"""Nothing is kept for longer than the simulation: no commit needs to wait for the disk."""
PATIENCE_SECONDS = 60


class Died(BaseException):
    """The process that asked is dead; nothing in it goes on."""


class Server:
    """A connection in a thread of its own: the simulation's loop must never wait for sockets."""

    def __init__(self, url: str) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._set_to: datetime | None = None
        self.do(_prepare(url))
        self._opening = open_database(url, min_size=1, max_size=1)
        self.database: Database = self.do(self._opening.__aenter__())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do it now, while the simulation stands still."""
        future: Future[Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(PATIENCE_SECONDS)

    def do_at(
        self, now: datetime, ask: Callable[[Database], Coroutine[Any, Any, Result]]
    ) -> Result:
        """Ask the database, with its clock at ``now``."""

        async def work() -> Result:
            if now != self._set_to:
                await self.database.fetch_value(SET_CLOCK, now.isoformat())
                self._set_to = now
            return await ask(self.database)

        return self.do(work())

    def close(self) -> None:
        self.do(self._opening.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


SET_CLOCK = "SELECT set_config('simulation.now', $1, false)"


async def _prepare(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(CLOCK)
    await connection.close()
    await migrate(url)


@dataclass
class Trouble:
    """How often things go wrong now, from 0 to 1; all is well at the end."""

    chance: random.Random
    statement_lost: float = 0.0
    answer_lost: float = 0.0
    down: bool = False

    def hits(self, probability: float) -> bool:
        return self.chance.random() < probability


@dataclass
class SimulatedDatabase(Database):
    """One process's way to the database. ``dead`` ends the process at its next step."""

    server: Server
    trouble: Trouble
    now: Callable[[], datetime]
    dead: bool = field(default=False)

    async def fetch(self, sql: str, *args: object) -> Any:
        return await self._step(lambda database: database.fetch(sql, *args))

    async def fetch_row(self, sql: str, *args: object) -> Any:
        return await self._step(lambda database: database.fetch_row(sql, *args))

    async def fetch_many(self, sql: str, rows: Sequence[Sequence[object]]) -> Any:
        return await self._step(lambda database: database.fetch_many(sql, rows))

    async def fetch_value(self, sql: str, *args: object) -> Any:
        return await self._step(lambda database: database.fetch_value(sql, *args))

    async def execute(self, sql: str, *args: object) -> Any:
        return await self._step(lambda database: database.execute(sql, *args))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        await self._before()
        block = self.server.database.transaction()
        inner = self.server.do_at(self.now(), lambda _: block.__aenter__())
        try:
            yield _Inside(self.server, inner)  # type: ignore[misc]
        except BaseException as error:
            self.server.do(block.__aexit__(type(error), error, error.__traceback__))
            raise
        self.server.do(block.__aexit__(None, None, None))
        await self._after()

    async def _step(self, ask: Callable[[Database], Coroutine[Any, Any, Result]]) -> Result:
        await self._before()
        result = self.server.do_at(self.now(), ask)
        await self._after()
        return result

    async def _before(self) -> None:
        await self._pause()
        if self.trouble.down or self.trouble.hits(self.trouble.statement_lost):
            raise StoreUnavailable("the statement was lost")

    async def _after(self) -> None:
        await self._pause()
        if self.trouble.hits(self.trouble.answer_lost):
            raise StoreUnavailable("the answer was lost")

    async def _pause(self) -> None:
        if not self.dead:
            await asyncio.sleep(self.trouble.chance.uniform(0.0005, 0.01))
        if self.dead:
            raise Died


class _Inside:
    """A transaction's connection: its statements follow each other without a pause."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self._server, self._connection = server, connection

    async def fetch(self, sql: str, *args: object) -> Any:
        return self._server.do(self._connection.fetch(sql, *args))

    async def fetch_row(self, sql: str, *args: object) -> Any:
        return self._server.do(self._connection.fetch_row(sql, *args))

    async def fetch_value(self, sql: str, *args: object) -> Any:
        return self._server.do(self._connection.fetch_value(sql, *args))

    async def execute(self, sql: str, *args: object) -> Any:
        return self._server.do(self._connection.execute(sql, *args))
