"""From an order to a paid payment, over a bank that may lose what it is told and what it tells."""

from typing import Any

import pytest

from qiao.channels.requests import Product
from qiao.channels.wire import HttpMessage
from qiao.domain.errors import InvalidId, InvalidInput
from qiao.domain.money import Money
from qiao.engine.attempts import Method, attempt
from qiao.engine.closing import close
from qiao.engine.errors import Conflict, Missing
from qiao.engine.notifications import receive
from qiao.engine.payments import Order, accept, list_payments, show
from qiao.engine.records import CaptureMode
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.testing.bank import DECLINED_CODE, Fault
from qiao.testing.world import World


async def tell(world: World, message: HttpMessage) -> int:
    reply = await receive(world.engine, world.scope.merchant_id, world.account_id, message)
    return reply.status


async def test_paid_by_notification(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    assert started.state == "pending"
    assert started.action == {
        "type": "qr_code",
        "content": f"https://bank.invalid/{started.reference}",
    }
    world.bank.pay(started.reference)
    message = world.bank.payment_notice(started.reference)
    assert [await tell(world, message) for _ in range(3)] == [200, 200, 200]
    now = await world.now(payment)
    assert (now.state, now.captured_minor) == ("paid", 1000)
    assert now.paid_at is not None
    assert await world.events(payment) == ["payment.created", "payment.paid"]
    noted = await world.engine.database.fetch_value("SELECT count(*) FROM notification")
    assert noted == 1
    await world.work_until_quiet()
    assert await world.refunds(payment) == []


async def test_paid_by_asking(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.bank.pay(started.reference)
    world.clock.pass_by(seconds=31)
    await world.work()
    assert (await world.now(payment)).state == "paid"


async def test_code_pay_is_paid_at_once_or_declined(world: World) -> None:
    payment = await world.accept()
    declined = await world.attempt(payment, code=DECLINED_CODE)
    assert (declined.state, declined.code) == ("declined", "declined")
    assert (await world.now(payment)).state == "open"
    assert (await world.attempt(payment, code="284561")).state == "succeeded"
    assert (await world.now(payment)).state == "paid"


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_lost_code_payment_is_resolved_and_never_sent_again(
    world: World, fault: Fault
) -> None:
    payment = await world.accept()
    lost = await world.attempt(payment, fault, code="284561")
    assert lost.state == "unknown"
    with pytest.raises(Conflict) as refused:
        await world.attempt(payment, code="284561")
    found = fault is Fault.ANSWER_LOST  # by closing it before another may start
    assert refused.value.code == ("payment_not_open" if found else "attempt_in_progress")
    await world.work_until_quiet()
    assert (await world.now(payment)).state == ("paid" if found else "closed")
    assert world.transport.sent.count("create") == (1 if found else 0)


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST])
async def test_lost_qr_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    payment = await world.accept()
    lost = await world.attempt(payment, fault)
    again = await world.attempt(payment)
    assert (again.attempt_id, again.state) == (lost.attempt_id, "pending")
    assert again.action is not None
    assert again.action["type"] == "qr_code"


async def test_lost_qr_that_was_found_waiting_is_still_shown_to_the_customer(world: World) -> None:
    payment = await world.accept()
    await world.attempt(payment, Fault.ANSWER_LOST)
    world.clock.pass_by(seconds=5)
    await world.work()
    [found] = await world.attempts(payment)
    assert found.state == "pending"
    again = await world.attempt(payment)
    assert again.attempt_id == found.attempt_id
    assert again.action is not None
    assert again.action["type"] == "qr_code"


async def test_not_sent_lets_another_attempt_start(world: World) -> None:
    payment = await world.accept()
    assert (await world.attempt(payment, Fault.NOT_CONNECTED)).state == "not_sent"
    assert (await world.attempt(payment, code="284561")).state == "succeeded"


async def test_another_method_closes_the_first(world: World) -> None:
    payment = await world.accept()
    first = await world.attempt(payment)
    second = await world.attempt(payment, code="284561")
    assert second.state == "succeeded"
    assert [one.state for one in await world.attempts(payment)] == ["closed", "succeeded"]
    assert world.bank.orders[first.reference].state == "closed"


async def test_money_that_beats_the_close_pays(world: World) -> None:
    payment = await world.accept()
    first = await world.attempt(payment)
    world.bank.pay(first.reference)
    with pytest.raises(Conflict):
        await world.attempt(payment, code="284561")
    assert (await world.now(payment)).state == "paid"


async def test_an_expired_payment_is_closed_and_late_money_goes_back(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.clock.pass_by(minutes=31)
    await world.work()
    assert (await world.now(payment)).state == "closed"
    assert world.bank.orders[started.reference].state == "closed"
    world.bank.pay(started.reference)
    message = world.bank.payment_notice(started.reference)
    assert [await tell(world, message) for _ in range(2)] == [200, 200]
    await world.work()
    now = await world.now(payment)
    assert (now.state, now.captured_minor, now.refunded_minor) == ("closed", 0, 0)
    [back] = await world.refunds(payment)
    assert (back.state, back.surplus, back.amount_minor) == ("succeeded", True, 1000)
    assert world.bank.orders[started.reference].left == 0
    assert await world.events(payment) == [
        "payment.created",
        "payment.closed",
        "payment.surplus",
        "refund.succeeded",
    ]


async def test_money_on_a_given_up_attempt_goes_back_though_nobody_tells(world: World) -> None:
    payment = await world.accept()
    lost = await world.attempt(payment, Fault.REQUEST_LOST)
    assert (await close(world.engine, world.scope, payment.payment_id)).state == "closed"
    # The request arrives after all, late, and its QR is paid.
    world.bank._create(lost.reference, 1000, "qr", None, "")
    world.bank.pay(lost.reference)
    await world.work_until_quiet()
    [back] = await world.refunds(payment)
    assert (back.state, back.surplus) == ("succeeded", True)
    assert (await world.now(payment)).state == "closed"


async def test_closing(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.transport.faults[:] = [Fault.REQUEST_LOST]
    closing = await close(world.engine, world.scope, payment.payment_id)
    assert closing.state == "open"
    assert closing.close_requested_at is not None
    with pytest.raises(Conflict, match="being closed"):
        await world.attempt(payment)
    await world.work_until_quiet(seconds=5)
    assert (await world.now(payment)).state == "closed"
    assert world.bank.orders[started.reference].state == "closed"
    again = await close(world.engine, world.scope, payment.payment_id)
    assert again.state == "closed"


class TestAccepting:
    async def test_the_same_order_again_is_the_same_payment(self, world: World) -> None:
        order = Order(order_id="a", amount=Money(5, "CNY"), description="tea")
        first = await accept(world.engine, world.scope, order)
        second = await accept(world.engine, world.scope, order)
        assert (first.created, second.created) == (True, False)
        assert first.payment.payment_id == second.payment.payment_id

    @pytest.mark.parametrize(
        ("name", "other"),
        [
            ("amount", Money(6, "CNY")),
            ("capture", CaptureMode.MANUAL),
            ("profit_sharing", True),
        ],
    )
    async def test_other_terms_are_a_conflict(self, world: World, name: str, other: Any) -> None:
        terms: dict[str, Any] = {"order_id": "a", "amount": Money(5, "CNY"), "description": "tea"}
        await accept(world.engine, world.scope, Order(**terms))
        with pytest.raises(Conflict) as refused:
            await accept(world.engine, world.scope, Order(**{**terms, name: other}))
        assert (refused.value.field, refused.value.code) == (
            name,
            f"order_exists_with_different_{name}",
        )

    async def test_a_key_is_for_one_body(self, world: World) -> None:
        key = IdempotencyKey(key="k", body_digest=b"1")
        order = Order(order_id="a", amount=Money(5, "CNY"), description="tea")
        first = await accept(world.engine, world.scope, order, key=key)
        again = await accept(world.engine, world.scope, order, key=key)
        assert again.payment.payment_id == first.payment.payment_id
        other = IdempotencyKey(key="k", body_digest=b"2")
        with pytest.raises(Conflict) as refused:
            await accept(world.engine, world.scope, order, key=other)
        assert refused.value.code == "idempotency_key_reused"

    async def test_others_see_nothing(self, world: World) -> None:
        payment = await world.accept()
        live = Scope(merchant_id=world.scope.merchant_id, live=True)
        for scope in (live, Scope(merchant_id="mer_other", live=False)):
            with pytest.raises(Missing):
                await show(world.engine, scope, payment.payment_id)
            assert await list_payments(world.engine, scope) == []
        with pytest.raises(InvalidId):
            await show(world.engine, world.scope, "pay_nonsense")

    async def test_pages(self, world: World) -> None:
        ids = [(await world.accept()).payment_id for _ in range(5)]
        first = await list_payments(world.engine, world.scope, limit=3)
        rest = await list_payments(world.engine, world.scope, limit=3, before=first[-1].payment_id)
        assert [one.payment_id for one in first + rest] == sorted(ids, reverse=True)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"order_id": ""}, "order_id"),
            ({"order_id": "a b"}, "order_id"),
            ({"order_id": "x" * 65}, "order_id"),
            ({"amount": Money(0, "CNY")}, "amount"),
            ({"description": ""}, "description"),
            ({"description": "a\nb"}, "description"),
            ({"description": "x" * 128}, "description"),
            ({"expires_in_seconds": 59}, "expires_in"),
            ({"expires_in_seconds": 8 * 86400}, "expires_in"),
            ({"return_url": "javascript:alert(1)"}, "return_url"),
            ({"return_url": "https://"}, "return_url"),
            ({"return_url": "https://[x"}, "return_url"),
            ({"metadata": {"a": "x" * 501}}, "metadata"),
            ({"metadata": {"a": "\0"}}, "metadata"),
            ({"metadata": {str(n): "" for n in range(21)}}, "metadata"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_bad_orders(self, change: dict[str, Any], field: str) -> None:
        good: dict[str, Any] = {"order_id": "a", "amount": Money(5, "CNY"), "description": "tea"}
        with pytest.raises(InvalidInput) as refused:
            Order(**{**good, **change})
        assert refused.value.field == field


class TestMethods:
    @pytest.mark.parametrize(
        ("channel", "product", "field"),
        [
            ("pigeon", Product.QR, "method.channel"),
            ("bank", Product.APP, "method.product"),
            ("bank", Product.CODE, "auth_code"),
        ],
    )
    async def test_what_cannot_be(
        self, world: World, channel: str, product: Product, field: str
    ) -> None:
        payment = await world.accept()
        method = Method(channel=channel, product=product)
        with pytest.raises(InvalidInput) as refused:
            await attempt(world.engine, world.scope, payment.payment_id, method)
        assert refused.value.field == field
        assert await world.attempts(payment) == []

    async def test_an_order_may_limit_channels(self, world: World) -> None:
        payment = await world.accept(methods=("alipay",))
        with pytest.raises(InvalidInput, match="does not admit 'bank'"):
            await world.attempt(payment)

    async def test_a_paid_payment_takes_no_attempt(self, world: World) -> None:
        payment = await world.paid()
        with pytest.raises(Conflict) as refused:
            await world.attempt(payment)
        assert refused.value.code == "payment_not_open"

    async def test_a_key_gives_the_same_attempt(self, world: World) -> None:
        payment = await world.accept()
        key = IdempotencyKey(key="k", body_digest=b"1")
        method = Method(channel="bank", product=Product.CODE, auth_code="284561")
        arguments = (world.engine, world.scope, payment.payment_id, method)
        first = await attempt(*arguments, key=key)
        again = await attempt(*arguments, key=key)
        assert first == again
