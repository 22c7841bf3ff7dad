"""A channel is away for two hours with payments in flight; it comes back, and all is settled.

``QIAO_TEST_OUTAGE_PAYMENTS`` is how many there are: 5,000 in ``make torture``.
"""

import os
from datetime import timedelta

from qiao.engine.ledger import prove
from qiao.engine.refunds import refund
from qiao.testing.bank import Fault
from qiao.testing.world import World

PAYMENTS = int(os.environ.get("QIAO_TEST_OUTAGE_PAYMENTS", "200"))
OUTAGE = timedelta(hours=2)
AFTERWARDS = timedelta(minutes=15)
WAYS = ("answer lost", "request lost", "qr", "refund")


async def test_all_is_settled_soon_after_an_outage(world: World) -> None:
    for number in range(PAYMENTS):
        await _begin(world, WAYS[number % len(WAYS)])
    world.transport.outage = True
    began = world.clock()
    while world.clock() - began < OUTAGE:
        world.clock.pass_by(minutes=5)
        await world.work()
    assert await _unsettled(world) > 0
    world.transport.outage = False
    back = world.clock()
    while await _unsettled(world):
        assert world.clock() - back < AFTERWARDS, f"{await _unsettled(world)} are left"
        world.clock.pass_by(minutes=1)
        await world.work()
    await _judge(world)


async def _begin(world: World, way: str) -> None:
    if way == "refund":
        payment = await world.paid(1000)
        world.transport.outage = True
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
        world.transport.outage = False
        return
    payment = await world.accept(1000)
    if way == "qr":
        tried = await world.attempt(payment)
        world.bank.pay(tried.reference)  # and the bank's notification is lost
    else:
        lost = Fault.ANSWER_LOST if way == "answer lost" else Fault.REQUEST_LOST
        await world.attempt(payment, lost, code="284561")


async def _unsettled(world: World) -> int:
    count: int = await world.engine.database.fetch_value(
        "SELECT (SELECT count(*) FROM attempt WHERE state IN ('sending', 'pending', 'unknown'))"
        " + (SELECT count(*) FROM refund WHERE state NOT IN ('succeeded', 'failed'))"
        " + (SELECT count(*) FROM payment WHERE state NOT IN ('paid', 'closed'))"
    )
    return count


async def _judge(world: World) -> None:
    """Every fen at the bank is in the books, and nobody was charged twice."""
    assert not (await prove(world.engine.database)).mistakes
    rows = await world.engine.database.fetch(
        "SELECT p.captured_minor - p.refunded_minor AS kept, array_agg(a.reference) AS tried"
        " FROM payment p JOIN attempt a USING (merchant_id, payment_id)"
        " GROUP BY p.merchant_id, p.payment_id"
    )
    assert len(rows) == PAYMENTS
    for row in rows:
        orders = [world.bank.orders[one] for one in row["tried"] if one in world.bank.orders]
        assert sum(order.left for order in orders if order.state == "paid") == row["kept"]
