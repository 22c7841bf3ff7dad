"""Notifications fail closed: what is not proven, or not the account's, changes nothing."""

from dataclasses import replace

import pytest

from qiao.channels.wire import HttpMessage, HttpReply
from qiao.engine.notifications import receive
from qiao.testing.bank import Bank, Order
from qiao.testing.world import World


async def tell(
    world: World, message: HttpMessage, *, merchant: str | None = None, account: str | None = None
) -> HttpReply:
    return await receive(
        world.engine,
        merchant or world.scope.merchant_id,
        account or world.account_id,
        message,
    )


async def test_a_forged_notification_is_refused_in_the_channels_words(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.bank.pay(started.reference)
    true = world.bank.payment_notice(started.reference)
    for forged in (
        replace(true, headers={}),
        replace(true, headers={"signature": "0" * 64}),
        replace(true, body=true.body.replace(b"1000", b"1001")),
        HttpMessage(method="POST", target="/"),
    ):
        reply = await tell(world, forged)
        assert (reply.status, reply.body) == (400, b"no")
    assert (await world.now(payment)).state == "open"
    assert (await tell(world, true)).body == b"yes"


async def test_unknown_accounts_and_references(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    true = world.bank.payment_notice(started.reference)
    assert (await tell(world, true, account="acc_nobody")).status == 404
    assert (await tell(world, true, merchant="mer_nobody")).status == 404
    other = Bank(key=world.bank.key)
    other.orders["never-asked"] = Order(amount=1, product="qr", notify_url="", state="paid")
    assert (await tell(world, other.payment_notice("never-asked"))).status == 400


async def test_another_amount_is_refused(world: World) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.bank.orders[started.reference].amount = 999
    world.bank.pay(started.reference)
    assert (await tell(world, world.bank.payment_notice(started.reference))).status == 400
    assert (await world.now(payment)).state == "open"


async def test_another_account_of_the_merchant_settles_nothing(world: World) -> None:
    await world.engine.accounts.put(
        merchant_id=world.scope.merchant_id,
        account_id="acc_second",
        live=False,
        channel="bank",
        name="second",
        settings={"key": world.bank.key},
        priority=1,
    )
    payment = await world.accept()
    started = await world.attempt(payment)
    world.bank.pay(started.reference)
    message = world.bank.payment_notice(started.reference)
    assert (await tell(world, message, account="acc_second")).status == 400
    assert (await world.now(payment)).state == "open"


@pytest.mark.parametrize("order", ["close first", "success first"])
async def test_out_of_order(world: World, order: str) -> None:
    payment = await world.accept()
    started = await world.attempt(payment)
    world.bank.orders[started.reference].state = "closed"
    closed = world.bank.payment_notice(started.reference)
    world.bank.pay(started.reference)
    success = world.bank.payment_notice(started.reference)
    messages = [closed, success] if order == "close first" else [success, closed]
    assert [(await tell(world, one)).status for one in messages] == [200, 200]
    await world.work_until_quiet()
    now = await world.now(payment)
    if order == "success first":
        assert (now.state, now.captured_minor) == ("paid", 1000)
    else:  # the attempt was dead: its money goes back
        assert (now.state, now.captured_minor) == ("closed", 0)
        assert [one.state for one in await world.refunds(payment)] == ["succeeded"]
