"""Authorizations: held, captured once in whole or in part, voided, lapsed; and what is unknown."""

import asyncio

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.attempts import Method, attempt
from qiao.engine.captures import capture, captures_of, void
from qiao.engine.closing import close
from qiao.engine.errors import Conflict, Missing
from qiao.engine.ledger import balances, prove
from qiao.engine.notifications import receive
from qiao.engine.records import Capture, CaptureMode, Payment
from qiao.engine.refunds import refund
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.testing.bank import Fault, Order
from qiao.testing.world import World

LOST = [Fault.REQUEST_LOST, Fault.ANSWER_LOST]


async def take(
    world: World,
    payment: Payment,
    minor: int | None = None,
    *faults: Fault,
    key: IdempotencyKey | None = None,
) -> Capture:
    world.transport.faults[:] = faults
    return await capture(world.engine, world.scope, payment.payment_id, amount_minor=minor, key=key)


def order(world: World) -> Order:
    [one] = world.bank.orders.values()
    return one


async def test_what_is_held_is_taken_in_part_and_the_rest_let_go(world: World) -> None:
    payment = await world.authorized(1000)
    assert (payment.state, payment.authorized_minor) == ("authorized", 1000)
    assert await balances(world.engine, world.scope) == []
    taken = await take(world, payment, 700)
    assert (taken.state, taken.amount_minor) == ("succeeded", 700)
    now = await world.now(payment)
    assert (now.state, now.captured_minor, now.authorized_minor) == ("paid", 700, 1000)
    assert await world.events(payment) == ["payment.created", "payment.authorized", "payment.paid"]
    assert order(world).capture == (taken.reference, 700)
    assert not (await prove(world.engine.database)).mistakes
    given = await refund(world.engine, world.scope, payment.payment_id)
    assert (given.state, given.amount_minor) == ("succeeded", 700)
    notice = world.bank.refund_notice(given.reference)
    reply = await receive(world.engine, payment.merchant_id, world.account_id, notice)
    assert reply.status == 200
    assert order(world).left == 0
    await world.work_until_quiet(hours=1)
    assert not (await prove(world.engine.database)).mistakes


async def test_all_of_it_when_no_amount_is_given(world: World) -> None:
    payment = await world.authorized(1000)
    assert (await take(world, payment)).amount_minor == 1000


async def test_a_customer_who_pays_a_qr_code_has_it_held(world: World) -> None:
    payment = await world.accept(1000, capture=CaptureMode.MANUAL)
    tried = await world.attempt(payment)
    assert tried.state == "pending"
    world.bank.pay(tried.reference)
    for _ in range(2):
        notice = world.bank.payment_notice(tried.reference)
        reply = await receive(world.engine, payment.merchant_id, world.account_id, notice)
        assert reply.status == 200
    assert (await world.now(payment)).state == "authorized"
    assert (await world.events(payment)).count("payment.authorized") == 1


@pytest.mark.parametrize("fault", [*LOST, Fault.NOT_CONNECTED])
async def test_a_lost_capture_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    payment = await world.authorized(1000)
    lost = await take(world, payment, 300, fault)
    assert lost.state == ("requested" if fault is Fault.NOT_CONNECTED else "unknown")
    with pytest.raises(Conflict) as refused:
        await take(world, payment, 300)
    assert refused.value.code == "capture_in_progress"
    with pytest.raises(Conflict) as refused:
        await void(world.engine, world.scope, payment.payment_id)
    assert refused.value.code == "capture_in_progress"
    await close(world.engine, world.scope, payment.payment_id)
    assert "void" not in world.transport.sent  # not while it may have been taken
    await world.work_until_quiet(seconds=30)
    assert (await world.now(payment)).state == "paid"
    assert order(world).capture == (lost.reference, 300)
    assert (await world.events(payment)).count("payment.paid") == 1
    assert not (await prove(world.engine.database)).mistakes


async def test_the_hold_may_end_while_a_capture_is_unknown(world: World) -> None:
    payment = await world.authorized(1000)
    await take(world, payment, 300, Fault.REQUEST_LOST)
    [tried] = await world.attempts(payment)
    world.bank.let_go(tried.reference)
    notice = world.bank.payment_notice(tried.reference)
    await receive(world.engine, payment.merchant_id, world.account_id, notice)
    assert (await world.now(payment)).state == "authorized"
    await world.work_until_quiet(hours=1)
    assert (await world.now(payment)).state == "closed"
    assert "capture.failed" in await world.events(payment)
    assert not (await prove(world.engine.database)).mistakes


async def test_a_notification_settles_a_capture_once(world: World) -> None:
    payment = await world.authorized(1000)
    await take(world, payment, 300, Fault.ANSWER_LOST)
    [tried] = await world.attempts(payment)
    notice = world.bank.payment_notice(tried.reference)
    for _ in range(2):
        reply = await receive(world.engine, payment.merchant_id, world.account_id, notice)
        assert reply.status == 200
    assert (await world.now(payment)).captured_minor == 300
    assert (await world.events(payment)).count("payment.paid") == 1


async def test_many_captures_at_once_take_it_once(world: World) -> None:
    payment = await world.authorized(1000)
    results = await asyncio.gather(
        *(take(world, payment, 300) for _ in range(8)), return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, Capture)]) == 1
    assert all(isinstance(one, Capture | Conflict) for one in results)
    assert world.transport.sent.count("capture") == 1


async def test_a_void_lets_go(world: World) -> None:
    payment = await world.authorized(1000)
    closed = await void(world.engine, world.scope, payment.payment_id)
    assert (closed.state, order(world).state) == ("closed", "closed")
    assert await void(world.engine, world.scope, payment.payment_id) == closed
    with pytest.raises(Conflict) as refused:
        await take(world, payment)
    assert refused.value.code == "payment_not_authorized"
    assert await world.events(payment) == [
        "payment.created",
        "payment.authorized",
        "payment.closed",
    ]
    assert await balances(world.engine, world.scope) == []


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_void_is_told_again_and_nothing_is_taken_meanwhile(
    world: World, fault: Fault
) -> None:
    payment = await world.authorized(1000)
    world.transport.faults[:] = [fault]
    waiting = await void(world.engine, world.scope, payment.payment_id)
    assert waiting.state == "authorized"
    with pytest.raises(Conflict) as refused:
        await take(world, payment)
    assert refused.value.code == "capture_in_progress"
    await world.work_until_quiet(seconds=30)
    assert (await world.now(payment)).state == "closed"
    assert order(world).state == "closed"


async def test_nothing_is_captured_while_the_authorization_is_unknown(world: World) -> None:
    payment = await world.accept(1000, capture=CaptureMode.MANUAL)
    tried = await world.attempt(payment, Fault.ANSWER_LOST, code="284561")
    assert tried.state == "unknown"
    with pytest.raises(Conflict) as refused:
        await take(world, payment)
    assert refused.value.code == "payment_not_authorized"
    with pytest.raises(Conflict):
        await void(world.engine, world.scope, payment.payment_id)
    world.clock.pass_by(seconds=5)
    await world.work()
    assert (await world.now(payment)).state == "authorized"


async def test_an_authorization_expires(world: World) -> None:
    payment = await world.authorized(1000)
    world.clock.pass_by(days=6)
    await world.work()
    assert (await world.now(payment)).state == "authorized"
    world.clock.pass_by(days=2)
    await world.work_until_quiet(hours=1)
    assert (await world.now(payment)).state == "closed"
    assert order(world).state == "closed"


async def test_what_is_held_after_all_is_let_go(world: World) -> None:
    payment = await world.accept(1000, capture=CaptureMode.MANUAL)
    tried = await world.attempt(payment)
    await close(world.engine, world.scope, payment.payment_id)
    assert (await world.now(payment)).state == "closed"
    world.bank.pay(tried.reference)
    assert order(world).state == "held"
    notice = world.bank.payment_notice(tried.reference)
    await receive(world.engine, payment.merchant_id, world.account_id, notice)
    await world.work_until_quiet(hours=1)
    assert order(world).state == "closed"
    assert await balances(world.engine, world.scope) == []


async def test_a_refused_capture_may_be_tried_again(world: World) -> None:
    payment = await world.authorized(1000)
    order(world).amount = 500  # the bank has let go of a part
    failed = await take(world, payment, 600)
    assert (failed.state, failed.code) == ("failed", "declined")
    taken = await take(world, payment, 500)
    assert taken.state == "succeeded"
    assert [one.state for one in await captures_of(world.engine, payment)] == [
        "failed",
        "succeeded",
    ]
    assert (await world.events(payment))[2:] == ["capture.failed", "payment.paid"]


async def test_a_key_gives_the_same_capture(world: World) -> None:
    payment = await world.authorized(1000)
    key = IdempotencyKey(key="k", body_digest=b"1")
    first = await take(world, payment, 300, key=key)
    assert await take(world, payment, 300, key=key) == first
    assert world.transport.sent.count("capture") == 1
    again = await world.authorized(1000)
    key = IdempotencyKey(key="at once", body_digest=b"1")
    taken = await asyncio.gather(*(take(world, again, key=key) for _ in range(6)))
    assert len({one.capture_id for one in taken}) == 1
    assert world.transport.sent.count("capture") == 2


async def test_what_cannot_be_captured(world: World) -> None:
    payment = await world.authorized(1000)
    with pytest.raises(Conflict) as refused:
        await take(world, payment, 1001)
    assert refused.value.code == "capture_exceeds_authorization"
    with pytest.raises(InvalidInput) as wrong:
        await take(world, payment, 0)
    assert wrong.value.field == "amount"
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    with pytest.raises(Missing):
        await capture(world.engine, live, payment.payment_id)
    paid = await world.paid()
    with pytest.raises(Conflict) as refused:
        await take(world, paid)
    assert refused.value.code == "payment_not_authorized"


async def test_a_product_that_cannot_be_held(world: World) -> None:
    payment = await world.accept(1000, capture=CaptureMode.MANUAL)
    method = Method(channel="bank", product=world.method().product.H5)
    with pytest.raises(InvalidInput) as refused:
        await attempt(world.engine, world.scope, payment.payment_id, method)
    assert refused.value.field == "method.product"
    assert "code, qr" in refused.value.remedy
    assert world.transport.sent == []


async def test_a_refusal_of_what_was_told_before_is_looked_into(world: World) -> None:
    payment = await world.authorized(1000)
    taken = await take(world, payment, 700, Fault.ANSWER_LOST)
    assert taken.state == "unknown"
    world.bank.hidden.add(taken.reference)
    world.bank.refuses = True
    world.clock.pass_by(minutes=11)
    await world.work()
    [known] = await captures_of(world.engine, payment)
    assert known.state == "succeeded"
    assert (await world.now(payment)).captured_minor == 700
