"""Connections that served well are kept, the pool gets the others, and who waits is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from qiao.domain.deadlines import deadline
from qiao.domain.errors import DeadlineExceeded
from qiao.store import pool as pools
from qiao.store.database import Database, open_database
from qiao.store.errors import StoreUnavailable

BACKEND = "SELECT pg_backend_pid()"


@pytest_asyncio.fixture
async def two(postgres_url: str) -> AsyncIterator[Database]:
    async with open_database(postgres_url, min_size=1, max_size=2) as database:
        yield database


async def test_one_that_served_well_serves_again(two: Database) -> None:
    first = await two.fetch_value(BACKEND)
    assert {await two.fetch_value(BACKEND) for _ in range(5)} == {first}
    assert two._pool._pool.get_idle_size() == 0  # it is at hand, and not in asyncpg's pool
    async with two.transaction() as inside:
        assert await inside.fetch_value(BACKEND) == first
        other = await two.fetch_value(BACKEND)
        assert (other != first, two.sizes()) == (True, (1, 1, 2))
    assert two.sizes() == (0, 2, 2)


async def test_who_waits_gets_the_next_that_comes_back(two: Database) -> None:
    held = [two.transaction() for _ in range(2)]
    for one in held:
        await one.__aenter__()
    waiting = [asyncio.create_task(two.fetch_value(BACKEND)) for _ in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded), deadline(0.0):
        await two.fetch_value(BACKEND)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await two.fetch_value(BACKEND)
    assert not any(one.done() for one in waiting)
    for one in held:
        await one.__aexit__(None, None, None)
    async with asyncio.timeout(30):
        assert len(set(await asyncio.gather(*waiting))) <= 2
    assert two.sizes() == (0, 2, 2)


async def test_an_error_sends_it_back_to_the_pool_and_leaves_it_of_use(two: Database) -> None:
    first = await two.fetch_value(BACKEND)
    for _ in range(3):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await two.fetch("SELECT 1 / 0")
        assert two._pool._pool.get_idle_size() == 1
    assert await two.fetch_value(BACKEND) == first
    assert two.sizes() == (0, 1, 2)


async def test_one_that_was_ended_while_it_was_kept_is_not_used(
    two: Database, database: Database
) -> None:
    first = await two.fetch_value(BACKEND)
    await database.fetch("SELECT pg_terminate_backend($1, 5000)", first)
    try:
        second = await two.fetch_value(BACKEND)
    except StoreUnavailable:  # the news of it came together with the question
        second = await two.fetch_value(BACKEND)
    assert second != first
    in_use, idle, _ = two.sizes()
    assert in_use == 0
    assert 1 <= idle <= 2  # asyncpg's pool may have made one anew besides


async def test_those_that_were_ended_while_they_were_kept_count_no_more(
    two: Database, database: Database
) -> None:
    async with two.transaction() as inside:
        ends = [await inside.fetch_value(BACKEND), await two.fetch_value(BACKEND)]
    await database.fetch("SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) pid", ends)
    async with asyncio.timeout(30):
        while two.sizes()[1] > 1:  # asyncpg's pool makes one anew
            await asyncio.sleep(0.01)
    assert two.sizes()[0] == 0


async def test_none_that_was_taken_before_they_expired_serves_again(two: Database) -> None:
    kept = await two.fetch_value(BACKEND)
    async with two.transaction() as inside:
        in_use = await inside.fetch_value(BACKEND)
        also_kept = await two.fetch_value(BACKEND)
        await two._pool.expire()
    async with two.transaction() as inside:
        later = {await inside.fetch_value(BACKEND), await two.fetch_value(BACKEND)}
    assert not later & {kept, in_use, also_kept}


@dataclass
class Relay:
    """Passes nothing on while ``flows`` is not set."""

    url: str
    flows: asyncio.Event
    taken: int = 0


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[Relay]:
    parts, relay = urlsplit(url), Relay(url="", flows=asyncio.Event())
    folder = parse_qs(parts.query).get("host", [""])[0]

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while data := await reader.read(1 << 16):
                await relay.flows.wait()
                writer.write(data)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.taken += 1
        if folder:
            path = f"{folder}/.s.PGSQL.{parts.port or 5432}"
            inner = await asyncio.open_unix_connection(path)
        else:
            inner = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        with suppress(ConnectionError):
            await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    relay.flows.set()
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        access = parts.netloc.rpartition("@")[0]
        place = f"{access}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        relay.url = parts._replace(netloc=place, query="sslmode=disable").geturl()
        yield relay


async def cut_off(database: Database) -> None:
    with pytest.raises(StoreUnavailable), deadline(0.2):
        await database.fetch("SELECT pg_sleep(3600)")


async def test_one_whose_server_vanished_is_given_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "RELEASE_SECONDS", 0.1)
    async with (
        relayed(postgres_url) as relay,
        open_database(relay.url, min_size=1, max_size=1) as database,
    ):
        first = await database.fetch_value(BACKEND)
        relay.flows.clear()
        async with asyncio.timeout(30):
            await cut_off(database)
        relay.flows.set()
        assert await database.fetch_value(BACKEND) != first


async def test_who_waits_for_one_that_is_slow_to_come_back_is_told_in_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "RELEASE_SECONDS", 3600.0)
    async with (
        relayed(postgres_url) as relay,
        open_database(relay.url, min_size=1, max_size=1) as database,
        asyncio.timeout(30),
    ):
        await database.fetch_value(BACKEND)
        relay.flows.clear()
        slow, taken = asyncio.create_task(cut_off(database)), relay.taken
        while relay.taken == taken:  # until it asks to cancel
            await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable), deadline(0.2):
            await database.fetch_value(BACKEND)
        assert not slow.done()
        relay.flows.set()
        await slow


async def test_what_nobody_uses_for_long_goes_back_to_the_pool(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "KEPT_SECONDS", 0.02)
    async with open_database(postgres_url, min_size=1, max_size=2) as database:
        await database.fetch_value(BACKEND)
        async with asyncio.timeout(30):
            while database._pool._pool.get_idle_size() == 0:
                await asyncio.sleep(0.01)
        assert database.sizes() == (0, 1, 2)
        assert await database.fetch_value("SELECT 1") == 1


async def test_what_comes_back_while_it_closes_is_not_waited_for_in_vain(postgres_url: str) -> None:
    async with asyncio.timeout(30):
        async with open_database(postgres_url, min_size=1, max_size=2) as database:
            await database.fetch_value(BACKEND)
            late = asyncio.create_task(database.fetch_value("SELECT 7 FROM pg_sleep(0.2)"))
            await asyncio.sleep(0)
        assert await late == 7


async def test_nobody_starves_while_connections_are_lost_and_kept(
    postgres_url: str, database: Database
) -> None:
    async with open_database(postgres_url, min_size=1, max_size=3) as crowded:

        async def ask(number: int) -> None:
            for turn in range(20):
                with suppress(StoreUnavailable):
                    await crowded.fetch_value("SELECT pg_sleep(0.001)")
                if number == 0 and turn % 5 == 0:
                    await database.fetch(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
                        " datname = current_database() AND pid <> pg_backend_pid()"
                    )

        async with asyncio.timeout(30):
            await asyncio.gather(*(ask(number) for number in range(12)))
            assert await crowded.fetch_value("SELECT 1") == 1
        assert crowded.sizes()[0] == 0
