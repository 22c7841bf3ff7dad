"""One channel that hangs: what is for others goes on, and what was not sent is sent later."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from qiao.domain.deadlines import deadline
from qiao.engine import bulkheads
from qiao.engine.bulkheads import SILENT_SECONDS, Bulkheads
from qiao.engine.errors import ChannelBusy
from qiao.engine.ordering import order_and_attempt
from qiao.engine.refunds import refund
from qiao.telemetry import metrics
from qiao.testing.world import World
from tests.engine.seconds import HandClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr(bulkheads, "loop_seconds", made)
    return made


def test_each_channel_and_each_sort_has_its_own(clock: HandClock) -> None:
    held = Bulkheads(waiting=2, working=1)
    with ExitStack() as stack:
        with deadline(10):
            for _ in range(2):
                assert not held.full("slow")
                stack.enter_context(held.inside("slow"))
            clock.seconds += SILENT_SECONDS
            assert held.full("slow")
            assert not held.full("quick")
        assert not held.full("slow")  # a job is another sort
    with deadline(10):
        assert not held.full("slow")


def test_one_that_answers_is_not_bounded(clock: HandClock) -> None:
    held = Bulkheads(working=1)
    with held.inside("slow"):
        assert not held.full("slow")  # who has just been asked is not silent
        clock.seconds += SILENT_SECONDS
        assert held.full("slow")
        held.note_answer("slow")
        assert not held.full("slow")
    clock.seconds += 3600  # in which nobody asks
    with held.inside("slow"):
        assert not held.full("slow")


class Hanging:
    """Answers nobody until it is told to."""

    def __init__(self, world: World) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self._transport = world.engine.transport

    async def run(self, operation: Any) -> Any:
        self.asked += 1
        await self.go.wait()
        return await self._transport.run(operation)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkheads, "SILENT_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_what_comes_too_many_is_turned_away_and_what_is_under_way_goes_on(
    world: World,
) -> None:
    paid = await world.paid()
    hanging = Hanging(world)
    world.engine = replace(world.engine, transport=hanging, bulkheads=Bulkheads(waiting=2))
    payments = [await world.accept() for _ in range(3)]
    count = "SELECT count(*) FROM payment"
    before = await world.engine.database.fetch_value(count)
    with deadline(60):
        waiting = [asyncio.create_task(world.attempt(one)) for one in payments[:2]]
        while hanging.asked < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(ChannelBusy) as refused:
            await world.attempt(payments[2])
        assert refused.value.retry_after_seconds > 0
        with pytest.raises(ChannelBusy):
            await order_and_attempt(world.engine, world.scope, world.order(), world.method())
        # The refund is promised, and not sent yet.
        given = await refund(world.engine, world.scope, paid.payment_id, amount_minor=300)
        assert given.state == "requested"
        assert hanging.asked == 2
    assert await world.engine.database.fetch_value(count) == before
    assert await world.attempts(payments[2]) == []
    hanging.go.set()
    assert {(await one).state for one in waiting} == {"pending"}
    await world.work_until_quiet(hours=1)
    assert [one.state for one in await world.refunds(paid)] == ["succeeded"]


def turned_away() -> float:
    labels = {"channel": "bank", "operation": "query", "outcome": "busy"}
    return metrics.REGISTRY.get_sample_value("qiao_channel_calls_total", labels) or 0.0


@pytest.mark.usefixtures("at_once")
async def test_jobs_of_a_silent_channel_leave_hands_for_others(world: World) -> None:
    payments = [await world.accept() for _ in range(3)]
    for one in payments:
        world.bank.pay((await world.attempt(one)).reference)  # and tells nobody
    hanging = Hanging(world)
    world.engine = replace(world.engine, transport=hanging, bulkheads=Bulkheads(working=1))
    world.clock.pass_by(seconds=40)
    before = turned_away()
    working = asyncio.create_task(world.work())
    async with asyncio.timeout(30):
        while turned_away() < before + 2:
            await asyncio.sleep(0.01)
    assert hanging.asked == 1
    hanging.go.set()
    await working
    await world.work_until_quiet(hours=1)
    assert {(await world.now(one)).state for one in payments} == {"paid"}
