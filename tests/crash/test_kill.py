"""``kill -9`` of server and worker at random moments while 200 payments run: nothing is lost,
nothing happens twice, and every webhook arrives.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

import aiohttp
import pytest

from qiao.bootstrap.engine import open_engine
from qiao.simulators.alipay import Simulator, new_credentials
from tests.crash.live import (
    Customer,
    Process,
    Shop,
    check,
    nothing_is_sending,
    prepare,
    settings,
    work_until_quiet,
)

PAYMENTS = 200
"""At least so many; more, for as long as the killing goes on."""
AT_ONCE = 16
KILLS = int(os.environ.get("QIAO_TEST_KILLS", "8"))


@pytest.mark.parametrize("seed", [20261124])
async def test_nothing_is_lost_and_nothing_doubled(
    seed: int, tmp_path: Path, postgres_url: str
) -> None:
    chance = random.Random(seed)
    config, environment = settings(tmp_path, postgres_url)
    simulator = Simulator(credentials=new_credentials(), time_scale=60)
    async with (
        Shop().open() as shop,
        simulator.running(),
        open_engine(config) as engine,
        aiohttp.ClientSession() as session,
    ):
        key = await prepare(engine, simulator, shop)
        server = Process("serve", "--no-worker", environment=environment)
        worker = Process("worker", environment=environment)
        await server.start()
        await worker.start()
        customer = Customer(session, config.base_url, key, simulator)
        killing = asyncio.create_task(_kill(chance, server, worker))
        numbers = itertools.count()

        async def go_on_buying() -> None:
            for number in numbers:
                if number >= PAYMENTS and killing.done():
                    return
                await customer.buy(number)

        await asyncio.gather(*(go_on_buying() for _ in range(AT_ONCE)))
        await killing
        await nothing_is_sending(engine)
        await server.kill()
        await worker.kill()
        await work_until_quiet(engine)
        payments, events = await check(engine.database, simulator, shop)
        assert payments >= PAYMENTS
        print(f"{KILLS} kills, {payments} payments, {events} events: nothing lost or doubled")


async def _kill(chance: random.Random, server: Process, worker: Process) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.4, 2.5))
        victim = chance.choice([server, worker])
        await victim.kill()
        await victim.start()
