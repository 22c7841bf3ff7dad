"""Thousands of open pages: each hears of its payment, and none takes anything from new orders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from qiao.bootstrap.serving import listen, serving
from qiao.engine import watching
from qiao.engine.closing import close
from qiao.engine.merchants import issue_api_key
from qiao.engine.records import Payment
from qiao.store.database import Database
from qiao.testing.world import World
from qiao.web import protection

ORDER = {"order_id": "one-more", "amount": 1000, "description": "tea"}


@asynccontextmanager
async def served(world: World, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    key = await issue_api_key(world.engine, world.scope)
    headers = {"authorization": f"Bearer {key}"}
    async with (
        serving(world.engine, listen("127.0.0.1", 0), **more) as url,
        httpx.AsyncClient(
            base_url=url, headers=headers, trust_env=False, limits=httpx.Limits(max_connections=200)
        ) as client,
    ):
        yield client


def events(payment: Payment) -> str:
    tail = f"{payment.merchant_id}/{payment.payment_id}/{payment.cashier_token}"
    return f"/cashier/{tail}/events"


class Page:
    """What an open page hears."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def hears(self) -> str:
        """The next version. Raises StopAsyncIteration when the stream ends."""
        async with asyncio.timeout(30):
            while not (line := await anext(self._lines)).startswith("data: "):
                pass
        return line.removeprefix("data: ")


async def opened(client: httpx.AsyncClient, stack: AsyncExitStack, payment: Payment) -> Page:
    answer = await stack.enter_async_context(client.stream("GET", events(payment)))
    assert answer.status_code == 200
    return Page(answer)


async def test_open_pages_take_no_slot_and_one_statement_between_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    fetch = Database.fetch

    async def noting(self: Database, sql: str, *args: Any) -> Any:
        if sql == watching.SQL.versions:
            asked.append(sorted(args[1]))
        return await fetch(self, sql, *args)

    monkeypatch.setattr(Database, "fetch", noting)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.1)
    payments = [await world.accept() for _ in range(3)]
    async with served(world, max_requests=8) as client, AsyncExitStack() as stack:
        pages = [await opened(client, stack, one) for one in payments * 10]
        assert {await page.hears() for page in pages} == {"open-0"}
        assert (await client.post("/v1/payments", json=ORDER)).status_code == 201
        asked.clear()
        await close(world.engine, world.scope, payments[0].payment_id)
        for page in pages[::3]:
            assert await page.hears() == "closed-0"
        assert asked
        everyone = sorted(one.payment_id for one in payments)
        assert all(one == everyone for one in asked)


async def test_pages_beyond_the_bound_are_told_to_ask_instead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "MAX_STREAMS", 2)
    payment = await world.accept()
    async with served(world) as client:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await opened(client, stack, payment)
            refused = await client.get(events(payment))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            asked = await client.get(events(payment).replace("events", "state"))
            assert asked.json() == {"version": "open-0"}
        async with asyncio.timeout(30):
            while True:  # the server has noticed that they are gone
                async with client.stream("GET", events(payment)) as answer:
                    if answer.status_code == 200:
                        break
                await asyncio.sleep(0.05)


async def test_a_server_that_ends_lets_its_pages_go(world: World) -> None:
    payment = await world.accept()
    async with AsyncExitStack() as ours, AsyncExitStack() as theirs:
        url = await theirs.enter_async_context(serving(world.engine, listen("127.0.0.1", 0)))
        client = await ours.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        page = await opened(client, ours, payment)
        assert await page.hears() == "open-0"
        ending = asyncio.create_task(theirs.aclose())
        with pytest.raises(StopAsyncIteration):  # to its end, and not cut off
            await page.hears()
        await ending


async def test_nobody_is_told_of_an_older_version_than_they_know(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await world.accept()
    watchers = watching.Watchers(world.engine.database)
    with watchers.watch(payment, "open-0") as first, watchers.watch(payment, "newer") as second:
        assert not await second.changes(0.01)  # the first knows less, and neither is told yet
        assert not await first.changes(0.01)
        assert await second.changes(30)
        assert second.version == "open-0"  # what the database says
        assert not await first.changes(0.01)
    watchers.end()
