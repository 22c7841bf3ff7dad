"""The ledger: what each happening books, what the database refuses, what a check finds."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from qiao.domain.errors import InvalidInput
from qiao.domain.ledger import NORMAL_SIDE, LedgerAccount
from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.captures import capture
from qiao.engine.closing import close
from qiao.engine.ledger import Entry, balances, grows_by, prove, statement_of_account
from qiao.engine.notifications import receive
from qiao.engine.records import Payment
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.engine.transfers import TransferOrder, request_transfer
from qiao.store.database import Database
from qiao.testing.bank import Fault
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from qiao.testing.world import ACCOUNT_ID, World

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"


async def paid(world: World) -> Payment:
    return await world.paid(1000)


async def refunded_in_part(world: World) -> Payment:
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
    return payment


async def refund_lost(world: World) -> Payment:
    payment = await world.paid(1000)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
    return payment


async def refund_refused(world: World) -> Payment:
    payment = await world.paid(1000)
    [order] = world.bank.orders.values()
    order.state = "closed"  # the bank refuses to give back
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
    return payment


async def surplus(world: World) -> Payment:
    payment = await world.accept(1000)
    tried = await world.attempt(payment)
    await close(world.engine, world.scope, payment.payment_id)
    world.bank.pay(tried.reference)
    notice = world.bank.payment_notice(tried.reference)
    await receive(world.engine, world.scope.merchant_id, world.account_id, notice)
    return payment


async def surplus_given_back(world: World) -> Payment:
    payment = await surplus(world)
    await world.work()
    return payment


async def held(world: World) -> Payment:
    return await world.authorized(1000)


async def captured_in_part(world: World) -> Payment:
    payment = await world.authorized(1000)
    await capture(world.engine, world.scope, payment.payment_id, amount_minor=700)
    return payment


async def paid_out(world: World, payee: str = "anna") -> Payment:
    payment = await world.paid(1000)
    order = TransferOrder(
        number="t-1",
        channel="bank",
        amount=Money(400, "CNY"),
        payee=payee,
        description="wages",
    )
    await request_transfer(
        world.engine, replace(world.scope, actor=Actor(kind="operator", id="key_maker")), order
    )
    return payment


async def paid_out_in_vain(world: World) -> Payment:
    return await paid_out(world, REFUSED_PAYEE)


async def on_its_way_out(world: World) -> Payment:
    return await paid_out(world, SLOW_PAYEE)


@pytest.mark.parametrize(
    ("happening", "expected"),
    [
        (paid, {RECEIVABLE: 1000, "merchant_payable": 1000}),
        (
            refunded_in_part,
            {RECEIVABLE: 700, "merchant_payable": 700, "refunds_in_transit": 0},
        ),
        (
            refund_lost,
            {RECEIVABLE: 1000, "merchant_payable": 700, "refunds_in_transit": 300},
        ),
        (
            refund_refused,
            {RECEIVABLE: 1000, "merchant_payable": 1000, "refunds_in_transit": 0},
        ),
        (held, {}),
        (captured_in_part, {RECEIVABLE: 700, "merchant_payable": 700}),
        (
            paid_out,
            {RECEIVABLE: 600, "merchant_payable": 600, "transfers_in_transit": 0},
        ),
        (
            paid_out_in_vain,
            {RECEIVABLE: 1000, "merchant_payable": 1000, "transfers_in_transit": 0},
        ),
        (
            on_its_way_out,
            {RECEIVABLE: 1000, "merchant_payable": 600, "transfers_in_transit": 400},
        ),
        (surplus, {RECEIVABLE: 1000, "surplus": 0, "refunds_in_transit": 1000}),
        (surplus_given_back, {RECEIVABLE: 0, "surplus": 0, "refunds_in_transit": 0}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_what_is_booked(
    world: World, happening: Callable[[World], Awaitable[Payment]], expected: dict[str, int]
) -> None:
    await happening(world)
    found = await balances(world.engine, world.scope)
    assert {one.account: one.balance_minor for one in found} == expected
    proof = await prove(world.engine.database)
    assert not proof.mistakes
    assert sum(one.debits_minor - one.credits_minor for _, one in proof.trial_balance) == 0


@pytest.mark.parametrize("state", ["requested", "succeeded", "failed"])
async def test_a_transfer_whose_state_is_not_its_entries_is_found(world: World, state: str) -> None:
    await on_its_way_out(world)
    await world.engine.database.execute("UPDATE transfer SET state = $1", state)
    [mistake] = {one.kind for one in (await prove(world.engine.database)).mistakes}
    assert mistake == "wrong_entries"


async def test_nothing_is_booked_before_there_is_money(world: World) -> None:
    payment = await world.accept(1000)
    await world.attempt(payment)
    assert await balances(world.engine, world.scope) == []
    assert (await prove(world.engine.database)).entries == 0


async def test_balances_of_another_time_and_another_mode(world: World) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    await paid(world)
    assert await balances(world.engine, world.scope, at=before) == []
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    assert await balances(world.engine, live) == []


async def test_a_statement_of_account_runs_from_its_opening_to_its_closing(world: World) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    until = since + timedelta(hours=1)
    for _ in range(2):
        await refunded_in_part(world)
    seen: list[Entry] = []
    after = None
    while True:
        page = await statement_of_account(
            world.engine,
            world.scope,
            "merchant_payable",
            currency="CNY",
            since=since,
            until=until,
            after=after,
            limit=1,
        )
        seen += page.entries
        if not page.has_more:
            break
        after = (page.entries[-1].event_id, page.entries[-1].line)
    assert [grows_by(one, "merchant_payable") for one in seen] == [1000, -300, 1000, -300]
    assert (page.opening.balance_minor, page.closing.balance_minor) == (0, 1400)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"account": "cash"}, "account"),
        ({"currency": "XXX"}, "currency"),
        ({"limit": 0}, "limit"),
        ({"after": ("pay_1", 1)}, "after"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "until"),
    ],
)
async def test_bad_questions_are_refused(world: World, more: dict[str, object], field: str) -> None:
    asked: dict[str, object] = {
        "account": "merchant_payable",
        "currency": "CNY",
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "until": datetime(2026, 2, 1, tzinfo=UTC),
        **more,
    }
    with pytest.raises(InvalidInput) as refused:
        await statement_of_account(world.engine, world.scope, **asked)  # type: ignore[arg-type]
    assert refused.value.field == field


INSERT = """
INSERT INTO ledger_entry (merchant_id, event_id, line, live, debit, credit, amount_minor, currency,
                          payment_id, subject_id)
SELECT merchant_id, event_id, 9, live, {debit}, {credit}, {amount}, currency, payment_id, 'x'
FROM ledger_entry LIMIT 1
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount_minor = 1",
        "DELETE FROM ledger_entry",
        "TRUNCATE ledger_entry",
        "TRUNCATE event CASCADE",
        INSERT.format(debit="'surplus'", credit="'suspense'", amount="0"),
        INSERT.format(debit="'surplus'", credit="'suspense'", amount="-1"),
        INSERT.format(debit="'surplus'", credit="'surplus'", amount="1"),
        INSERT.format(debit="'cash'", credit="'surplus'", amount="1"),
        INSERT.format(debit="NULL", credit="'surplus'", amount="1"),
    ],
)
async def test_the_database_refuses(world: World, statement: str) -> None:
    await paid(world)
    with pytest.raises(asyncpg.PostgresError):
        await world.engine.database.execute(statement)
    assert not (await prove(world.engine.database)).mistakes


@pytest.mark.parametrize(
    ("forgery", "kinds"),
    [
        (INSERT.format(debit="'surplus'", credit="'suspense'", amount="5"), {"wrong_entries"}),
        ("UPDATE payment SET refunded_minor = 1", {"wrong_payments"}),
        ("UPDATE payment SET state = 'closed'", {"wrong_payments"}),
        ("UPDATE attempt SET reserved_minor = 1", {"wrong_reserves"}),
        ("UPDATE attempt SET reserved_minor = 1, shared_minor = 1", {"wrong_reserves"}),
        ("UPDATE attempt SET captured_minor = 999", {"wrong_entries", "wrong_payments"}),
        ("ALTER TABLE ledger_entry DISABLE TRIGGER ledger_is_append_only", {"not_append_only"}),
        ("DROP TRIGGER event_is_not_emptied ON event", {"not_append_only"}),
    ],
)
async def test_a_check_finds_what_is_wrong(world: World, forgery: str, kinds: set[str]) -> None:
    await paid(world)
    await world.engine.database.execute(forgery)
    found = {one.kind for one in (await prove(world.engine.database)).mistakes}
    assert found >= kinds
    assert found - kinds <= {"overdrawn"}


async def test_a_missing_entry_is_found(world: World) -> None:
    await paid(world)
    async with world.engine.database.transaction() as transaction:
        await transaction.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
        await transaction.execute("DELETE FROM ledger_entry")
        await transaction.execute("ALTER TABLE ledger_entry ENABLE TRIGGER USER")
    [mistake] = (await prove(world.engine.database)).mistakes
    assert (mistake.kind, mistake.detail["missing"]) == ("wrong_entries", 1)


async def test_the_database_knows_every_account(database: Database) -> None:
    for kind in LedgerAccount:
        name = f"{kind}:acc_1" if kind is LedgerAccount.CHANNEL_RECEIVABLE else str(kind)
        assert await database.fetch_value("SELECT $1::text::ledger_account", name) == name
        assert kind in NORMAL_SIDE
