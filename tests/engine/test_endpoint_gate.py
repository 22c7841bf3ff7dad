"""One endpoint's trouble stays its own: windows, turns and pauses, and fifty others beside it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from aiohttp import web

from qiao.bootstrap.serving import working
from qiao.engine.endpoint_gate import (
    FIRST_PAUSE_SECONDS,
    FIRST_WINDOW,
    LEAST_PACE_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_WINDOW,
    OPENS_AFTER,
    WAITING_FOR_ONE,
    EndpointGate,
)
from qiao.engine.webhooks import add_endpoint, deliveries
from qiao.store.database import Database
from qiao.testing.world import World, make_world
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.guard import LOOPBACK
from tests.engine.seconds import HandClock
from tests.simulation.loop import SimulatedLoop


@pytest.fixture
def time() -> HandClock:
    return HandClock()


@pytest.fixture
def gate(time: HandClock) -> EndpointGate:
    return EndpointGate(now=time, chance=lambda: 0.0)


async def fill(gate: EndpointGate, endpoint_id: str) -> int:
    """Enter until one would have to wait; how many are in."""
    count = 0
    while True:
        entering = asyncio.ensure_future(gate.enter(endpoint_id))
        await asyncio.sleep(0)
        if not entering.done() or entering.result() is not None:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            return count
        count += 1


async def test_a_window_opens_with_success_and_halves_with_failure(gate: EndpointGate) -> None:
    assert await fill(gate, "a") == FIRST_WINDOW
    assert await fill(gate, "b") == FIRST_WINDOW  # whatever "a" does
    for _ in range(FIRST_WINDOW):
        gate.leave("a", went_well=True)
    assert await fill(gate, "a") == 2 * FIRST_WINDOW
    for _ in range(2 * FIRST_WINDOW):
        gate.leave("a", went_well=True)
    assert await fill(gate, "a") == MAX_WINDOW
    for _ in range(2):
        gate.leave("a", went_well=False)
    for _ in range(MAX_WINDOW - 2):
        gate.leave("a", went_well=None)
    assert await fill(gate, "a") == MAX_WINDOW // 4


async def test_who_waits_gets_the_next_turn_and_who_finds_no_room_comes_back(
    gate: EndpointGate,
) -> None:
    await fill(gate, "a")
    waiting = [
        asyncio.ensure_future(gate.enter("a")) for _ in range(FIRST_WINDOW * WAITING_FOR_ONE)
    ]
    await asyncio.sleep(0)
    first = await gate.enter("a")
    second = await gate.enter("a")
    assert first is not None
    assert second is not None
    assert second > first  # so that they do not come back together
    gate.leave("a", went_well=None)
    assert await waiting[0] is None
    waiting[1].cancel()
    await asyncio.gather(waiting[1], return_exceptions=True)
    gate.leave("a", went_well=None)
    assert await waiting[2] is None
    assert not waiting[3].done()
    assert all(isinstance(pause, float) for pause in await asyncio.gather(*waiting[3:]))


async def test_after_failures_in_a_row_one_at_a_time_is_tried(
    gate: EndpointGate, time: HandClock
) -> None:
    for _ in range(OPENS_AFTER):
        assert await gate.enter("a") is None
        gate.leave("a", went_well=False)
    pauses = []
    for _ in range(10):
        pause = await gate.enter("a")
        assert pause is not None
        pauses.append(pause)
        time.seconds += pause
        assert await gate.enter("a") is None  # the one that is tried
        assert await gate.enter("a") is not None
        gate.leave("a", went_well=False)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS * 2**n for n in range(3)]
    assert pauses[-1] == MAX_PAUSE_SECONDS
    time.seconds += MAX_PAUSE_SECONDS
    assert await gate.enter("a") is None
    gate.leave("a", went_well=True)
    assert await fill(gate, "a") == FIRST_WINDOW


async def test_what_was_under_way_does_not_lengthen_the_pause(
    gate: EndpointGate, time: HandClock
) -> None:
    for _ in range(3):
        for _ in range(await fill(gate, "a")):
            gate.leave("a", went_well=True)
    assert await fill(gate, "a") == MAX_WINDOW
    for _ in range(MAX_WINDOW):
        gate.leave("a", went_well=False)
    assert await gate.enter("a") == FIRST_PAUSE_SECONDS
    time.seconds += FIRST_PAUSE_SECONDS
    assert await gate.enter("a") is None


class Shops:
    """``/hang`` takes a request and answers only when told to; ``/n`` answers at once."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.hanging = self.gone = 0
        self.release = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got[request.path] += 1
        return web.Response(status=204)

    async def hang(self, request: web.Request) -> web.Response:
        self.hanging += 1
        try:
            await self.release.wait()
        finally:
            self.gone += 1
        return web.Response(status=204)


@pytest_asyncio.fixture
async def shops() -> AsyncIterator[Shops]:
    shops = Shops()
    application = web.Application()
    application.router.add_post("/hang", shops.hang)
    application.router.add_post("/{n}", shops.take)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shops.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield shops
    await runner.cleanup()


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Over real sockets, as far as the shops go."""
    world = await make_world(database)
    async with AsyncTransport(private_networks=LOOPBACK) as transport:
        world.engine = replace(world.engine, transport=transport)
        yield world


async def test_fifty_get_theirs_while_one_hangs_with_a_long_backlog(
    world: World, shops: Shops
) -> None:
    hung, _ = await add_endpoint(world.engine, world.scope, f"{shops.url}/hang")
    for _ in range(200):
        await world.accept()
    for number in range(50):
        await add_endpoint(world.engine, world.scope, f"{shops.url}/{number}")
    for _ in range(2):
        await world.accept()
    async with working(world.engine):
        async with asyncio.timeout(60):
            while sum(shops.got.values()) < 100:
                await asyncio.sleep(0.02)
        # Not one of the hanging requests had to end before that.
        assert shops.gone == 0
        assert 1 <= shops.hanging <= FIRST_WINDOW
        assert set(shops.got.values()) == {2}
        shops.release.set()
        async with asyncio.timeout(60):  # and once it answers, it gets its own
            while await world.engine.database.fetch_value(
                "SELECT count(*) FROM job WHERE kind = 'deliver_webhook'"
            ):
                await asyncio.sleep(0.05)
    assert shops.hanging == 202
    states = await deliveries(world.engine, world.scope, hung.endpoint_id, limit=300)
    assert {one.state for one in states} == {"delivered"}


async def test_a_merchant_cannot_have_us_knock_inside(world: World, shops: Shops) -> None:
    async with AsyncTransport() as transport:
        engine = replace(world.engine, transport=transport)
        endpoint, _ = await add_endpoint(engine, world.scope, f"{shops.url}/0")
        await world.accept()
        world.engine = engine
        await world.work()
    [state] = await deliveries(engine, world.scope, endpoint.endpoint_id)
    assert (state.state, state.last_error) == ("pending", "its address is not a public one")
    assert not shops.got


@pytest.mark.parametrize("took_seconds", [0.005, 0.05, 0.5])
def test_what_was_turned_away_comes_back_at_the_endpoints_own_pace(took_seconds: float) -> None:
    count, turned_away = 2000, 0
    loop = SimulatedLoop(0)
    gate = EndpointGate(now=loop.time, chance=lambda: 0.5)

    async def deliver() -> None:
        nonlocal turned_away
        while (pause := await gate.enter("fast")) is not None:
            turned_away += 1
            await asyncio.sleep(pause)
        await asyncio.sleep(took_seconds)
        gate.leave("fast", went_well=True)

    async def all_of_them() -> float:
        await asyncio.gather(*(deliver() for _ in range(count)))
        return loop.time()

    try:
        begun = loop.time()
        ended = loop.run_until_complete(all_of_them())
    finally:
        loop.close()
    at_best = count * took_seconds / MAX_WINDOW
    assert ended - begun < max(1.5 * at_best, count * LEAST_PACE_SECONDS * 1.5)
    assert turned_away < 5 * count
