"""Processes that are frozen, channels that hang or break off, clocks that are a day wrong: nothing
is lost, nothing happens twice, and every webhook arrives.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from qiao.simulators.kit.faults import Fault, FaultKind
from tests.crash.live import Live, Process, live

FROZEN_SECONDS = float(os.environ.get("QIAO_TEST_FROZEN_SECONDS", "3"))
"""More than a minute is longer than the lease of a job: somebody else takes it up meanwhile."""
FAULTS = 60
HANG_SECONDS = 1.5
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


async def test_a_channel_that_hangs_breaks_off_and_lies(tmp_path: Path, postgres_url: str) -> None:
    async with live(tmp_path, postgres_url) as platform:
        counts: Counter[FaultKind] = Counter()
        await platform.buy_while(_disturb(platform, random.Random(7), counts), at_least=60)
        platform.simulator.faults.clear()
        # What was never taken is closed; what hung is asked about until it is known.
        payments, events = await platform.end(paid_at_least=0.4)
    print(f"{counts.total()} faults, {payments} payments, {events} events")


async def _disturb(platform: Live, chance: random.Random, counts: Counter[FaultKind]) -> None:
    plan = platform.simulator.faults
    kinds = [*FaultKind] * (FAULTS // len(FaultKind))
    chance.shuffle(kinds)
    for kind in kinds:
        counts[kind] += 1
        plan.add(Fault(kind=kind, delay_seconds=HANG_SECONDS))
        async with asyncio.timeout(60):
            while len(plan.faults) > 3:  # of each sort some may wait for their turn
                await asyncio.sleep(0.01)


async def test_frozen_processes_that_go_on(tmp_path: Path, postgres_url: str) -> None:
    async with live(tmp_path, postgres_url) as platform:
        second = Process("worker", environment=platform.environment)
        await second.start()
        try:
            for frozen in (platform.worker, platform.server, second):
                await platform.buy_while(_freeze(frozen), at_least=40)
            payments, events = await platform.end()
        finally:
            await second.kill()
    print(f"frozen for {FROZEN_SECONDS} s each: {payments} payments, {events} events")


async def _freeze(process: Process) -> None:
    process.send(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_SECONDS)
    process.send(signal.SIGCONT)


async def test_clocks_that_jump_by_a_day(tmp_path: Path, postgres_url: str) -> None:
    if not LIBRARIES and "CI" not in os.environ:
        pytest.skip("there is no libfaketime: install Debian's package libfaketime")
    server, worker = Clock(tmp_path / "server"), Clock(tmp_path / "worker")
    async with live(
        tmp_path, postgres_url, of_server=server.environment, of_worker=worker.environment
    ) as platform:
        await platform.buy_while(_jump(server, worker), at_least=60, at_once=4)
        states = await platform.engine.database.fetch(
            "SELECT state, count(*) FROM payment GROUP BY state"
        )
        # None has expired before its time, and none was refused for the time it was signed at.
        counts = {row["state"]: row["count"] for row in states}
        assert counts.keys() == {"paid", "closed"}
        assert counts["closed"] == sum(number % 10 == 4 for number in range(platform.bought))
        await platform.end()


async def _jump(server: "Clock", worker: "Clock") -> None:
    for by_days in ((1, -1), (-1, 1), (0, 0)):
        await server.set(by_days[0])
        await worker.set(by_days[1])


class Clock:
    """The date that a process sees; its seconds pass as they do."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        file.write_text("+0d")

    async def set(self, days: int) -> None:
        """Wrong by so many days, for long enough that processes look at it and work by it."""
        self._file.write_text(f"{days:+d}d")
        clock = [sys.executable, "-c", "import time; print(time.time())"]
        asking = await asyncio.create_subprocess_exec(
            *clock, env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await asking.communicate()
        wrong = float(told) - time.time()
        assert wrong == pytest.approx(86_400 * days, abs=60)
        await asyncio.sleep(2)
