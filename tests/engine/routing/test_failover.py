"""Another account is tried when the first attempt is provably dead, and in no other case."""

import asyncio

import pytest

from qiao.channels.alipay.codes import PAYMENT_DECLINES as ALIPAY
from qiao.channels.wechat.codes import PAYMENT_DECLINES as WECHAT
from qiao.channels.wechat.v2.codes import PAYMENT_DECLINES as WECHAT_V2
from qiao.engine.attempts import attempt
from qiao.engine.notifications import receive
from qiao.engine.ordering import order_and_attempt
from qiao.engine.routing.declines import ACCOUNTS_FAULT, CUSTOMERS_MATTER
from qiao.engine.runtime import IdempotencyKey
from qiao.testing.bank import Fault, Order, ProcessDied
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID, World

KEY = IdempotencyKey(key="one", body_digest=b"body")
BOTH = {"rows": [{"accounts": ["bank", "north"]}]}


def test_every_code_of_a_channel_has_its_place() -> None:
    known = {meaning for table in (ALIPAY, WECHAT, WECHAT_V2) for meaning in table.values()}
    assert known <= set(ACCOUNTS_FAULT) | set(CUSTOMERS_MATTER)
    assert not set(ACCOUNTS_FAULT) & set(CUSTOMERS_MATTER)


@pytest.mark.parametrize("code", [None, "284561"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_was_not_sent_goes_through_another_account(
    world: World, code: str | None, at_once: bool
) -> None:
    await world.rule(**BOTH)
    world.transport.down.add("main")
    if at_once:
        order, method = world.order(), world.method(code)
        done = await order_and_attempt(world.engine, world.scope, order, method)
        payment, last = done.payment, done.attempt
    else:
        payment = await world.accept()
        last = await world.attempt(payment, code=code)
        payment = await world.now(payment)
    first, second = sorted(await world.attempts(payment), key=lambda one: one.replaces or "")
    assert (first.account_id, first.state) == (ACCOUNT_ID, "not_sent")
    assert (second.account_id, second.replaces) == (SECOND_ACCOUNT_ID, first.attempt_id)
    assert second.state == ("succeeded" if code else "pending")
    assert last == second
    assert payment.state == ("paid" if code else "open")
    assert second.routing is not None
    [_, rejected] = second.routing["candidates"]
    assert rejected["rejected"] == "tried in this request already"
    assert len(world.bank.orders) == 1


@pytest.mark.parametrize("code", sorted(ACCOUNTS_FAULT))
async def test_a_decline_by_the_accounts_own_fault_goes_through_another(
    world: World, code: str
) -> None:
    await world.rule(**BOTH)
    world.bank.declining["main"] = code
    last = await world.attempt(await world.accept(), code="284561")
    assert (last.account_id, last.state) == (SECOND_ACCOUNT_ID, "succeeded")


@pytest.mark.parametrize("code", [*sorted(CUSTOMERS_MATTER), "something_new"])
async def test_a_decline_that_is_the_customers_matter_is_told(world: World, code: str) -> None:
    await world.rule(**BOTH)
    world.bank.declining["main"] = code
    payment = await world.accept()
    last = await world.attempt(payment, code="284561")
    assert (last.account_id, last.state, last.code) == (ACCOUNT_ID, "declined", code)
    assert len(await world.attempts(payment)) == 1


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
@pytest.mark.parametrize("code", [None, "284561"])
async def test_never_while_it_is_unknown(world: World, fault: Fault, code: str | None) -> None:
    await world.rule(**BOTH)
    payment = await world.accept()
    last = await world.attempt(payment, fault, code=code)
    assert (last.account_id, last.state) == (ACCOUNT_ID, "unknown")
    assert len(await world.attempts(payment)) == 1
    await world.work_until_quiet()
    paid = (await world.now(payment)).state == "paid"
    assert paid is (code is not None and fault is Fault.ANSWER_LOST)


async def test_never_without_rules(world: World) -> None:
    world.transport.down.add("main")
    last = await world.attempt(await world.accept(), code="284561")
    assert (last.account_id, last.state) == (ACCOUNT_ID, "not_sent")


async def test_only_so_often(world: World) -> None:
    await world.rule(**BOTH, attempts=1)
    world.transport.down.add("main")
    last = await world.attempt(await world.accept(), code="284561")
    assert (last.account_id, last.state) == (ACCOUNT_ID, "not_sent")
    await world.rule(**BOTH, attempts=5)
    world.transport.down.add("north")
    payment = await world.accept()
    last = await world.attempt(payment, code="284561")
    assert (last.account_id, last.state) == (SECOND_ACCOUNT_ID, "not_sent")
    assert len(await world.attempts(payment)) == 2


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_same_request_again_gives_what_it_came_to(world: World, at_once: bool) -> None:
    await world.rule(**BOTH)
    world.transport.down.add("main")
    order, method = world.order(), world.method("284561")
    payment = None if at_once else await world.accept()
    ids = set()
    for _ in range(3):
        if payment is None:
            done = await order_and_attempt(world.engine, world.scope, order, method, key=KEY)
            last = done.attempt
        else:
            last = await attempt(world.engine, world.scope, payment.payment_id, method, key=KEY)
        assert (last.account_id, last.state) == (SECOND_ACCOUNT_ID, "succeeded")
        ids.add(last.attempt_id)
    assert len(ids) == 1
    assert world.transport.sent == ["create"]


async def test_two_requests_at_once_charge_once(world: World) -> None:
    await world.rule(**BOTH)
    world.transport.down.add("main")
    payment = await world.accept()
    method = world.method("284561")

    async def one() -> None:
        await attempt(world.engine, world.scope, payment.payment_id, method)

    await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
    assert (await world.now(payment)).state == "paid"
    assert sum(order.state == "paid" for order in world.bank.orders.values()) == 1


async def test_a_process_that_dies_between_the_two_loses_nothing(world: World) -> None:
    await world.rule(**BOTH)
    payment = await world.accept()
    with pytest.raises(ProcessDied):
        await world.attempt(payment, Fault.NOT_CONNECTED, Fault.DIES_AFTER, code="284561")
    await world.work_until_quiet()
    assert (await world.now(payment)).state == "paid"
    assert [order.state for order in world.bank.orders.values()] == ["paid"]


async def test_money_for_the_first_after_all_is_surplus(world: World) -> None:
    """The bank says no, and takes the customer's money all the same: it goes back."""
    await world.rule(**BOTH)
    world.bank.declining["main"] = "account_misconfigured"
    payment = await world.accept(1000)
    await world.attempt(payment, code="284561")
    [first] = [one for one in await world.attempts(payment) if one.replaces is None]
    notify_url = world.engine.notify_url(world.scope.merchant_id, ACCOUNT_ID)
    late = Order(amount=1000, product="code", notify_url=notify_url, state="paid")
    world.bank.orders[first.reference] = late
    notice = world.bank.payment_notice(first.reference)
    reply = await receive(world.engine, world.scope.merchant_id, ACCOUNT_ID, notice)
    assert reply.status == 200
    await world.work_until_quiet()
    now = await world.now(payment)
    assert (now.state, now.captured_minor, now.refunded_minor) == ("paid", 1000, 0)
    assert late.left == 0
    assert [one.surplus for one in await world.refunds(payment)] == [True]
