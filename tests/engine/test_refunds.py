"""Refunds: in parts, never more than was paid, and never twice."""

import asyncio

import pytest

from qiao.domain.errors import InvalidId, InvalidInput
from qiao.engine.captures import capture
from qiao.engine.errors import Conflict, Missing
from qiao.engine.notifications import receive
from qiao.engine.records import Payment, Refund
from qiao.engine.refunds import refund, show_refund
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.testing.bank import Fault
from qiao.testing.world import World


async def give_back(
    world: World,
    payment: Payment,
    minor: int | None = None,
    *faults: Fault,
    key: IdempotencyKey | None = None,
) -> Refund:
    world.transport.faults[:] = faults
    return await refund(world.engine, world.scope, payment.payment_id, amount_minor=minor, key=key)


async def test_in_parts_up_to_all(world: World) -> None:
    payment = await world.paid(1000)
    assert (await give_back(world, payment, 300)).state == "succeeded"
    assert (await world.now(payment)).refunded_minor == 300
    with pytest.raises(Conflict) as refused:
        await give_back(world, payment, 701)
    assert refused.value.code == "refund_exceeds_payment"
    assert (await give_back(world, payment)).amount_minor == 700
    assert (await world.now(payment)).refunded_minor == 1000
    with pytest.raises(Conflict):
        await give_back(world, payment)
    [order] = world.bank.orders.values()
    assert order.left == 0
    assert (await world.events(payment)).count("refund.succeeded") == 2


async def test_many_at_once_never_exceed(world: World) -> None:
    payment = await world.paid(1000)
    results = await asyncio.gather(
        *(give_back(world, payment, 300) for _ in range(8)), return_exceptions=True
    )
    given = [one for one in results if not isinstance(one, BaseException)]
    assert [one.state for one in given] == ["succeeded"] * 3
    assert all(isinstance(one, Conflict) for one in results if isinstance(one, BaseException))
    assert (await world.now(payment)).refunded_minor == 900


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.NOT_CONNECTED])
async def test_a_lost_refund_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    payment = await world.paid(1000)
    lost = await give_back(world, payment, 300, fault)
    assert lost.state == ("requested" if fault is Fault.NOT_CONNECTED else "unknown")
    with pytest.raises(Conflict):  # it holds its amount until it is known
        await give_back(world, payment, 701)
    await world.work_until_quiet(seconds=30)
    now = await show_refund(world.engine, world.scope, lost.refund_id)
    assert now.state == "succeeded"
    [order] = world.bank.orders.values()
    assert order.refunds == {lost.reference: 300}
    assert (await world.events(payment)).count("refund.succeeded") == 1


async def test_a_refused_refund_gives_its_amount_free(world: World) -> None:
    payment = await world.paid(1000)
    [order] = world.bank.orders.values()
    order.refunds["somebody else's"] = 900  # in the bank's own back office
    failed = await give_back(world, payment, 300)
    assert (failed.state, failed.code) == ("failed", "refused")
    assert (await give_back(world, payment, 100)).state == "succeeded"
    now = await world.now(payment)
    assert now.refunded_minor == 100
    assert await world.events(payment) == [
        "payment.created",
        "payment.paid",
        "refund.created",
        "refund.failed",
        "refund.created",
        "refund.succeeded",
    ]


async def test_a_notification_settles_it_once(world: World) -> None:
    payment = await world.paid(1000)
    lost = await give_back(world, payment, 300, Fault.ANSWER_LOST)
    notice = world.bank.refund_notice(lost.reference)
    for _ in range(2):
        reply = await receive(world.engine, payment.merchant_id, world.account_id, notice)
        assert reply.status == 200
    assert (await world.now(payment)).refunded_minor == 300
    assert (await world.events(payment)).count("refund.succeeded") == 1


async def test_a_key_gives_the_same_refund(world: World) -> None:
    payment = await world.paid(1000)
    key = IdempotencyKey(key="k", body_digest=b"1")
    first = await give_back(world, payment, 300, key=key)
    assert await give_back(world, payment, 300, key=key) == first
    other = IdempotencyKey(key="k", body_digest=b"2")
    with pytest.raises(Conflict) as refused:
        await give_back(world, payment, 300, key=other)
    assert refused.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("minor", [300, 1000, None])
async def test_a_key_at_the_same_time_gives_the_same_refund(
    world: World, minor: int | None
) -> None:
    payment = await world.paid(1000)
    key = IdempotencyKey(key="k", body_digest=b"1")
    given = await asyncio.gather(*(give_back(world, payment, minor, key=key) for _ in range(6)))
    [only] = await world.refunds(payment)
    assert {one.refund_id for one in given} == {only.refund_id}


async def test_what_cannot_be_refunded(world: World) -> None:
    payment = await world.accept()
    with pytest.raises(Conflict) as refused:
        await give_back(world, payment, 1)
    assert refused.value.code == "payment_not_paid"
    paid = await world.paid()
    with pytest.raises(InvalidInput) as wrong:
        await give_back(world, paid, 0)
    assert wrong.value.field == "amount"
    with pytest.raises(InvalidInput) as wrong:
        await refund(world.engine, world.scope, paid.payment_id, reason="x" * 81)
    assert wrong.value.field == "reason"
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    with pytest.raises(Missing):
        await refund(world.engine, live, paid.payment_id)


async def test_others_see_nothing(world: World) -> None:
    payment = await world.paid()
    given = await give_back(world, payment)
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    with pytest.raises(Missing):
        await show_refund(world.engine, live, given.refund_id)
    with pytest.raises(InvalidId):
        await show_refund(world.engine, world.scope, "ref_nonsense")


async def test_a_refusal_of_what_was_told_before_is_looked_into(world: World) -> None:
    payment = await world.paid(1000)
    given = await give_back(world, payment, 300, Fault.ANSWER_LOST)
    [order] = world.bank.orders.values()
    assert order.refunds
    world.bank.hidden.add(given.reference)
    world.bank.refuses = True
    world.clock.pass_by(minutes=11)
    await world.work()
    [known] = await world.refunds(payment)
    assert known.state == "succeeded"
    assert (await world.now(payment)).refunded_minor == 300


async def test_a_refund_of_what_was_held_is_asked_about_by_its_captures_number(
    world: World,
) -> None:
    payment = await world.authorized(1000)
    await capture(world.engine, world.scope, payment.payment_id)
    given = await give_back(world, payment, 300, Fault.ANSWER_LOST)
    assert given.state == "unknown"
    world.bank.refuses = True  # what is told again; what was done it still knows
    world.clock.pass_by(minutes=11)
    await world.work()
    assert (await show_refund(world.engine, world.scope, given.refund_id)).state == "succeeded"
    assert (await world.now(payment)).refunded_minor == 300
