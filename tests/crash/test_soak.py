"""So many payments through one server and one worker that never end: right to the last, and their
memory does not grow.
"""

import asyncio
import os
import time
from pathlib import Path

import uvloop

from tests.crash.live import Live, Process, live

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
    begun = time.monotonic()
    async with live(tmp_path, postgres_url) as platform:
        memory: list[dict[str, int]] = []
        await platform.buy_while(_watch(platform, memory), at_least=PAYMENTS, at_once=AT_ONCE)
        payments, events = await platform.end()
    assert payments >= PAYMENTS  # more, until the last look at the memory is over
    warm, last = memory[int(REPORTS * WARM) - 1], memory[-1]
    growth = {name: last[name] / warm[name] - 1 for name in last}
    seconds = time.monotonic() - begun
    print(f"{payments} payments, {events} events in {seconds:.0f} s, memory {growth}")
    for name, grown in growth.items():
        assert grown < MAX_GROWTH or last[name] - warm[name] < MIN_COMPARED_MEGABYTES * 1024


async def _watch(platform: Live, memory: list[dict[str, int]]) -> None:
    """Note the memory of both, whenever another part of the payments was begun."""
    begun = time.monotonic()
    processes: dict[str, Process] = {"server": platform.server, "worker": platform.worker}
    for part in range(1, REPORTS + 1):
        while platform.bought < PAYMENTS * part // REPORTS:
            await asyncio.sleep(0.02)
        memory.append({name: one.resident_kilobytes() for name, one in processes.items()})
        print(f"{platform.bought} after {time.monotonic() - begun:.0f} s: {memory[-1]} kB")
