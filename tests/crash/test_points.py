"""``kill -9`` at each named point: before and after each statement that server and worker run for
payments, refunds, closings and webhooks, and each request to the channel.

The points are what a first minute of business uses, so that a new statement is a new point.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from qiao.simulators.kit.faults import Fault, FaultKind
from tests.crash.live import Process, live
from tests.crash.relay import Ambush, Point, Relay

EVERY = int(os.environ.get("QIAO_TEST_POINTS_EVERY", "13"))
"""Of the points; 1 tries them all and takes some minutes."""
FIRST = 60
"""Payments from which it is learnt which points there are."""
SEEN_AT_LEAST = 3
"""What came less often may not come again."""
REACHED_WITHIN_SECONDS = 60.0


class Trap(Ambush):
    """Before the channel's plan of faults."""

    def __init__(self, take: Callable[[str], Fault | None]) -> None:
        super().__init__()
        self._take = take

    def take_for_answer(self, operation: str) -> Fault | None:
        """Who asked is dead before it is begun, or when it is done."""
        self.seen[operation] += 1
        if self.strikes(operation, after=False):
            return Fault(kind=FaultKind.RESET, operation=operation)
        if self.strikes(operation, after=True):
            return Fault(kind=FaultKind.LOSE_ANSWER, operation=operation)
        return self._take(operation)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a point is, and who dies there."""

    name: str
    where: Ambush
    dies: tuple[Process, ...]

    def points(self) -> list[tuple["Place", Point]]:
        names = sorted(name for name, times in self.where.seen.items() if times >= SEEN_AT_LEAST)
        return [
            (self, Point(statement=name, after=after)) for name in names for after in (False, True)
        ]

    async def strike(self, point: Point) -> None:
        """Those who die here live until they have come so far."""
        for process in self.dies:
            await process.kill()
        # Armed before they start: what a process does first may be the point.
        self.where.arm(point, self._kill)
        await self.revive()
        async with asyncio.timeout(REACHED_WITHIN_SECONDS):
            await self.where.struck.wait()
        for process in self.dies:
            await process.kill()

    async def revive(self) -> None:
        for process in self.dies:
            await process.start()

    def _kill(self) -> None:
        for process in self.dies:
            process.send(signal.SIGKILL)


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path: a socket's may have 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="qiao-relay-"))
    yield made
    shutil.rmtree(made)


async def test_killed_at_each_named_point(
    tmp_path: Path, folder: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        relays = [
            await stack.enter_async_context(Relay(postgres_url, folder / name).open())
            for name in ("server", "worker")
        ]
        platform = await stack.enter_async_context(
            live(
                tmp_path,
                postgres_url,
                of_server={"QIAO_DATABASE_URL": relays[0].url},
                of_worker={"QIAO_DATABASE_URL": relays[1].url},
            )
        )
        faults = platform.simulator.faults
        trap = Trap(faults.take_for_answer)
        monkeypatch.setattr(faults, "take_for_answer", trap.take_for_answer)
        server, worker = platform.server, platform.worker
        places = [
            Place(name="server", where=relays[0], dies=(server,)),
            Place(name="worker", where=relays[1], dies=(worker,)),
            Place(name="channel", where=trap, dies=(server, worker)),
        ]
        await platform.buy_while(asyncio.sleep(0), at_least=FIRST, at_once=8)
        points = [one for place in places for one in place.points()]
        assert len(points) > 2 * EVERY
        struck = _strike(points[::EVERY])
        await platform.buy_while(struck, at_least=0, at_once=2)
        payments, events = await platform.end()
    print(f"{len(points[::EVERY])} of {len(points)} points, {payments} payments, {events} events")


async def _strike(points: list[tuple[Place, Point]]) -> None:
    for (place, point), following in zip(points, [*points[1:], None], strict=True):
        try:
            await place.strike(point)
        except TimeoutError:
            raise AssertionError(f"the {place.name} never came to {point}") from None
        print(f"{place.name}: killed {point}")
        if following is None or following[0] is not place:
            await place.revive()
