"""So many payments through one server and one worker that never end: right to the last, and their
memory does not grow.
"""

import asyncio
import itertools
import os
import time
from pathlib import Path

import aiohttp
import uvloop

from qiao.bootstrap.engine import open_engine
from qiao.simulators.alipay import Simulator, new_credentials
from qiao.store.database import open_database
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

PAYMENTS = int(os.environ.get("QIAO_TEST_SOAK", "600"))
AT_ONCE = 32
WARM = 0.25
"""Memory is compared from here on: caches are full, every door has been used."""
MAX_GROWTH = 0.1
MIN_COMPARED_MEGABYTES = 15
"""Below this a difference is what an allocator may keep, however many payments there are."""
REPORTS = 20


def test_many_payments_by_processes_that_never_end(tmp_path: Path, postgres_url: str) -> None:
    # What customers and channel take of the machine, the platform does not get.
    uvloop.run(_pay(tmp_path, postgres_url))


async def _pay(tmp_path: Path, postgres_url: str) -> None:
    config, environment = settings(tmp_path, postgres_url)
    simulator = Simulator(credentials=new_credentials(), time_scale=60)
    async with (
        Shop().open() as shop,
        simulator.running(),
        open_engine(config) as engine,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session,
    ):
        key = await prepare(engine, simulator, shop)
        processes = {
            "server": Process("serve", "--no-worker", environment=environment),
            "worker": Process("worker", environment=environment),
        }
        for process in processes.values():
            await process.start()
        customer = Customer(session, config.base_url, key, simulator)
        numbers = itertools.count()
        begun, seen = time.monotonic(), {}

        async def go_on_buying() -> None:
            for number in numbers:
                if number >= PAYMENTS:
                    return
                await customer.buy(number)
                if number and number % max(1, PAYMENTS // REPORTS) == 0:
                    seen[number] = {n: one.resident_kilobytes() for n, one in processes.items()}
                    print(f"{number} after {time.monotonic() - begun:.0f} s: {seen[number]} kB")

        await asyncio.gather(*(go_on_buying() for _ in range(AT_ONCE)))
        await nothing_is_sending(engine)
        last = {name: one.resident_kilobytes() for name, one in processes.items()}
        for process in processes.values():
            await process.kill()
        await work_until_quiet(engine)
    async with open_database(postgres_url, min_size=1, max_size=2, patient=True) as database:
        payments, events = await check(database, simulator, shop)
    assert payments == PAYMENTS
    warm = seen[min(number for number in seen if number >= PAYMENTS * WARM)]
    growth = {name: last[name] / warm[name] - 1 for name in last}
    seconds = time.monotonic() - begun
    print(f"{payments} payments, {events} events in {seconds:.0f} s, memory {growth}")
    for name, grown in growth.items():
        assert grown < MAX_GROWTH or last[name] - warm[name] < MIN_COMPARED_MEGABYTES * 1024
