"""Subscriptions: charged once a period, tried again on their days, and never twice."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta

import pytest

from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.agreement_work import agreement_now
from qiao.engine.agreements import end_agreement
from qiao.engine.closing import close
from qiao.engine.errors import Conflict
from qiao.engine.ledger import prove
from qiao.engine.notifications import receive
from qiao.engine.payment_limits import LimitKind, put_limit
from qiao.engine.payments import accept
from qiao.engine.records import WhenUnpaid
from qiao.engine.refunds import refund
from qiao.engine.runtime import IdempotencyKey
from qiao.engine.subscription_work import work
from qiao.engine.subscriptions import (
    cancel,
    create_subscription,
    list_subscriptions,
    pause,
    resume,
)
from qiao.testing.bank import Fault
from qiao.testing.world import World
from tests.engine.subscribing import (
    charges,
    events,
    from_noon,
    now,
    order,
    pass_days,
    payments,
    periods,
    signed,
    states,
    subscribed,
    today,
)


@pytest.fixture
def world(world: World) -> World:
    return from_noon(world)


async def test_each_period_is_charged_once(world: World) -> None:
    subscription = await subscribed(world)
    await world.work()
    [first] = await payments(world)
    assert (first.state, first.amount_minor) == ("paid", 2500)
    assert first.order_id == f"{subscription.subscription_id}-1"
    assert first.subscription_id == subscription.subscription_id
    [attempt] = await world.attempts(first)
    assert (attempt.product, attempt.state) == ("agreement", "succeeded")
    await pass_days(world, 29)
    assert charges(world) == 1
    await pass_days(world, 1)
    assert charges(world) == 2
    assert await states(world, subscription) == ["paid", "paid"]
    after = await now(world, subscription)
    assert (after.state, after.next_period) == ("active", 3)
    assert after.next_charge_at is not None
    assert not (await prove(world.engine.database)).mistakes
    given = await refund(world.engine, world.scope, first.payment_id)
    assert given.state == "succeeded"


async def test_nothing_is_charged_before_its_day(world: World) -> None:
    agreement = await signed(world, first=today(world) + timedelta(days=3))
    made = await create_subscription(world.engine, world.scope, order(agreement, lead_days=1))
    await pass_days(world, 1)
    assert charges(world) == 0
    await pass_days(world, 1)
    assert charges(world) == 1
    [period] = await periods(world, made.subscription)
    assert period.due_on == agreement.first_charge_on


async def test_a_refusal_is_tried_again_on_its_days_and_then_it_is_cancelled(
    world: World,
) -> None:
    subscription = await subscribed(world)
    world.bank.poor = True
    await world.work()
    tries = []
    for day in range(9):
        found = await periods(world, subscription)
        tries.append(found[0].tries)
        if day < 7:
            assert (await now(world, subscription)).state == "past_due"
        await pass_days(world, 1)
    assert tries == [1, 2, 2, 3, 3, 4, 4, 5, 5]
    after = await now(world, subscription)
    assert (after.state, after.reason) == ("cancelled", "unpaid")
    assert await states(world, subscription) == ["unpaid"]
    [payment] = await payments(world)
    assert payment.state == "closed"
    assert len(await world.attempts(payment)) == 5
    assert await events(world) == [
        *("created", "charge_failed", "past_due"),
        *["charge_failed"] * 4,
        "cancelled",
    ]
    await pass_days(world, 60)
    assert charges(world) == 0


async def test_left_unpaid_it_goes_on_with_the_next_period(world: World) -> None:
    subscription = await subscribed(world, when_unpaid=WhenUnpaid.LEAVE, retry_days=(2,))
    world.bank.poor = True
    await pass_days(world, 4)
    after = await now(world, subscription)
    assert (after.state, after.next_period) == ("past_due", 2)
    world.bank.poor = False
    await pass_days(world, 26)
    assert await states(world, subscription) == ["unpaid", "paid"]
    assert (await now(world, subscription)).state == "active"
    assert (await events(world))[-1] == "recovered"


async def test_money_on_the_third_day_makes_it_good(world: World) -> None:
    subscription = await subscribed(world)
    world.bank.poor = True
    await world.work()
    await pass_days(world, 1)
    world.bank.poor = False
    await pass_days(world, 2)
    assert await states(world, subscription) == ["paid"]
    assert (await now(world, subscription)).state == "active"
    [payment] = await payments(world)
    outcomes = [one.state for one in await world.attempts(payment)]
    assert outcomes == ["declined", "declined", "succeeded"]
    assert (await events(world))[-1] == "recovered"


async def test_what_does_not_get_better_is_not_tried_again(world: World) -> None:
    subscription = await subscribed(world)
    [mandate] = world.bank.mandates.values()
    mandate.max_minor = 1
    await world.work()
    after = await now(world, subscription)
    assert (after.state, after.reason) == ("cancelled", "unpaid")
    [period] = await periods(world, subscription)
    assert (period.state, period.code) == ("unpaid", "agreement_limit_exceeded")
    await pass_days(world, 10)
    assert world.transport.sent.count("charge") == 1


async def test_an_agreement_that_the_customer_ended_stops_at_once(world: World) -> None:
    subscription = await subscribed(world, when_unpaid=WhenUnpaid.LEAVE)
    [reference] = world.bank.mandates
    world.bank.end_mandate(reference)  # and nobody tells
    await world.work()
    after = await now(world, subscription)
    assert (after.state, after.reason) == ("cancelled", "agreement_ended")
    agreement = await agreement_now(
        world.engine, subscription.merchant_id, subscription.agreement_id
    )
    assert agreement.state == "ended"
    await pass_days(world, 10)
    assert world.transport.sent.count("charge") == 1


async def test_an_agreement_that_is_told_to_have_ended_cancels_before_a_charge(
    world: World,
) -> None:
    subscription = await subscribed(world)
    [reference] = world.bank.mandates
    world.bank.end_mandate(reference)
    notice = world.bank.mandate_notice(reference)
    await receive(world.engine, subscription.merchant_id, world.account_id, notice)
    await world.work()
    assert (await now(world, subscription)).reason == "agreement_ended"
    assert "charge" not in world.transport.sent


async def test_from_the_wish_to_end_the_agreement_nothing_is_charged(world: World) -> None:
    subscription = await subscribed(world)
    await end_agreement(world.engine, world.scope, subscription.agreement_id)
    await world.work()
    assert (await now(world, subscription)).state == "cancelled"
    assert "charge" not in world.transport.sent


@pytest.mark.parametrize(
    "fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.DIES_BEFORE, Fault.DIES_AFTER]
)
async def test_a_charge_that_is_unknown_is_never_doubled(world: World, fault: Fault) -> None:
    subscription = await subscribed(world)
    world.transport.faults[:] = [fault]
    await world.work()
    for _ in range(12):  # told by nobody, it is asked about
        world.clock.pass_by(minutes=5)
        await world.work()
    assert await states(world, subscription) == ["paid"]
    assert charges(world) == 1
    assert len(await payments(world)) == 1
    assert not (await prove(world.engine.database)).mistakes


async def test_while_it_is_unknown_nothing_else_is_charged(world: World) -> None:
    subscription = await subscribed(world)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    await world.work()
    world.transport.outage = True
    await pass_days(world, 3)
    [payment] = await payments(world)
    assert [one.state for one in await world.attempts(payment)] == ["unknown"]
    assert (await now(world, subscription)).state == "active"
    world.transport.outage = False
    await pass_days(world, 1)
    assert await states(world, subscription) == ["paid"]
    assert charges(world) == 1


async def test_what_was_not_sent_is_charged_in_a_moment(world: World) -> None:
    subscription = await subscribed(world)
    world.transport.faults[:] = [Fault.NOT_CONNECTED]
    await world.work()
    [period] = await periods(world, subscription)
    assert (period.state, period.tries) == ("open", 0)  # nobody refused it
    world.clock.pass_by(minutes=6)
    await world.work()
    assert await states(world, subscription) == ["paid"]


async def test_many_who_work_at_once_charge_once(world: World) -> None:
    subscription = await subscribed(world)
    ids = (subscription.merchant_id, subscription.subscription_id)
    await asyncio.gather(*(work(world.engine, *ids) for _ in range(5)))
    await world.work()
    assert await states(world, subscription) == ["paid"]
    assert (charges(world), len(await payments(world))) == (1, 1)


async def test_an_order_of_the_same_number_is_never_charged(world: World) -> None:
    subscription = await subscribed(world)
    taken = replace(world.order(1), order_id=f"{subscription.subscription_id}-1")
    await accept(world.engine, world.scope, taken)
    await world.work()
    [period] = await periods(world, subscription)
    assert (period.state, period.code) == ("unpaid", "order_exists")
    assert charges(world) == 0


async def test_paused_it_is_not_charged_and_resumed_it_is(world: World) -> None:
    subscription = await subscribed(world)
    await world.work()
    for _ in range(2):
        await pause(world.engine, world.scope, subscription.subscription_id)
    await pass_days(world, 70)
    assert charges(world) == 1
    resumed = await resume(world.engine, world.scope, subscription.subscription_id)
    assert resumed.state == "active"
    await world.work()
    # The second period went by whole; the third is within its days.
    assert await states(world, subscription) == ["paid", "missed", "paid"]
    assert charges(world) == 2


async def test_cancelled_it_is_over_and_what_was_open_is_closed(world: World) -> None:
    subscription = await subscribed(world)
    world.bank.poor = True
    await world.work()
    await cancel(world.engine, world.scope, subscription.subscription_id)
    gone = await cancel(world.engine, world.scope, subscription.subscription_id)
    assert (gone.state, gone.reason) == ("cancelled", "cancelled")
    await world.work()
    [payment] = await payments(world)
    assert payment.state == "closed"
    assert await states(world, subscription) == ["unpaid"]
    world.bank.poor = False
    await pass_days(world, 40)
    assert charges(world) == 0
    with pytest.raises(Conflict) as refused:
        await resume(world.engine, world.scope, subscription.subscription_id)
    assert refused.value.code == "subscription_is_over"


async def test_cancelled_while_unknown_its_money_is_booked(world: World) -> None:
    subscription = await subscribed(world)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    await world.work()
    await cancel(world.engine, world.scope, subscription.subscription_id)
    for _ in range(12):
        world.clock.pass_by(minutes=5)
        await world.work()
    [payment] = await payments(world)
    assert payment.state == "paid"
    assert await states(world, subscription) == ["paid"]
    assert not (await prove(world.engine.database)).mistakes


async def test_what_went_by_while_nothing_ran_is_passed_over(world: World) -> None:
    subscription = await subscribed(world)
    await world.work()
    world.clock.pass_by(days=95)
    await world.work()
    assert await states(world, subscription) == ["paid", "missed", "missed", "paid"]
    assert charges(world) == 2
    assert (await events(world)).count("period_missed") == 2


@pytest.mark.parametrize("by", ["periods", "ends_on"])
async def test_it_ends_with_its_last_period(world: World, by: str) -> None:
    more: dict[str, object] = {"periods": 2}
    if by == "ends_on":
        more = {"ends_on": today(world) + timedelta(days=59)}
    subscription = await subscribed(world, **more)
    await pass_days(world, 31)
    after = await now(world, subscription)
    assert (after.state, after.next_charge_at) == ("completed", None)
    assert await states(world, subscription) == ["paid", "paid"]
    await world.work_until_quiet(days=1)
    assert charges(world) == 2


async def test_a_payment_that_the_merchant_closed_is_not_charged(world: World) -> None:
    subscription = await subscribed(world, when_unpaid=WhenUnpaid.LEAVE)
    world.bank.poor = True
    await world.work()
    [payment] = await payments(world)
    await close(world.engine, world.scope, payment.payment_id)
    world.bank.poor = False
    await pass_days(world, 10)
    [period] = await periods(world, subscription)
    assert (period.state, period.code) == ("unpaid", "closed")


async def test_a_limit_counts_as_a_refusal_and_may_get_better(world: World) -> None:
    subscription = await subscribed(world)
    limit = await put_limit(
        world.engine, world.scope, kind=LimitKind.AMOUNT, currency="CNY", maximum=100
    )
    await world.work()
    [period] = await periods(world, subscription)
    assert (period.code, period.tries, period.payment_id) == ("limit_exceeded", 1, None)
    await world.engine.database.execute(
        "DELETE FROM payment_limit WHERE limit_id = $1", limit.limit_id
    )
    await pass_days(world, 1)
    assert await states(world, subscription) == ["paid"]


async def test_a_disabled_account_charges_nothing_until_it_is_enabled(world: World) -> None:
    subscription = await subscribed(world)
    accounts, merchant_id = world.engine.accounts, subscription.merchant_id
    await accounts.enable(merchant_id, world.account_id, enabled=False)
    await world.work()
    [period] = await periods(world, subscription)
    assert (period.code, charges(world)) == ("account_unavailable", 0)
    await accounts.enable(merchant_id, world.account_id, enabled=True)
    await pass_days(world, 1)
    assert await states(world, subscription) == ["paid"]


async def test_the_same_number_is_the_same_subscription(world: World) -> None:
    agreement = await signed(world)
    key = IdempotencyKey(key="k", body_digest=b"1")
    first = await create_subscription(world.engine, world.scope, order(agreement), key=key)
    for again in (None, key):
        found = await create_subscription(world.engine, world.scope, order(agreement), key=again)
        assert found.created is False
        assert found.subscription.subscription_id == first.subscription.subscription_id
    for change in ({"amount": Money(2501, "CNY")}, {"retry_days": (1,)}, {"periods": 3}):
        with pytest.raises(Conflict) as refused:
            await create_subscription(world.engine, world.scope, order(agreement, **change))
        assert refused.value.code == "subscription_exists_with_different_content"
    assert len(await list_subscriptions(world.engine, world.scope)) == 1


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": Money(3001, "CNY")}),
        ("currency", {"amount": Money(1, "USD")}),
        ("ends_on", {"ends_on": date(2020, 1, 1)}),
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("time_zone", {"time_zone": "Asia"}),
        ("periods", {"periods": 0}),
        ("retry_days", {"retry_days": (3, 3)}),
        ("lead_days", {"lead_days": 30}),
        ("number", {"number": ""}),
        ("description", {"description": "a\nb"}),
    ],
)
async def test_what_is_refused_by_name(field: str, change: dict[str, object], world: World) -> None:
    agreement = await signed(world)

    async def ask() -> None:
        await create_subscription(world.engine, world.scope, order(agreement, **change))

    with pytest.raises(InvalidInput) as refused:
        await ask()
    assert refused.value.field == field


async def test_only_a_signed_agreement_is_charged(world: World) -> None:
    agreement = await signed(world)
    await end_agreement(world.engine, world.scope, agreement.agreement_id)
    with pytest.raises(Conflict) as refused:
        await create_subscription(world.engine, world.scope, order(agreement))
    assert refused.value.code == "agreement_not_active"
