"""Disputes: told once, reminded of in time, answered once, and in the books when money moved."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from qiao.channels.disputes import DisputeState
from qiao.channels.wire import HttpMessage
from qiao.domain.errors import InvalidId, InvalidInput
from qiao.engine.captures import capture
from qiao.engine.dispute_watch import want_watching
from qiao.engine.disputes import LEAD, DisputeRow, answer, list_disputes, look, show_in_full
from qiao.engine.errors import Conflict, Missing
from qiao.engine.ledger import balances, prove
from qiao.engine.notifications import receive
from qiao.engine.records import Payment
from qiao.engine.runtime import Scope
from qiao.testing.bank import Fault
from qiao.testing.world import ACCOUNT_ID, World

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"


async def told(world: World, notice: HttpMessage) -> None:
    await receive(world.engine, world.scope.merchant_id, ACCOUNT_ID, notice)
    await world.work()


async def disputed(world: World, payment: Payment | None = None, **changes: Any) -> DisputeRow:
    if payment is not None:
        [attempt] = await world.attempts(payment)
        changes = {"payment": attempt.reference, **changes}
    await told(world, world.bank.dispute("d-1", **changes))
    return await only(world)


async def only(world: World) -> DisputeRow:
    [found] = await list_disputes(world.engine, world.scope)
    return found


async def books(world: World) -> dict[str, int]:
    assert not (await prove(world.engine.database)).mistakes
    found = await balances(world.engine, world.scope)
    return {one.account: one.balance_minor for one in found if one.balance_minor}


async def events(world: World) -> list[str]:
    rows = await world.engine.database.fetch(
        "SELECT type FROM event WHERE type LIKE 'dispute.%' ORDER BY event_id"
    )
    return [row["type"] for row in rows]


def due(world: World, **ahead: float) -> float:
    return (world.clock() + timedelta(**ahead)).timestamp()


async def test_a_complaint_is_kept_once_and_linked(world: World) -> None:
    payment = await world.paid()
    made = await disputed(world, payment, amount=1000)
    assert (made.number, made.kind, made.state) == ("d-1", "complaint", "needs_response")
    assert (made.payment_id, made.amount_minor) == (payment.payment_id, 1000)
    again = world.bank.dispute("d-1")
    for _ in range(3):
        await told(world, again)
    assert await only(world) == made
    assert await events(world) == ["dispute.created"]
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}


async def test_told_many_times_at_once(world: World) -> None:
    world.bank.dispute("d-1", kind="chargeback", amount=100, withdrawn=100)
    account = await world.engine.accounts.of_id(world.scope.merchant_id, ACCOUNT_ID)
    await asyncio.gather(*(look(world.engine, account, "d-1") for _ in range(8)))
    assert await events(world) == ["dispute.created"]
    assert await books(world) == {"chargebacks": 100, RECEIVABLE: -100}


async def test_a_payment_of_somebody_else_is_not_linked(world: World) -> None:
    await told(world, world.bank.dispute("d-1", payment="unheard-of"))
    assert (await only(world)).payment_id is None


async def look_everywhere(world: World) -> None:
    await want_watching(world.engine)
    await world.work()


async def test_what_no_notification_told_is_found(world: World) -> None:
    world.bank.dispute("d-1")
    await look_everywhere(world)
    assert (await only(world)).state == "needs_response"
    world.bank.dispute("d-1", state="closed")
    world.bank.hidden.add("d-1")  # too old for the list: it is asked about by itself
    await look_everywhere(world)
    assert (await only(world)).state == "closed"
    assert await events(world) == ["dispute.created", "dispute.closed"]


async def test_what_cannot_be_read_is_tried_again(world: World) -> None:
    world.bank.dispute("d-1", kind="new to us")
    with capture_logs() as logs:
        await look_everywhere(world)
    failed = [one["kind"] for one in logs if one["event"] == "job_failed"]
    assert failed == ["watch_disputes"]
    assert await list_disputes(world.engine, world.scope) == []
    world.bank.dispute("d-1", kind="complaint")
    await world.work_until_quiet(minutes=1)
    assert (await only(world)).number == "d-1"


async def test_a_channel_that_is_away_is_asked_again(world: World) -> None:
    notice = world.bank.dispute("d-1")
    await receive(world.engine, world.scope.merchant_id, ACCOUNT_ID, notice)
    world.transport.faults[:] = [Fault.NOT_CONNECTED, Fault.ANSWER_LOST]
    await world.work_until_quiet(minutes=1)
    assert await events(world) == ["dispute.created"]
    world.transport.faults[:] = [Fault.NOT_CONNECTED]
    await look_everywhere(world)
    assert await events(world) == ["dispute.created"]


async def test_its_end_is_near(world: World) -> None:
    made = await disputed(world, due_by=due(world, days=1))
    assert made.due_by is not None
    world.clock.pass_by(hours=17)
    await world.work()
    assert await events(world) == ["dispute.created"]
    world.clock.pass_by(hours=2)
    await world.work()
    await told(world, world.bank.dispute("d-1"))
    assert await events(world) == ["dispute.created", "dispute.due_soon"]
    assert (await only(world)).reminded_of == made.due_by


async def test_an_end_that_is_put_off_is_reminded_of_later(world: World) -> None:
    await disputed(world, due_by=due(world, days=1))
    await told(world, world.bank.dispute("d-1", due_by=due(world, days=3)))
    world.clock.pass_by(days=1)
    await world.work()
    assert await events(world) == ["dispute.created", "dispute.updated"]
    world.clock.pass_by(days=2 - LEAD / timedelta(days=1), minutes=1)
    await world.work()
    assert await events(world) == ["dispute.created", "dispute.updated", "dispute.due_soon"]


async def test_what_was_answered_and_must_be_finished_is_reminded_of(world: World) -> None:
    await disputed(world, state="under_review", due_by=due(world, hours=1))
    assert await events(world) == ["dispute.created", "dispute.due_soon"]
    world.clock.pass_by(days=1)
    await disputed(world, state="closed", due_by=due(world, hours=1))
    assert await events(world) == ["dispute.created", "dispute.due_soon", "dispute.closed"]


async def test_one_without_an_end_is_not_reminded_of(world: World) -> None:
    made = await disputed(world, due_by=due(world, days=1))
    now = await answer(world.engine, world.scope, made.dispute_id, "sorry", how="reply")
    assert (now.state, now.due_by, world.bank.answers) == ("under_review", None, [("d-1", "sorry")])
    world.clock.pass_by(days=2)
    await world.work()
    assert await events(world) == ["dispute.created", "dispute.updated"]
    over = await answer(world.engine, world.scope, made.dispute_id, "refunded", how="finish")
    assert over.state == "closed"
    assert await events(world) == ["dispute.created", "dispute.updated", "dispute.closed"]


@pytest.mark.parametrize(
    ("fault", "code", "reached"),
    [
        (Fault.NOT_CONNECTED, "dispute_answer_not_sent", 0),
        (Fault.REQUEST_LOST, "dispute_answer_unknown", 0),
        (Fault.ANSWER_LOST, "dispute_answer_unknown", 1),
    ],
)
async def test_an_answer_is_never_sent_twice_by_itself(
    world: World, fault: Fault, code: str, reached: int
) -> None:
    made = await disputed(world)
    world.transport.faults[:] = [fault]
    with pytest.raises(Conflict) as refused:
        await answer(world.engine, world.scope, made.dispute_id, "sorry", how="reply")
    assert refused.value.code == code
    await world.work_until_quiet()
    assert len(world.bank.answers) == reached


async def test_an_answer_to_what_is_closed(world: World) -> None:
    made = await disputed(world, state="closed")
    with pytest.raises(Conflict) as refused:
        await answer(world.engine, world.scope, made.dispute_id, "sorry", how="reply")
    assert refused.value.code == "dispute_answer_refused"
    assert world.bank.answers == []


async def test_a_chargeback_that_is_won(world: World) -> None:
    payment = await world.paid()
    values = {"kind": "chargeback", "amount": 400}
    await disputed(world, payment, **values)
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}
    await disputed(world, withdrawn=400)
    taken = {RECEIVABLE: 600, "merchant_payable": 1000, "chargebacks": 400}
    assert await books(world) == taken
    await disputed(world, state="under_review")
    assert await books(world) == taken
    won = await disputed(world, state="won", withdrawn=0)
    assert (won.withdrawn_minor, won.returned_minor, won.charged_minor) == (400, 400, 0)
    for state in ("won", "lost", "under_review"):  # money that came back is booked once
        await disputed(world, state=state)
        assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}


async def test_a_chargeback_that_is_lost(world: World) -> None:
    payment = await world.paid()
    await disputed(world, payment, kind="chargeback", amount=400, withdrawn=400, state="lost")
    for state in ("lost", "won", "needs_response"):
        await disputed(world, state=state)
        assert await books(world) == {RECEIVABLE: 600, "merchant_payable": 600}
    assert (await only(world)).charged_minor == 400


async def test_what_is_booked_wrongly_is_found(world: World) -> None:
    await disputed(world, kind="chargeback", amount=400, withdrawn=400)
    await world.engine.database.execute("UPDATE dispute SET withdrawn_minor = 401")
    assert (await prove(world.engine.database)).mistakes


async def test_what_the_customer_wrote_is_shown_and_nowhere_else(world: World) -> None:
    with capture_logs() as logs:
        made = await disputed(world, text="Anna is angry")
        row, text, phone = await show_in_full(world.engine, world.scope, made.dispute_id)
        assert (text, phone) == ("Anna is angry", "13800138000")
        world.transport.faults[:] = [Fault.NOT_CONNECTED]
        assert await show_in_full(world.engine, world.scope, made.dispute_id) == (row, text, None)
        await answer(world.engine, world.scope, made.dispute_id, "dear Anna", how="finish")
    stored = [
        str(await world.engine.database.fetch(f"SELECT t::text FROM {table} t"))
        for table in ("dispute", "event", "job", "audit_entry", "ledger_entry")
    ]
    assert stored
    assert all(one not in str([logs, stored]) for one in ("Anna", b"Anna".hex(), "13800138000"))


async def test_what_the_customer_wrote_later_is_shown(world: World) -> None:
    made = await disputed(world, text="Where is it")
    for now in ("It is here, and broken", ""):  # a list may leave it out
        await disputed(world, text=now)
        _, text, _ = await show_in_full(world.engine, world.scope, made.dispute_id)
        assert text == "It is here, and broken"
    assert await events(world) == ["dispute.created"]


async def test_a_dispute_of_what_was_held_is_linked_by_its_captures_number(world: World) -> None:
    payment = await world.authorized(1000)
    taken = await capture(world.engine, world.scope, payment.payment_id)
    await told(world, world.bank.dispute("d-1", payment=taken.reference))
    assert (await only(world)).payment_id == payment.payment_id


async def test_others_see_nothing_and_pages_go_on(world: World) -> None:
    for one in range(3):
        await told(world, world.bank.dispute(f"d-{one}"))
    [made] = await list_disputes(world.engine, world.scope, limit=1)
    other = Scope(merchant_id=world.scope.merchant_id, live=True)
    assert await list_disputes(world.engine, other) == []
    for ask in (
        show_in_full(world.engine, other, made.dispute_id),
        answer(world.engine, other, made.dispute_id, "sorry", how="reply"),
    ):
        with pytest.raises(Missing):
            await ask
    with pytest.raises(InvalidId):
        await show_in_full(world.engine, world.scope, "pay_1")
    with pytest.raises(InvalidInput):
        await list_disputes(world.engine, world.scope, limit=0)
    page = await list_disputes(world.engine, world.scope, limit=2)
    rest = await list_disputes(world.engine, world.scope, before=page[-1].dispute_id)
    assert [one.number for one in (*page, *rest)] == ["d-2", "d-1", "d-0"]
    open_ones = await list_disputes(world.engine, world.scope, state=DisputeState.WON)
    assert open_ones == []
