"""The connection pool: four ways to ask, and a transaction. Nothing else touches asyncpg."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg
import msgspec
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from qiao.domain.deadlines import seconds_left, within_deadline
from qiao.domain.errors import InvalidInput
from qiao.store.connecting import UNAVAILABLE, Connector
from qiao.store.errors import StoreUnavailable
from qiao.store.pool import Pool, Taken, is_closed
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

Found = TypeVar("Found")
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

    def _open(self) -> RawConnection:
        if self._ended:  # by now it may serve somebody else
            raise asyncpg.InterfaceError("the transaction of this connection has ended")
        return self._raw

    def _is_lost(self) -> bool:
        # Using it when it has ended is a mistake of ours, and must look like one.
        return not self._ended and is_closed(self._raw)

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        with _translated(self._is_lost):
            return await self._open().fetch(sql, *args, timeout=_timeout_seconds())

    async def fetch_row(self, sql: str, *args: object) -> Record | None:
        with _translated(self._is_lost):
            return await self._open().fetchrow(sql, *args, timeout=_timeout_seconds())

    async def fetch_value(self, sql: str, *args: object) -> Any:
        with _translated(self._is_lost):
            return await self._open().fetchval(sql, *args, timeout=_timeout_seconds())

    async def execute(self, sql: str, *args: object) -> str:
        with _translated(self._is_lost):
            return await self._open().execute(sql, *args, timeout=_timeout_seconds())


class Database:
    """A pool of connections; made by ``open_database``.

    A statement asked of the Database itself is its own transaction. Connections go back into
    the pool as they are, to save a round trip, so a statement must leave nothing behind in its
    session: no SET (SET LOCAL inside a transaction is well), no LISTEN, no session-level locks,
    no temporary tables.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        metrics.POOLS.open.add(self)

    def sizes(self) -> tuple[int, int, int]:
        """Connections in use, idle, and how many there may be."""
        return self._pool.sizes()

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        return await self._ask(lambda raw, seconds: raw.fetch(sql, *args, timeout=seconds))

    async def fetch_row(self, sql: str, *args: object) -> Record | None:
        return await self._ask(lambda raw, seconds: raw.fetchrow(sql, *args, timeout=seconds))

    async def fetch_many(self, sql: str, rows: Sequence[Sequence[object]]) -> list[Record]:
        """The statement once for each row of arguments: in one transaction and one round trip.

        What all of them gave comes back in order, without a sign of which gave what.
        """
        return await self._ask(lambda raw, seconds: raw.fetchmany(sql, rows, timeout=seconds))

    async def fetch_value(self, sql: str, *args: object) -> Any:
        return await self._ask(lambda raw, seconds: raw.fetchval(sql, *args, timeout=seconds))

    async def execute(self, sql: str, *args: object) -> str:
        return await self._ask(lambda raw, seconds: raw.execute(sql, *args, timeout=seconds))

    async def _ask(self, ask: Callable[[RawConnection, float | None], Awaitable[Found]]) -> Found:
        one, served_well = await self._take(), False
        try:
            found = await ask(one.raw, _timeout_seconds())
            served_well = True
        except Exception as error:
            if (outage := _outage(error, lambda: is_closed(one.raw))) is not None:
                await self._leave(one.raw, error)
                raise outage from error
            raise
        finally:
            await self._pool.give_back(one, served_well=served_well)
        return found

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
        one = await self._take()
        connection, served_well = Connection(one.raw), False
        try:
            yield connection
            served_well = True
        except StoreUnavailable as error:
            await self._leave(one.raw, error.__cause__)
            raise
        finally:
            connection._ended = True  # noqa: SLF001
            await self._pool.give_back(one, served_well=served_well)

    async def _take(self) -> Taken:
        if (at_hand := self._pool.at_hand()) is not None:
            return at_hand
        with _translated(lambda: True):
            return await self._pool.take(_acquire_seconds)

    async def _leave(self, raw: RawConnection, cause: BaseException | None) -> None:
        """Use no more what cannot serve any more, so that the next who asks gets another."""
        # A server that was demoted under us: it answers, and no connection to it is of use.
        if isinstance(cause, asyncpg.ReadOnlySQLTransactionError):
            await self._pool.expire()
        if isinstance(cause, asyncpg.InternalClientError):
            with suppress(asyncpg.InterfaceError):  # it has been taken back already
                raw.terminate()


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
        raw = await asyncpg.create_pool(
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
    pool = Pool(raw)
    try:
        yield Database(pool)
    finally:
        await pool.close()


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


@contextmanager
def _translated(is_lost: Callable[[], bool]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if (outage := _outage(error, is_lost)) is not None:
            raise outage from error
        raise


def _outage(error: BaseException, is_lost: Callable[[], bool]) -> StoreUnavailable | None:
    """What it says of the database, if that does not answer; None when it is something else."""
    # The second: asyncpg was cut off in the middle of an answer, and cannot use the connection.
    if isinstance(error, (*UNAVAILABLE, asyncpg.InternalClientError)):
        return StoreUnavailable(f"the database does not answer: {_name(error)}")
    # Either the connection is gone, or we used it wrongly: a mistake that must be seen.
    wrongly_used = isinstance(error, ValueError) or not isinstance(error, asyncpg.InterfaceError)
    if wrongly_used or not is_lost():
        return None
    return StoreUnavailable(f"the database does not answer: {_name(error)}")


def _acquire_seconds() -> float:
    return within_deadline(ACQUIRE_TIMEOUT_SECONDS)


def _timeout_seconds() -> float | None:
    """None leaves it to the connection. Raises DeadlineExceeded when no time is left."""
    return None if seconds_left() is None else within_deadline(COMMAND_TIMEOUT_SECONDS)


def _name(error: BaseException) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} ({sqlstate})" if sqlstate else type(error).__name__
