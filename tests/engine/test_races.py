"""Many at once on a real database: refunds, one notification told often, closing against paying."""

import asyncio
import random

from qiao.engine.closing import close
from qiao.engine.errors import Conflict
from qiao.engine.ledger import balances, prove
from qiao.engine.notifications import receive
from qiao.engine.records import Payment
from qiao.engine.refunds import refund
from qiao.testing.world import World

RACES = 500
AT_ONCE = 16
HEAD_STARTS = (0.0, 0.0, 0.02, 0.3)


async def test_fifty_refunds_at_once_never_exceed(world: World) -> None:
    payment = await world.paid(1000)
    results = await asyncio.gather(
        *(
            refund(world.engine, world.scope, payment.payment_id, amount_minor=30)
            for _ in range(50)
        ),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, Conflict) for one in refused)
    assert len(results) - len(refused) == 1000 // 30
    await world.work_until_quiet()
    assert (await world.now(payment)).refunded_minor == 990
    [order] = world.bank.orders.values()
    assert order.left == 10
    assert not (await prove(world.engine.database)).mistakes


async def test_fifty_times_the_same_notification_at_once(world: World) -> None:
    payment = await world.accept(1000)
    tried = await world.attempt(payment)
    world.bank.pay(tried.reference)
    notice = world.bank.payment_notice(tried.reference)
    merchant_id, account_id = world.scope.merchant_id, world.account_id
    replies = await asyncio.gather(
        *(receive(world.engine, merchant_id, account_id, notice) for _ in range(50))
    )
    assert {reply.status for reply in replies} == {200}
    assert (await world.events(payment)).count("payment.paid") == 1
    books = {one.account: one.balance_minor for one in await balances(world.engine, world.scope)}
    assert books["merchant_payable"] == 1000


async def test_closing_against_paying(world: World) -> None:
    """Whoever wins: the money is either the merchant's, or on its way back to the customer."""
    chance, turns = random.Random(500), asyncio.Semaphore(AT_ONCE)

    async def race() -> Payment:
        async with turns:
            payment = await world.accept(1000)
            tried = await world.attempt(payment)

            async def pay() -> None:
                await asyncio.sleep(chance.choice(HEAD_STARTS))
                world.bank.pay(tried.reference)
                notice = world.bank.payment_notice(tried.reference)
                reply = await receive(
                    world.engine, world.scope.merchant_id, world.account_id, notice
                )
                assert reply.status == 200

            async def close_it() -> None:
                await asyncio.sleep(chance.choice(HEAD_STARTS))
                await close(world.engine, world.scope, payment.payment_id)

            await asyncio.gather(pay(), close_it())
            return payment

    payments = await asyncio.gather(*(race() for _ in range(RACES)))
    await world.work_until_quiet()
    ended = {"paid": 0, "closed": 0}
    for payment in payments:
        now = await world.now(payment)
        ended[now.state] += 1
        [attempt] = await world.attempts(payment)
        kept = world.bank.orders[attempt.reference].left
        assert kept == (1000 if now.state == "paid" else 0)
    assert min(ended.values()) > 0, f"not a race: {ended}"
    assert not (await prove(world.engine.database)).mistakes
