"""The pool: values both ways, transactions, and what happens when the server goes away."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from qiao.domain.errors import InvalidInput
from qiao.store.database import Connection, Database, open_database
from qiao.store.errors import StoreUnavailable

CHINA = timezone(timedelta(hours=8))


@pytest.mark.parametrize("inside", [False, True], ids=["database", "transaction"])
async def test_the_four_ways_to_ask(database: Database, inside: bool) -> None:
    async def ask(queries: Database | Connection) -> None:
        sql = "SELECT * FROM generate_series(1, $1::int) AS n"
        assert [row["n"] for row in await queries.fetch(sql, 2)] == [1, 2]
        row = await queries.fetch_row(sql, 2)
        assert row is not None
        assert row["n"] == 1
        assert await queries.fetch_row(sql, 0) is None
        assert await queries.fetch_value(sql, 2) == 1
        assert await queries.fetch_value(sql, 0) is None
        insert = "INSERT INTO job (merchant_id, kind, subject_id) VALUES ('m', 'k', 's')"
        assert await queries.execute(insert) == "INSERT 0 1"

    if inside:
        async with database.transaction() as transaction:
            await ask(transaction)
    else:
        await ask(database)
    assert await database.fetch_value("SELECT count(*) FROM job") == 1


@pytest.mark.parametrize(
    "value",
    [{}, [], None, True, 9007199254740993, "桥 \\ \" '", {"a": [{"b": None}], "": "é"}],
    ids=repr,
)
async def test_jsonb_is_a_python_value_both_ways(database: Database, value: object) -> None:
    assert await database.fetch_value("SELECT $1::jsonb", value) == value
    if value is not None:  # which is SQL's NULL rather than JSON's
        assert await database.fetch_value("SELECT jsonb_build_array($1::jsonb)", value) == [value]


async def test_times_are_aware_and_utc(database: Database) -> None:
    moment = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=CHINA)
    stored = await database.fetch_value("SELECT $1::timestamptz", moment)
    assert stored == moment
    assert stored.tzinfo is UTC
    assert await database.fetch_value("SHOW timezone") == "UTC"


async def test_the_session_is_named_and_bounded(database: Database) -> None:
    for setting, value in {
        "application_name": "qiao",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "1min",
    }.items():
        assert await database.fetch_value(f"SHOW {setting}") == value


INSERT_A = "INSERT INTO job (merchant_id, kind, subject_id) VALUES ('m', 'k', 'a')"
INSERT_B = "INSERT INTO job (merchant_id, kind, subject_id) VALUES ('m', 'k', 'b')"


async def test_a_transaction_commits_as_one(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(INSERT_A)
        assert await database.fetch_value("SELECT count(*) FROM job") == 0
        await transaction.execute(INSERT_B)
    assert await database.fetch_value("SELECT count(*) FROM job") == 2


async def in_transaction(
    database: Database, *statements: str, error: BaseException | None = None
) -> None:
    async with database.transaction() as transaction:
        for statement in statements:
            await transaction.execute(statement)
        if error is not None:
            raise error


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), OSError("of the caller"), TimeoutError(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_rolls_back_and_stays_itself(
    database: Database, error: BaseException
) -> None:
    with pytest.raises(type(error)) as raised:
        await in_transaction(database, INSERT_A, error=error)
    assert raised.value is error
    assert await database.fetch_value("SELECT count(*) FROM job") == 0


async def test_refusals_of_postgresql_come_as_they_are(database: Database) -> None:
    await database.execute(INSERT_A)
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute(INSERT_A)
    with pytest.raises(asyncpg.UniqueViolationError):
        await in_transaction(database, INSERT_B, INSERT_A)
    assert await database.fetch_value("SELECT count(*) FROM job") == 1


async def test_a_mistake_of_ours_is_not_called_an_outage(database: Database) -> None:
    with pytest.raises(asyncpg.InterfaceError):
        await database.fetch("SELECT $1::int")
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT $1::int", "text")
    async with database.transaction() as ended:
        pass
    with pytest.raises(asyncpg.InterfaceError):
        await ended.fetch("SELECT 1")
    async with database.transaction() as transaction:
        first = asyncio.create_task(transaction.fetch("SELECT pg_sleep(0.2)"))
        while not first.done():
            await asyncio.sleep(0)
            try:
                await transaction.fetch("SELECT 1")
            except asyncpg.InterfaceError:
                break
        else:
            raise AssertionError("one connection took two statements at once")
        await first


async def test_a_statement_that_takes_too_long_is_stopped(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="QueryCanceledError"):
        await in_transaction(
            database, "SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(60)"
        )


async def test_a_cancelled_statement_leaves_a_usable_pool(postgres_url: str) -> None:
    async with open_database(postgres_url, min_size=1, max_size=1) as database:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await database.fetch("SELECT pg_sleep(60)")
            assert await database.fetch_value("SELECT 1") == 1


async def lose_connection(
    victim: Database, killer: Database, then: str = "", error: BaseException | None = None
) -> None:
    async with victim.transaction() as transaction:
        await transaction.execute(INSERT_A)
        await killer.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if then:
            await transaction.execute(then)
        if error is not None:
            raise error


@pytest.mark.parametrize("then", [INSERT_B, ""], ids=["at a statement", "at the commit"])
async def test_a_lost_connection_is_an_outage_and_the_next_statement_works(
    postgres_url: str, database: Database, then: str
) -> None:
    async with open_database(postgres_url, min_size=2, max_size=2) as victim:
        with pytest.raises(StoreUnavailable):
            await lose_connection(victim, database, then)
        assert await victim.fetch_value("SELECT count(*) FROM job") == 0


async def test_the_callers_error_survives_a_lost_connection(
    postgres_url: str, database: Database
) -> None:
    async with open_database(postgres_url, min_size=1, max_size=1) as victim:
        with pytest.raises(KeyError):
            await lose_connection(victim, database, error=KeyError("of the caller"))
        assert await victim.fetch_value("SELECT count(*) FROM job") == 0


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is ours, and where nobody listens."""
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        yield mine.getsockname()[1]


async def test_a_server_that_is_not_there(closed_port: int) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        async with open_database(f"postgresql://me:hunter2@127.0.0.1:{closed_port}/x"):
            pass
    assert raised.value.code == "store_unavailable"
    assert "hunter2" not in str(raised.value)


async def test_a_server_that_speaks_something_else() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StoreUnavailable):
            async with open_database(f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable"):
                pass


async def test_a_database_that_does_not_exist(postgres_server: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"InvalidCatalogNameError \(3D000\)"):
        async with open_database(postgres_server.replace("/qiao?", "/no_such?")):
            pass


@pytest.mark.parametrize(
    "url", ["mysql://me:hunter2@host/x", "nonsense hunter2", ""], ids=["scheme", "text", "empty"]
)
async def test_what_is_not_the_url_of_a_database(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        async with open_database(url):
            pass
    assert raised.value.field == "database_url"
    assert "hunter2" not in str(raised.value)


async def test_both_schemes(postgres_url: str) -> None:
    async with open_database(postgres_url.replace("postgresql://", "postgres://")) as database:
        assert await database.fetch_value("SELECT 1") == 1
