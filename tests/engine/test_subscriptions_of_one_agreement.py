"""One subscription at a time is charged by an agreement, and no period of it twice."""

import asyncio
from dataclasses import replace

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.agreement_work import agreement_now
from qiao.engine.charges import charge
from qiao.engine.errors import Conflict
from qiao.engine.records import Subscription
from qiao.engine.subscriptions import (
    cancel,
    create_subscription,
    pause,
)
from qiao.testing.bank import Fault
from qiao.testing.world import World
from tests.engine.subscribing import (
    charges,
    from_noon,
    now,
    order,
    pass_days,
    payments,
    signed,
    states,
    subscribed,
)


@pytest.fixture
def world(world: World) -> World:
    return from_noon(world)


async def begun_again(world: World, subscription: Subscription, **more: object) -> Subscription:
    """Another one on the same agreement."""
    agreement = await agreement_now(
        world.engine, subscription.merchant_id, subscription.agreement_id
    )
    again = replace(order(agreement, **more), number="again")
    return (await create_subscription(world.engine, world.scope, again)).subscription


async def test_while_one_goes_on_the_agreement_has_no_other(world: World) -> None:
    subscription = await subscribed(world)
    for state in ("active", "paused"):
        assert (await now(world, subscription)).state == state
        with pytest.raises(Conflict) as refused:
            await begun_again(world, subscription)
        assert refused.value.code == "agreement_in_use"
        await pause(world.engine, world.scope, subscription.subscription_id)


async def test_a_period_that_is_paid_is_not_charged_by_the_next_subscription(world: World) -> None:
    subscription = await subscribed(world)
    await world.work()
    await cancel(world.engine, world.scope, subscription.subscription_id)
    with pytest.raises(InvalidInput) as refused:
        await begun_again(world, subscription, periods=1)
    assert refused.value.field == "periods"
    other = await begun_again(world, subscription, periods=2)
    assert other.next_period == 2
    assert other.next_charge_at is not None
    assert (other.next_charge_at - world.clock()).days == 29
    await pass_days(world, 29)
    assert charges(world) == 1
    await pass_days(world, 1)
    assert charges(world) == 2
    assert (await now(world, other)).state == "completed"


async def test_a_period_that_may_yet_be_paid_is_not_charged_by_the_next(world: World) -> None:
    subscription = await subscribed(world)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    await world.work()
    await cancel(world.engine, world.scope, subscription.subscription_id)
    other = await begun_again(world, subscription)
    assert other.next_period == 2
    await pass_days(world, 10)
    assert charges(world) == 1
    assert await states(world, subscription) == ["paid"]
    assert await states(world, other) == []


async def test_a_period_that_was_never_paid_is_charged_by_the_next(world: World) -> None:
    subscription = await subscribed(world)
    world.bank.poor = True
    await world.work()
    await cancel(world.engine, world.scope, subscription.subscription_id)
    await world.work()
    world.bank.poor = False
    other = await begun_again(world, subscription)
    await world.work()
    assert await states(world, other) == ["paid"]
    assert charges(world) == 1


async def test_of_many_that_begin_at_once_there_is_one(world: World) -> None:
    agreement = await signed(world)
    asked = [replace(order(agreement), number=f"s-{number % 2}") for number in range(6)]
    made = await asyncio.gather(
        *(create_subscription(world.engine, world.scope, one) for one in asked),
        return_exceptions=True,
    )
    refused = [one for one in made if isinstance(one, Conflict)]
    assert [one.code for one in refused] == ["agreement_in_use"] * 3
    found = [one for one in made if not isinstance(one, BaseException)]
    assert len({one.subscription.subscription_id for one in found}) == 1
    assert [one.created for one in found].count(True) == 1
    await world.work()
    assert charges(world) == 1


async def test_who_comes_late_to_a_refusal_charges_nothing(world: World) -> None:
    subscription = await subscribed(world)
    world.bank.poor = True
    await world.work()
    world.bank.poor = False
    agreement = await agreement_now(
        world.engine, subscription.merchant_id, subscription.agreement_id
    )
    [payment] = await payments(world)
    assert await charge(world.engine, subscription, agreement, payment) is None
    assert world.transport.sent.count("charge") == 1
    await pass_days(world, 1)
    assert (world.transport.sent.count("charge"), charges(world)) == (2, 1)
