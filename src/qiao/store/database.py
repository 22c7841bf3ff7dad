"""The connection pool: four ways to ask, and a transaction. Nothing else touches asyncpg."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, TypeAlias

import asyncpg
import msgspec
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from qiao.domain.deadlines import seconds_left, within_deadline
from qiao.domain.errors import InvalidInput
from qiao.store.connecting import UNAVAILABLE, Connector
from qiao.store.errors import StoreUnavailable
from qiao.telemetry import metrics

ACQUIRE_TIMEOUT_SECONDS = 10.0
# The server's own limits, and the client's for a server that no longer answers at all: longer,
# so that the server's clearer answer comes first.
STATEMENT_TIMEOUT_SECONDS = 30
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS = 60
COMMAND_TIMEOUT_SECONDS = 40.0

SERVER_SETTINGS = {
    "application_name": "qiao",
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
    "jit": "off",  # every statement is short; compiling one costs more than it saves
}

RawConnection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"


class Queries(Protocol):
    """The four ways to ask: what a Database and a transaction have in common.

    ``sql`` is one statement with positional parameters ($1 …). jsonb values are Python values
    both ways, timestamps are aware and UTC. A database that does not answer is
    StoreUnavailable; PostgreSQL's refusals are asyncpg.PostgresError, as they come.
    """

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows."""

    async def fetch_row(self, sql: str, *args: object) -> Record | None:
        """The first row, if there is one."""

    async def fetch_value(self, sql: str, *args: object) -> Any:
        """The first column of the first row; None when there is no row."""

    async def execute(self, sql: str, *args: object) -> str:
        """PostgreSQL's command tag, such as ``UPDATE 1``."""


class Connection:
    """One connection inside a transaction; ends with the transaction's block."""

    def __init__(self, raw: RawConnection) -> None:
        self._raw = raw
        self._ended = False

    def _is_lost(self) -> bool:
        # Using it when it has ended is a mistake of ours, and must look like one.
        return not self._ended and _is_closed(self._raw)

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        with _translated(self._is_lost):
            return await self._raw.fetch(sql, *args, timeout=_timeout_seconds())

    async def fetch_row(self, sql: str, *args: object) -> Record | None:
        with _translated(self._is_lost):
            return await self._raw.fetchrow(sql, *args, timeout=_timeout_seconds())

    async def fetch_value(self, sql: str, *args: object) -> Any:
        with _translated(self._is_lost):
            return await self._raw.fetchval(sql, *args, timeout=_timeout_seconds())

    async def execute(self, sql: str, *args: object) -> str:
        with _translated(self._is_lost):
            return await self._raw.execute(sql, *args, timeout=_timeout_seconds())


class Database:
    """A pool of connections; made by ``open_database``.

    A statement asked of the Database itself is its own transaction. Connections go back into
    the pool as they are, to save a round trip, so a statement must leave nothing behind in its
    session: no SET (SET LOCAL inside a transaction is well), no LISTEN, no session-level locks,
    no temporary tables.
    """

    def __init__(self, pool: "asyncpg.Pool[Record]") -> None:
        self._pool = pool
        self._taken = 0
        metrics.POOLS.open.add(self)

    def sizes(self) -> tuple[int, int, int]:
        """Connections in use, idle, and how many there may be."""
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return size - idle, idle, self._pool.get_max_size()

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        raw = await self._take()
        try:
            with _translated(lambda: _is_closed(raw)):
                return await raw.fetch(sql, *args, timeout=_timeout_seconds())
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            await self._give_back(raw)

    async def fetch_row(self, sql: str, *args: object) -> Record | None:
        raw = await self._take()
        try:
            with _translated(lambda: _is_closed(raw)):
                return await raw.fetchrow(sql, *args, timeout=_timeout_seconds())
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            await self._give_back(raw)

    async def fetch_many(self, sql: str, rows: Sequence[Sequence[object]]) -> list[Record]:
        """The statement once for each row of arguments: in one transaction and one round trip.

        What all of them gave comes back in order, without a sign of which gave what.
        """
        raw = await self._take()
        try:
            with _translated(lambda: _is_closed(raw)):
                return await raw.fetchmany(sql, rows, timeout=_timeout_seconds())
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            await self._give_back(raw)

    async def fetch_value(self, sql: str, *args: object) -> Any:
        raw = await self._take()
        try:
            with _translated(lambda: _is_closed(raw)):
                return await raw.fetchval(sql, *args, timeout=_timeout_seconds())
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            await self._give_back(raw)

    async def execute(self, sql: str, *args: object) -> str:
        raw = await self._take()
        try:
            with _translated(lambda: _is_closed(raw)):
                return await raw.execute(sql, *args, timeout=_timeout_seconds())
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            await self._give_back(raw)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A read-committed transaction: commits at the end of the block, rolls back on an error.

        When the commit itself raises StoreUnavailable it is unknown whether it took effect.
        """
        async with self._connection() as connection:
            lost = connection._is_lost  # noqa: SLF001 - hidden from everyone else
            block = connection._raw.transaction()  # noqa: SLF001
            with _translated(lost):
                await block.start()
            try:
                yield connection
            except BaseException:
                if not lost():  # or there is nothing left to roll back
                    with suppress(StoreUnavailable), _translated(lost):
                        await block.rollback()
                raise
            with _translated(lost):
                await block.commit()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        raw = await self._take()
        connection = Connection(raw)
        try:
            yield connection
        except StoreUnavailable as error:
            await self._leave(raw, error)
            raise
        finally:
            connection._ended = True  # noqa: SLF001
            await self._give_back(raw)

    async def _take(self) -> "PoolConnectionProxy[Record]":
        # A timer costs as much as taking one, and is needed only where all are taken: connecting
        # has a time-out of its own.
        waits = self._taken >= self._pool.get_max_size()
        self._taken += 1
        begun = time.perf_counter()
        try:
            with _translated(lambda: True):
                raw = await self._pool.acquire(
                    timeout=within_deadline(ACQUIRE_TIMEOUT_SECONDS) if waits else None
                )
        except BaseException:
            self._taken -= 1
            raise
        metrics.observe(metrics.DATABASE_WAIT_SECONDS, time.perf_counter() - begun)
        return raw

    async def _leave(self, raw: "PoolConnectionProxy[Record]", error: StoreUnavailable) -> None:
        """Use no more what cannot serve any more, so that the next who asks gets another."""
        # A server that was demoted under us: it answers, and no connection to it is of use.
        if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
            await self._pool.expire_connections()
        if isinstance(error.__cause__, asyncpg.InternalClientError):
            with suppress(asyncpg.InterfaceError):  # it has been taken back already
                raw.terminate()

    async def _give_back(self, raw: "PoolConnectionProxy[Record]") -> None:
        # What was asked for has happened or has failed by now; this changes neither.
        try:
            with suppress(StoreUnavailable), _translated(lambda: True):
                await self._pool.release(raw)
        finally:
            self._taken -= 1


@asynccontextmanager
async def open_database(
    url: str, *, min_size: int = 2, max_size: int = 32, patient: bool = False
) -> AsyncIterator[Database]:
    """A Database on ``url``: ``postgresql://user@host:5432/name``, or ``?host=/socket/folder``.

    Of several hosts (``host1,host2``) with ``?target_session_attrs=read-write`` it is the primary,
    also after another one became it.

    ``max_size`` should not be below the number of requests that are admitted at once: waiting
    for a connection costs far more than an idle one. ``patient`` lets a statement take as long
    as it takes, for work over everything that is no request. StoreUnavailable when nobody answers
    there or the server turns us away.
    """
    settings = SERVER_SETTINGS | ({"statement_timeout": "0"} if patient else {})
    with connecting(url):
        pool = await asyncpg.create_pool(
            url,
            connect=Connector(url),
            min_size=min_size,
            max_size=max_size,
            init=_prepare,
            reset=_leave,
            command_timeout=None if patient else COMMAND_TIMEOUT_SECONDS,
            statement_cache_size=512,
            max_cached_statement_lifetime=0,
            server_settings=settings,
        )
    try:
        yield Database(pool)
    finally:
        await _close(pool)


@contextmanager
def connecting(url: str) -> Iterator[None]:
    """Turns every way in which connecting fails into StoreUnavailable, a bad URL InvalidInput."""
    wrong = InvalidInput(
        "not the URL of a PostgreSQL database",
        field="database_url",
        remedy="write it as postgresql://user:password@host:5432/name",
    )
    # asyncpg would look for what is missing in the environment, and find some other server.
    if not url.startswith(("postgresql://", "postgres://")):
        raise wrong
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise wrong from error
    except (
        *UNAVAILABLE,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise StoreUnavailable(f"cannot connect to the database: {_name(error)}") from error


async def _prepare(connection: RawConnection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),  # 1: version of the format
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )


async def _leave(connection: RawConnection) -> None:
    """Instead of asyncpg's reset, which costs a round trip after every statement."""


async def _close(pool: "asyncpg.Pool[Record]") -> None:
    try:
        await pool.close()
    except BaseException:
        pool.terminate()
        raise


def _is_closed(raw: RawConnection) -> bool:
    try:
        return raw.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, because it was lost
        return True


@contextmanager
def _translated(is_lost: Callable[[], bool]) -> Iterator[None]:
    try:
        yield
    except (*UNAVAILABLE, asyncpg.InternalClientError) as error:
        # The last: asyncpg was cut off in the middle of an answer, and cannot use the connection.
        raise StoreUnavailable(f"the database does not answer: {_name(error)}") from error
    except asyncpg.InterfaceError as error:
        # Either the connection is gone, or we used it wrongly: a mistake that must be seen.
        if isinstance(error, ValueError) or not is_lost():
            raise
        raise StoreUnavailable(f"the database does not answer: {_name(error)}") from error


def _timeout_seconds() -> float | None:
    """None leaves it to the connection. Raises DeadlineExceeded when no time is left."""
    return None if seconds_left() is None else within_deadline(COMMAND_TIMEOUT_SECONDS)


def _name(error: BaseException) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({sqlstate})" if sqlstate else type(error).__name__
