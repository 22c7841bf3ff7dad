"""Networks that lose packets one way: what is asked arrives and the answer does not, or what is
asked does not arrive while all the rest goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from qiao.testing.servers import Server, free_port
from tests.crash.live import Hosts, Live, live
from tests.disaster.networks import Cable, Road, why_not

NOTICED_WITHIN_SECONDS = 60
DOUBTFUL = "SELECT count(*) FROM attempt WHERE state IN ('unknown', 'not_sent')"


@pytest_asyncio.fixture
async def cable() -> AsyncIterator[Cable]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with Cable().laid() as cable:
        yield cable


@pytest_asyncio.fixture
async def platform(cable: Cable, folder: Path, tmp_path: Path) -> AsyncIterator[Live]:
    """Server and worker in the namespace; database, channel and shop here, each on its own road."""
    server = Server(folder, "qiao_far", free_port())
    try:
        server.create()
        server.open_to(cable.database.ours, cable.network)
        async with live(
            tmp_path,
            f"postgresql://qiao@{cable.database.ours}:{server.port}/qiao",
            hosts=Hosts(
                server=cable.doors.theirs,
                channel=cable.channel.ours,
                shop=cable.doors.ours,
                networks=cable.network,
                inside=cable.inside,
            ),
        ) as platform:
            yield platform
    finally:
        server.kill()


@pytest.mark.parametrize("to_us", [True, False], ids=["to us", "from us"])
async def test_nothing_is_lost_with_the_packets(
    platform: Live, cable: Cable, *, to_us: bool
) -> None:
    await platform.buy_while(asyncio.sleep(0), at_least=20)
    for road in (cable.database, cable.channel):
        await platform.buy_while(_lose(platform, cable, road, to_us=to_us), at_least=20, at_once=4)
    payments, events = await platform.end(paid_at_least=0.5)
    print(f"{payments} payments, {events} events")


async def _lose(platform: Live, cable: Cable, road: Road, *, to_us: bool) -> None:
    """What is sent on the road, until the platform suffers from it and is well again."""
    doubtful: int = await platform.engine.database.fetch_value(DOUBTFUL)

    async def suffers() -> bool:
        if road is cable.database:
            return not await _is_ready(platform)
        now: int = await platform.engine.database.fetch_value(DOUBTFUL)
        return now > doubtful

    with cable.lost(road, to_us=to_us):
        await _until(suffers)
    await _until(lambda: _is_ready(platform))


async def _is_ready(platform: Live) -> bool:
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(platform.config.base_url, timeout=timeout) as session,
            session.get("/readyz") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(NOTICED_WITHIN_SECONDS):
        while not await condition():
            await asyncio.sleep(0.1)
