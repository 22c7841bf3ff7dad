"""The kit over real sockets: faults cut what they say, notifications repeat until accepted."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from qiao.simulators.kit.clock import ScaledClock
from qiao.simulators.kit.control import control_routes
from qiao.simulators.kit.faults import NOT_DONE, Fault, FaultKind, FaultPlan, deliver
from qiao.simulators.kit.notifier import Message, Notifier
from qiao.simulators.kit.scenarios import ENTRIES, Scenario, scenario_of
from qiao.simulators.kit.server import serve


class Bench:
    """One simulated service: counts what it did, and receives its own notifications."""

    def __init__(self) -> None:
        self.faults = FaultPlan()
        self.notifier = Notifier(
            clock=ScaledClock(scale=1000), faults=self.faults, retry_seconds=(1, 1, 1)
        )
        self.done = 0
        self.received: list[bytes] = []
        self.replies = ["no", "no", "success"]
        self.base_url = ""
        application = web.Application()
        application.add_routes(
            [
                web.post("/work", self._work),
                web.post("/notify", self._notify),
                *control_routes(self.faults, self.notifier),
            ]
        )
        self.application = application

    async def _work(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take_for_answer("work")
        if fault is None or fault.kind not in NOT_DONE:
            self.done += 1
        return await deliver(request, web.Response(text="x" * 1000), fault)

    async def _notify(self, request: web.Request) -> web.Response:
        self.received.append(await request.read())
        reply = self.replies.pop(0) if self.replies else "success"
        return web.Response(text=reply)

    def message(self, text: str) -> Message:
        def build(wrong: bool) -> tuple[Mapping[str, str], bytes]:
            return {"X-Test": "1"}, (b"forged " if wrong else b"") + text.encode()

        return Message(
            operation="paid",
            url=f"{self.base_url}/notify",
            build=build,
            accepts=lambda status, body: status == 200 and body == b"success",
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    async with serve(made.application) as made.base_url:
        yield made
        await made.notifier.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def work(bench: Bench, *, timeout_seconds: float = 20.0) -> str:
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{bench.base_url}/work") as answer,
    ):
        return await answer.text()


@pytest.mark.parametrize(
    ("kind", "done", "answered"),
    [
        (FaultKind.DELAY, 1, True),
        (FaultKind.RESET, 0, False),
        (FaultKind.HANG, 0, False),
        (FaultKind.LOSE_ANSWER, 1, False),
        (FaultKind.HALF_ANSWER, 1, False),
        (FaultKind.BAD_SIGNATURE, 1, True),
        (FaultKind.DROP_NOTIFICATION, 1, True),
    ],
)
async def test_a_fault_does_what_it_says(
    bench: Bench, kind: FaultKind, done: int, answered: bool
) -> None:
    bench.faults.add(Fault(kind=kind, operation="work", delay_seconds=0.01))
    if answered:
        assert await work(bench) == "x" * 1000
    else:
        with pytest.raises(aiohttp.ClientError):
            await work(bench)
    assert bench.done == done


async def test_a_fault_is_used_up_and_keeps_to_its_operation(bench: Bench) -> None:
    bench.faults.add(Fault(kind=FaultKind.RESET, operation="other"))
    bench.faults.add(Fault(kind=FaultKind.RESET, times=2))
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await work(bench)
    assert await work(bench) == "x" * 1000
    assert [fault.operation for fault in bench.faults.faults] == ["other"]


async def test_a_notification_repeats_until_it_is_accepted(bench: Bench) -> None:
    bench.notifier.notify(bench.message("paid"))
    await until(lambda: bench.notifier.deliveries and bench.notifier.deliveries[0].accepted)
    assert bench.received == [b"paid"] * 3
    assert bench.notifier.deliveries[0].answers == ["200"] * 3


async def test_the_schedule_ends(bench: Bench) -> None:
    bench.replies = ["no"] * 10
    bench.notifier.notify(bench.message("paid"))
    await until(lambda: len(bench.received) == 4)
    assert not bench.notifier.deliveries[0].accepted


@pytest.mark.parametrize(
    ("kind", "received"),
    [
        (FaultKind.DROP_NOTIFICATION, [b"second"]),
        (FaultKind.DUPLICATE_NOTIFICATION, [b"first", b"first", b"second"]),
        (FaultKind.REORDER_NOTIFICATIONS, [b"first", b"second"]),
        (FaultKind.BAD_NOTIFICATION_SIGNATURE, [b"forged first", b"second"]),
    ],
)
async def test_faults_of_notifications(
    bench: Bench, kind: FaultKind, received: list[bytes]
) -> None:
    bench.replies = []
    bench.faults.add(Fault(kind=kind, operation="paid"))
    bench.notifier.notify(bench.message("first"))
    if kind is not FaultKind.REORDER_NOTIFICATIONS:
        await until(lambda: len(bench.received) == len(received) - 1)
    bench.notifier.notify(bench.message("second"))
    await until(lambda: len(bench.received) == len(received))
    if kind is FaultKind.REORDER_NOTIFICATIONS:
        assert bench.received == [b"second", b"first"]
    else:
        assert bench.received == received


async def test_the_control_api_sets_faults_and_names_what_is_wrong(bench: Bench) -> None:
    async with aiohttp.ClientSession(bench.base_url) as session:
        async with session.post("/_control/faults", json={"kind": "reset"}) as answer:
            assert answer.status == 201
        async with session.post("/_control/faults", json={"kind": "explode"}) as answer:
            assert answer.status == 400
            assert "explode" in (await answer.json())["error"]
        async with session.get("/_control/faults") as answer:
            assert [fault["kind"] for fault in await answer.json()] == ["reset"]
        async with session.delete("/_control/faults") as answer:
            assert answer.status == 204
        async with session.get("/_control/scenarios") as answer:
            assert len(await answer.json()) == len(ENTRIES)
    assert bench.faults.faults == ()


async def test_only_loopback_is_served() -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with serve(web.Application(), host="0.0.0.0"):
            pass


def test_every_scenario_has_one_amount() -> None:
    assert sorted(entry.scenario for entry in ENTRIES) == sorted(Scenario)
    assert len({entry.minor for entry in ENTRIES}) == len(ENTRIES)
    assert all(scenario_of(entry.minor) is entry.scenario for entry in ENTRIES)
    assert scenario_of(100) is None


def test_time_does_not_stand_still() -> None:
    with pytest.raises(ValueError, match="above zero"):
        ScaledClock(scale=0)
