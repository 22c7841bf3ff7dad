"""What a channel does not tell of for weeks keeps what it holds, and a person must look."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import pytest

from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.captures import capture
from qiao.engine.ledger import prove
from qiao.engine.refunds import refund
from qiao.engine.share_receivers import ReceiverOrder, bind
from qiao.engine.share_returns import return_share
from qiao.engine.shares import ShareLine, share
from qiao.engine.transfers import TransferOrder, request_transfer
from qiao.testing.bank import Fault
from qiao.testing.world import World


async def _lost_refund(world: World) -> str:
    payment = await world.paid()
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    return (await refund(world.engine, world.scope, payment.payment_id)).refund_id


async def _lost_capture(world: World) -> str:
    payment = await world.authorized()
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    return (await capture(world.engine, world.scope, payment.payment_id)).capture_id


async def _lost_share(world: World, *faults: Fault) -> str:
    payment = await world.paid(profit_sharing=True)
    anna = ReceiverOrder(number="anna", channel="bank", receiver_type="person", receiver="anna")
    receiver = (await bind(world.engine, world.scope, anna)).receiver
    line = ShareLine(receiver_id=receiver.receiver_id, amount_minor=300, description="commission")
    world.transport.faults[:] = faults or [Fault.ANSWER_LOST]
    return (await share(world.engine, world.scope, payment.payment_id, [line])).share_id


async def _lost_return(world: World) -> str:
    share_id = await _lost_share(world, Fault.NOT_CONNECTED)
    await world.work_until_quiet(minutes=1)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    return (await return_share(world.engine, world.scope, share_id, 1)).return_id


async def _lost_transfer(world: World) -> str:
    wages = TransferOrder(
        number="t-1",
        channel="bank",
        amount=Money(300, "CNY"),
        payee="anna",
        payee_name="Anna",
        description="wages",
    )
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    scope = replace(world.scope, actor=Actor(kind="operator", id="key_maker"))
    return (await request_transfer(world.engine, scope, wages)).transfer.transfer_id


LOST: Final[dict[str, Callable[[World], Awaitable[str]]]] = {
    "refund": _lost_refund,
    "capture": _lost_capture,
    "share": _lost_share,
    "share_return": _lost_return,
    "transfer": _lost_transfer,
}


@pytest.mark.parametrize("what", LOST)
async def test_what_no_channel_tells_of_is_put_before_a_person(world: World, what: str) -> None:
    subject_id = await LOST[what](world)
    world.transport.outage = True
    world.clock.pass_by(days=29)
    await world.work()
    assert await _anomalies(world, what) == []
    world.clock.pass_by(days=2)
    await world.work()
    [detail] = await _anomalies(world, what)
    assert (detail[f"{what}_id"], detail["state"]) == (subject_id, "unknown")
    left = await world.engine.database.fetch_value(
        "SELECT count(*) FROM job WHERE subject_id = $1", subject_id
    )
    assert left == 0
    assert not (await prove(world.engine.database)).mistakes


async def _anomalies(world: World, what: str) -> list[dict[str, str]]:
    rows = await world.engine.database.fetch(
        "SELECT detail FROM anomaly WHERE kind = $1", f"{what}_unresolved"
    )
    return [row["detail"] for row in rows]
