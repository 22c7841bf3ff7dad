"""Transfers: by two people, within limits, once, and in the books from approval to the end."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.batches import (
    Batch,
    approve_batch,
    read_csv,
    reject_batch,
    request_batch,
    show_batch,
)
from qiao.engine.errors import Conflict, Missing
from qiao.engine.ledger import balances, prove
from qiao.engine.records import Transfer
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.engine.transfer_work import transfer_now
from qiao.engine.transfers import (
    Policy,
    TransferOrder,
    approve,
    put_policy,
    reject,
    request_transfer,
    show_transfer,
)
from qiao.testing.bank import Fault
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from qiao.testing.world import ACCOUNT_ID, World

LOST = [Fault.REQUEST_LOST, Fault.ANSWER_LOST]
CHECK_ALWAYS = Policy()


def by(world: World, name: str) -> Scope:
    return replace(world.scope, actor=Actor(kind="operator", id=name))


def maker(world: World) -> Scope:
    return by(world, "key_maker")


def checker(world: World) -> Scope:
    return by(world, "key_checker")


def order(number: str = "t-1", minor: int = 300, payee: str = "anna") -> TransferOrder:
    return TransferOrder(
        number=number,
        channel="bank",
        amount=Money(minor, "CNY"),
        payee=payee,
        payee_name="Anna",
        description="wages",
    )


async def ask(world: World, wanted: TransferOrder | None = None, *faults: Fault) -> Transfer:
    world.transport.faults[:] = faults
    return (await request_transfer(world.engine, maker(world), wanted or order())).transfer


async def checked(world: World) -> None:
    await put_policy(world.engine, world.scope, "CNY", CHECK_ALWAYS)


async def now(world: World, transfer: Transfer) -> Transfer:
    return await transfer_now(world.engine, transfer.merchant_id, transfer.transfer_id)


async def books(world: World) -> dict[str, int]:
    assert not (await prove(world.engine.database)).mistakes
    return {one.account: one.balance_minor for one in await balances(world.engine, world.scope)}


async def events(world: World) -> list[str]:
    rows = await world.engine.database.fetch(
        "SELECT type FROM event WHERE type LIKE 'transfer.%' ORDER BY created_at, event_id"
    )
    return [row["type"] for row in rows]


async def test_a_second_person_lets_it_go(world: World) -> None:
    await checked(world)
    asked = await ask(world)
    assert (asked.state, asked.requested_by) == ("requested", "key_maker")
    assert await books(world) == {}
    assert world.bank.payouts == {}
    done = await approve(world.engine, checker(world), asked.transfer_id)
    assert (done.state, done.decided_by) == ("succeeded", "key_checker")
    assert world.bank.payouts[done.reference].amount == 300
    assert await books(world) == {
        f"channel_receivable:{ACCOUNT_ID}": -300,
        "merchant_payable": -300,
        "transfers_in_transit": 0,
    }
    assert await events(world) == [
        "transfer.created",
        "transfer.approved",
        "transfer.succeeded",
    ]
    assert (await approve(world.engine, checker(world), asked.transfer_id)).state == "succeeded"


async def test_nobody_approves_what_they_asked_for(world: World) -> None:
    await checked(world)
    asked = await ask(world)
    with pytest.raises(Conflict) as refused:
        await approve(world.engine, maker(world), asked.transfer_id)
    assert refused.value.code == "second_person_needed"
    with pytest.raises(Conflict) as refused:
        await approve(world.engine, world.scope, asked.transfer_id)
    assert refused.value.code == "actor_unknown"
    with pytest.raises(asyncpg.CheckViolationError):
        await world.engine.database.execute(
            "UPDATE transfer SET state = 'approved', decided_by = requested_by"
        )
    assert (await now(world, asked)).state == "requested"
    assert world.transport.sent == []


async def test_two_who_approve_at_once_send_it_once(world: World) -> None:
    await checked(world)
    asked = await ask(world)
    others = [
        replace(world.scope, actor=Actor(kind="operator", id=f"key_{number}"))
        for number in range(4)
    ]
    results = await asyncio.gather(
        *(approve(world.engine, one, asked.transfer_id) for one in others),
        return_exceptions=True,
    )
    assert len([one for one in results if isinstance(one, Transfer)]) == 1
    assert world.transport.sent.count("transfer") == 1


async def test_a_rejected_one_comes_to_nothing(world: World) -> None:
    await checked(world)
    asked = await ask(world)
    gone = await reject(world.engine, maker(world), asked.transfer_id, reason="twice")
    assert (gone.state, gone.reason) == ("rejected", "twice")
    assert await reject(world.engine, checker(world), asked.transfer_id) == gone
    with pytest.raises(Conflict) as refused:
        await approve(world.engine, checker(world), asked.transfer_id)
    assert refused.value.code == "transfer_not_waiting"
    assert await books(world) == {}
    assert await events(world) == ["transfer.created", "transfer.rejected"]


@pytest.mark.parametrize(
    ("policy", "live", "minor", "state"),
    [
        (None, True, 1, "requested"),
        (None, False, 300, "succeeded"),
        (Policy(), False, 1, "requested"),
        (Policy(check_above_minor=300), False, 300, "succeeded"),
        (Policy(check_above_minor=300), False, 301, "requested"),
        (Policy(check_above_minor=300), True, 300, "succeeded"),
    ],
)
async def test_when_a_second_person_is_needed(
    world: World, policy: Policy | None, live: bool, minor: int, state: str
) -> None:
    scope = replace(maker(world), live=live)
    if live:
        await world.engine.accounts.put(
            merchant_id=scope.merchant_id,
            account_id="acc_00000000000000000000000002",
            live=True,
            channel="bank",
            name="live",
            settings={"key": world.bank.key},
        )
    if policy is not None:
        await put_policy(world.engine, scope, "CNY", policy)
    done = await request_transfer(world.engine, scope, order(minor=minor))
    assert done.transfer.state == state


async def test_limits(world: World) -> None:
    limits = Policy(check_above_minor=1000, max_minor=500, daily_max_minor=800)
    await put_policy(world.engine, world.scope, "CNY", limits)
    with pytest.raises(Conflict) as refused:
        await ask(world, order(minor=501))
    assert refused.value.code == "transfer_exceeds_limit"
    await ask(world, order("t-1", 500))
    with pytest.raises(Conflict):
        await ask(world, order("t-2", 301))
    failed = await ask(world, order("t-3", 300, REFUSED_PAYEE))
    assert failed.state == "failed"  # and counts no more
    await ask(world, order("t-4", 300))
    world.clock.pass_by(hours=25)
    await ask(world, order("t-5", 500))


async def test_many_at_once_stay_within_the_limit(world: World) -> None:
    limits = Policy(check_above_minor=1000, daily_max_minor=1000)
    await put_policy(world.engine, world.scope, "CNY", limits)
    results = await asyncio.gather(
        *(ask(world, order(f"t-{number}", 300)) for number in range(6)), return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, Transfer)]) == 3
    assert sum(one.amount for one in world.bank.payouts.values()) == 900


@pytest.mark.parametrize("fault", [*LOST, Fault.NOT_CONNECTED])
async def test_a_lost_one_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    lost = await ask(world, None, fault)
    assert lost.state == ("approved" if fault is Fault.NOT_CONNECTED else "unknown")
    assert (await books(world))["transfers_in_transit"] == 300
    await world.work_until_quiet(seconds=30)
    assert (await now(world, lost)).state == "succeeded"
    assert [one.amount for one in world.bank.payouts.values()] == [300]
    assert list(world.bank.payouts) == [lost.reference]
    assert (await books(world))["transfers_in_transit"] == 0
    assert (await events(world)).count("transfer.succeeded") == 1


@pytest.mark.parametrize(("end", "state"), [("paid", "succeeded"), ("returned", "failed")])
async def test_a_slow_one_is_asked_about_until_it_is_known(
    world: World, end: str, state: str
) -> None:
    slow = await ask(world, order(payee=SLOW_PAYEE))
    assert slow.state == "pending"
    world.clock.pass_by(minutes=30)
    await world.work()
    assert (await now(world, slow)).state == "pending"
    world.bank.arrive(slow.reference, end)
    await world.work_until_quiet(hours=1)
    assert (await now(world, slow)).state == state
    assert (await books(world))["transfers_in_transit"] == 0
    assert world.transport.sent.count("transfer") == 1


async def test_the_same_number_is_the_same_transfer(world: World) -> None:
    first = await ask(world)
    again = await request_transfer(world.engine, checker(world), order())
    assert (again.transfer, again.created) == (first, False)
    for other in (order(minor=301), order(payee="bert")):
        with pytest.raises(Conflict) as refused:
            await ask(world, other)
        assert refused.value.code == "transfer_exists_with_different_content"
    results = await asyncio.gather(*(ask(world, order("t-2")) for _ in range(5)))
    assert len({one.transfer_id for one in results}) == 1
    assert len(world.bank.payouts) == 2


async def test_a_key_gives_the_same_transfer(world: World) -> None:
    key = IdempotencyKey(key="k", body_digest=b"1")
    scope = maker(world)
    first = await request_transfer(world.engine, scope, order(), key=key)
    again = await request_transfer(world.engine, scope, order(), key=key)
    assert (again.transfer, again.created) == (first.transfer, False)
    with pytest.raises(Conflict):
        await request_transfer(
            world.engine, scope, order("t-2"), key=replace(key, body_digest=b"2")
        )


async def test_who_gets_the_money_is_kept_sealed(world: World) -> None:
    asked = await ask(world, order(payee="anna@example.com"))
    rows = await world.engine.database.fetch("SELECT t::text AS t FROM transfer t")
    told = await world.engine.database.fetch("SELECT data::text AS t FROM event")
    everything = " ".join([*(row["t"] for row in (*rows, *told)), repr(asked)])
    assert "anna" not in everything.lower()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": ""}, "number"),
        ({"amount": Money(0, "CNY")}, "amount"),
        ({"payee": ""}, "payee"),
        ({"description": "x" * 129}, "description"),
        ({"channel": "nowhere"}, "channel"),
        ({"amount": Money(1, "USD")}, "currency"),
    ],
)
async def test_what_is_no_transfer(world: World, change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        await ask(world, replace(order(), **change))  # type: ignore[arg-type]
    assert wrong.value.field == field


async def test_others_see_nothing(world: World) -> None:
    asked = await ask(world)
    with pytest.raises(Missing):
        await show_transfer(world.engine, replace(world.scope, live=True), asked.transfer_id)


LINES = [order("t-1", 100), order("t-2", 200, SLOW_PAYEE), order("t-3", 300, REFUSED_PAYEE)]


async def make(world: World, lines: list[TransferOrder] = LINES) -> Batch:
    return await request_batch(world.engine, maker(world), "wages-1", lines)


async def test_a_batch_goes_line_by_line(world: World) -> None:
    await put_policy(world.engine, world.scope, "CNY", Policy(check_above_minor=599))
    batch = await make(world)  # no line is above it, but all together are
    assert [one.state for one in batch.transfers] == ["requested"] * 3
    batch_id = batch.row.batch_id
    with pytest.raises(Conflict) as refused:
        await approve_batch(world.engine, maker(world), batch_id)
    assert refused.value.code == "second_person_needed"
    done = await approve_batch(world.engine, checker(world), batch_id)
    assert [one.state for one in done.transfers] == ["succeeded", "pending", "failed"]
    assert await approve_batch(world.engine, checker(world), batch_id) == done
    again = await make(world)
    assert [one.transfer_id for one in again.transfers] == [
        one.transfer_id for one in done.transfers
    ]
    assert (await books(world))["transfers_in_transit"] == 200


async def test_a_batch_is_taken_whole_or_not_at_all(world: World) -> None:
    await put_policy(
        world.engine, world.scope, "CNY", Policy(check_above_minor=0, daily_max_minor=599)
    )
    with pytest.raises(Conflict) as refused:
        await make(world)
    assert refused.value.code == "transfer_exceeds_limit"
    with pytest.raises(InvalidInput) as wrong:
        await make(world, [order("t-1"), replace(order("t-2"), channel="nowhere")])
    assert wrong.value.field == "transfers.1.channel"
    await ask(world, order("t-2", 1))
    with pytest.raises(Conflict) as refused:
        await make(world, [order("t-1", 1), order("t-2", 1)])
    assert refused.value.code == "transfer_exists"
    assert await world.engine.database.fetch_value("SELECT count(*) FROM transfer") == 1
    assert await world.engine.database.fetch_value("SELECT count(*) FROM transfer_batch") == 0


async def test_a_batch_may_be_rejected(world: World) -> None:
    await checked(world)
    batch = await make(world)
    gone = await reject_batch(world.engine, checker(world), batch.row.batch_id)
    assert [one.state for one in gone.transfers] == ["rejected"] * 3
    assert await show_batch(world.engine, world.scope, batch.row.batch_id) == gone
    assert world.transport.sent == []


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([], "transfers"),
        ([order(), order()], "transfers"),
        ([order(), replace(order("t-2"), amount=Money(1, "JPY"))], "transfers"),
    ],
)
async def test_what_is_no_batch(world: World, lines: list[TransferOrder], field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        await make(world, lines)
    assert wrong.value.field == field


HEAD = "number,channel,amount,currency,payee,description,payee_name"


def test_a_csv_file_is_read_line_by_line() -> None:
    text = f'{HEAD}\nt-1,bank,300,CNY,anna,wages,Anna\nt-2,bank,7,JPY,bert,"tea, cake",\n'
    first, second = read_csv(text)
    assert first == order()
    assert (second.amount, second.description) == (Money(7, "JPY"), "tea, cake")
    assert second.payee_name is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "csv"),
        ("number,amount\n", "csv"),
        (f"{HEAD},colour\n", "csv"),
        (f"{HEAD},payee\n", "csv"),
        (f"{HEAD}\nt-1,bank,3.00,CNY,anna,wages,\n", "csv line 2"),
        (f"{HEAD}\nt-1,bank,-3,CNY,anna,wages,\n", "csv line 2"),
        (f"{HEAD}\nt-1,bank,300\n", "csv line 2"),
        (f"{HEAD}\nt-1,bank,300,CNY,anna,wages,,more\n", "csv line 2"),
        (f"{HEAD}\n,bank,300,CNY,anna,wages,\n", "csv line 2.number"),
        (f'{HEAD}\nt-1,bank,300,CNY,"anna,wages,\n', "csv"),
        (f"{HEAD}\nt-1,bank,300,XXX,anna,wages,\n", "csv line 2.currency"),
    ],
)
def test_what_is_no_csv_file(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        read_csv(text)
    assert wrong.value.field == field
    assert "anna" not in str(wrong.value)


async def test_a_refusal_of_what_was_told_before_is_looked_into(world: World) -> None:
    await checked(world)
    asked = await ask(world)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    sent = await approve(world.engine, checker(world), asked.transfer_id)
    assert sent.state == "unknown"
    world.bank.hidden.add(sent.reference)
    world.bank.refuses = True
    world.clock.pass_by(minutes=11)
    await world.work()
    assert (await now(world, sent)).state == "succeeded"
    assert world.bank.payouts[sent.reference].sendings == 1
    assert (await books(world))["transfers_in_transit"] == 0
