"""Breakers: opened by trouble on the way, not by customers; probed; closed again."""

from datetime import timedelta

import pytest

from qiao.engine.errors import NoRoute
from qiao.engine.routing.state import Known
from qiao.testing.bank import DECLINED_CODE, Fault, ProcessDied
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID, World

BOTH = {"rows": [{"accounts": ["bank", "north"]}], "attempts": 1}
QUICK = {"breaker": {"min_attempts": 4, "open_seconds": 20}}


async def known(world: World) -> Known:
    world.engine.routing.forget(world.scope.merchant_id)
    return await world.engine.routing.of(world.scope.merchant_id, live=False)


async def circuit(world: World, account_id: str = ACCOUNT_ID) -> str:
    health = (await known(world)).health.get(account_id)
    return "closed" if health is None else health.at(world.clock()).value


async def trouble(world: World, fault: Fault = Fault.NOT_CONNECTED, times: int = 4) -> None:
    for _ in range(times):
        await world.attempt(await world.accept(), fault)
    world.clock.pass_by(seconds=1)
    await world.work()


@pytest.mark.parametrize("fault", [Fault.NOT_CONNECTED, Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_trouble_opens_it_and_the_other_takes_over(world: World, fault: Fault) -> None:
    await world.rule(**BOTH, **QUICK)
    await trouble(world, fault, times=3)
    assert await circuit(world) == "closed"
    await trouble(world, fault, times=1)
    assert await circuit(world) == "open"
    assert await circuit(world, SECOND_ACCOUNT_ID) == "closed"
    another = await world.attempt(await world.accept())
    assert another.account_id == SECOND_ACCOUNT_ID
    assert another.routing is not None
    [_, rejected] = another.routing["candidates"]
    assert rejected["rejected"].startswith("out of order: 4 of 4 attempts")


async def test_customers_who_are_declined_do_not(world: World) -> None:
    await world.rule(**BOTH, **QUICK)
    for _ in range(8):
        await world.attempt(await world.accept(), code=DECLINED_CODE)
    world.engine.routing.forget(world.scope.merchant_id)
    await trouble(world, times=1)
    assert await circuit(world) == "closed"


async def test_an_only_account_refuses_quickly_and_is_tried_again(world: World) -> None:
    await world.rule(rows=[{"accounts": ["bank"]}], otherwise="refuse", **QUICK)
    await trouble(world)
    world.transport.sent.clear()
    with pytest.raises(NoRoute) as refused:
        await world.attempt(await world.accept())
    assert refused.value.retry_after_seconds <= 20
    world.clock.pass_by(seconds=21)
    await world.work()
    assert "query" in world.transport.sent  # the probe
    assert await circuit(world) == "half_open"
    for _ in range(3):
        await world.attempt(await world.accept())
    world.clock.pass_by(seconds=6)
    await world.work()
    assert await circuit(world) == "closed"


async def test_one_that_stays_silent_is_left_alone_for_longer(world: World) -> None:
    await world.rule(**BOTH, **QUICK)
    await trouble(world)
    world.transport.down.add("main")
    pauses = []
    for _ in range(6):
        health = (await known(world)).health[ACCOUNT_ID]
        assert health.open_until is not None
        pauses.append(round((health.open_until - health.changed_at) / timedelta(seconds=1)))
        world.clock.pass_by(seconds=pauses[-1] + 1)
        await world.work()
    assert pauses == [20, 40, 80, 160, 300, 300]
    world.transport.down.clear()
    world.clock.pass_by(seconds=301)
    await world.work()
    assert await circuit(world) == "half_open"
    world.clock.pass_by(seconds=61)
    await world.work()
    assert await circuit(world) == "closed"


async def test_trouble_on_probation_opens_it_again(world: World) -> None:
    await world.rule(**BOTH, **QUICK)
    await trouble(world)
    world.clock.pass_by(seconds=21)
    await world.work()
    assert await circuit(world) == "half_open"
    behind = await world.attempt(await world.accept())
    assert behind.account_id == SECOND_ACCOUNT_ID  # on probation it comes last
    await world.rule(rows=[{"accounts": ["bank"]}], attempts=1, **QUICK)
    last = await world.attempt(await world.accept(), Fault.ANSWER_LOST)
    assert last.account_id == ACCOUNT_ID
    world.clock.pass_by(seconds=6)
    await world.work()
    assert await circuit(world) == "open"


async def test_our_own_death_speaks_against_nobody(world: World) -> None:
    await world.rule(**BOTH, **QUICK)
    for _ in range(5):
        payment = await world.accept()
        with pytest.raises(ProcessDied):
            await world.attempt(payment, Fault.DIES_BEFORE)
    world.clock.pass_by(seconds=31)
    await world.work()
    await trouble(world, times=1)
    assert await circuit(world) == "closed"


async def test_statistics_are_measured_where_rules_ask_for_them(world: World) -> None:
    await world.attempt(await world.accept(), code="284561")
    await world.work()
    assert (await known(world)).statistics == {}
    await world.rule(strategy="success", attempts=1)
    world.bank.declining["main"] = "account_misconfigured"
    await world.attempt(await world.accept(), code="284561")
    world.clock.pass_by(seconds=5)
    await world.work()
    measured = (await known(world)).statistics
    assert {key: (one.succeeded, one.failed, one.answers) for key, one in measured.items()} == {
        (ACCOUNT_ID, "code"): (1, 1, 2)
    }
    assert all(0 <= one.latency_ms < 60_000 for one in measured.values())
    last = await world.attempt(await world.accept(), code="284561")
    assert last.account_id == ACCOUNT_ID  # one of two is what the other one is taken for
