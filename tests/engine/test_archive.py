"""An archive changes no balance, takes nothing that is needed, and drops only what was verified."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest

from qiao.domain.ids import IdKind, first_id
from qiao.engine.archive import KNOWS_ARCHIVES, PeriodHeld
from qiao.engine.archive_check import check_archive
from qiao.engine.archive_files import entry_digest
from qiao.engine.audit import check, list_entries
from qiao.engine.disputes import look
from qiao.engine.errors import Archived as ArchivedError
from qiao.engine.events import events_after, list_events
from qiao.engine.ledger import balances, prove, statement_of_account
from qiao.engine.payments import show
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.engine.webhooks import add_endpoint, replay
from qiao.store.database import Database
from qiao.store.migrate import MIGRATIONS
from qiao.store.partitions import TABLES
from qiao.testing.bank import Fault
from qiao.testing.vault import SLOW_PAYEE
from qiao.testing.world import ACCOUNT_ID, World, make_world
from tests.engine.archiving import (
    URL,
    a_month,
    archived,
    books,
    move,
    names,
    next_month,
    this_month,
)
from tests.engine.test_shares import give
from tests.engine.test_shares import paid as paid_to_share

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"


async def test_a_month_goes_and_the_books_stay(
    world: World, patient: Database, folder: Path
) -> None:
    await move(world, this_month() + timedelta(days=1))
    payments = await a_month(world)
    before, trial = await books(world), (await prove(patient)).trial_balance
    steps: list[str] = []
    done = await archived(
        patient, folder, before=next_month(), step=lambda _, step: steps.append(step)
    )
    month = f"{this_month():%Y_%m}"
    assert [one.period for one in done] == [f"until_{month}", month]
    assert steps[: len(steps) // 2] == [
        "frozen",
        "written",
        "verified",
        "archived",
        "detached webhook_delivery",
        "detached ledger_entry",
        "detached event",
        "dropped",
    ]
    assert (await names(patient))[0] == f"{next_month():%Y_%m}"
    left = await patient.fetch(
        "SELECT relname FROM pg_class WHERE relname LIKE '%' || $1 AND relkind = 'r'", month
    )
    assert left == []

    assert await books(world) == before
    assert [one.balance_minor for one in await balances(world.engine, world.scope)]
    proof = await prove(patient)
    assert (proof.mistakes, proof.trial_balance) == ([], trial)
    assert proof.entries == done[1].rows["ledger_entry"] == 7
    assert done[1].rows["event"] == done[1].rows["webhook_delivery"] > 12
    assert [one.mistakes for one in await check_archive(patient, folder)] == [[], []]
    assert await patient.fetch_value("SELECT oldest_revision FROM schema_compatibility") == (
        KNOWS_ARCHIVES
    )
    assert not (await check(patient)).broken
    told = await list_entries(patient, "server")
    assert [one.content.action for one in told[:2]] == ["period.archived"] * 2

    # What happens to its payments later is booked as ever.
    await move(world, next_month() + timedelta(days=3))
    shown = await show(world.engine, world.scope, payments[1])
    assert (shown.state, shown.captured_minor) == ("paid", 1001)
    await refund(world.engine, world.scope, payments[1], amount_minor=100)
    await world.paid(77)
    assert not (await prove(patient)).mistakes
    assert (await books(world))[(RECEIVABLE, "CNY")][1] == 400


async def test_what_is_archived_is_told_as_such(
    world: World, patient: Database, folder: Path
) -> None:
    await move(world, this_month() + timedelta(days=1))
    [payment_id, *_] = await a_month(world)
    [event, *_] = await list_events(world.engine, world.scope, payment_id=payment_id)
    [endpoint] = await world.engine.database.fetch("SELECT endpoint_id FROM webhook_endpoint")
    oldest = "evt_" + "0" * 26
    [_, done] = await archived(patient, folder, before=next_month())
    engine, scope, end = world.engine, world.scope, next_month()

    def statement(since: datetime) -> Awaitable[object]:
        return statement_of_account(
            engine,
            scope,
            RECEIVABLE,
            currency="CNY",
            since=since,
            until=end + timedelta(days=40),
        )

    asked: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("payment_id", lambda: list_events(engine, scope, payment_id=payment_id)),
        ("before", lambda: list_events(engine, scope, before=event.event_id)),
        ("after", lambda: events_after(engine, scope, oldest)),
        ("event_id", lambda: replay(engine, scope, endpoint["endpoint_id"], event.event_id)),
        ("at", lambda: balances(engine, scope, at=end - timedelta(microseconds=1))),
        ("since", lambda: statement(end - timedelta(microseconds=1))),
    ]
    for field, ask in asked:
        with pytest.raises(ArchivedError) as refused:
            await ask()
        assert (refused.value.code, refused.value.field) == ("archived", field)
        assert f"{this_month():%Y_%m}" in str(refused.value)
        assert done.manifest_sha256[:16] in str(refused.value)
    # The id that the refusal names is one to go on with.
    assert await events_after(engine, scope, first_id(IdKind.EVENT, end) + "0" * 16) == []
    assert await balances(engine, scope, at=end) == await balances(engine, scope)
    assert (await statement(end)).opening.balance_minor == 5010 - 300  # type: ignore[attr-defined]


async def test_what_was_booked_after_the_end_of_its_month_stays(
    world: World, patient: Database, folder: Path
) -> None:
    """Its id is of the month, and the database's clock was past it: the statement is whole."""
    await move(world, next_month() - timedelta(days=20))
    await world.paid(1000)
    await world.work_until_quiet(hours=6)
    world.clock.ahead = next_month() - timedelta(hours=1) - datetime.now(UTC)
    await world.engine.database.execute(
        "UPDATE ahead SET span = $1", world.clock.ahead + timedelta(hours=2)
    )
    await world.paid(500)
    await move(world, next_month() + timedelta(days=2))
    await world.paid(200)
    await world.work_until_quiet(hours=6)
    asked = {"currency": "CNY", "since": next_month(), "until": next_month() + timedelta(days=9)}
    before = await statement_of_account(world.engine, world.scope, RECEIVABLE, **asked)  # type: ignore[arg-type]
    assert (before.opening.balance_minor, len(before.entries)) == (1000, 2)
    done = await archived(patient, folder, before=next_month())
    assert done[-1].rows["ledger_entry"] == 2
    after = await statement_of_account(world.engine, world.scope, RECEIVABLE, **asked)  # type: ignore[arg-type]
    assert after == before
    assert await patient.fetch_value("SELECT count(*) FROM ledger_carried") == 1
    assert not (await prove(patient)).mistakes
    assert [one.mistakes for one in await check_archive(patient, folder)] == [[], []]


async def test_the_files_are_typed(world: World, patient: Database, folder: Path) -> None:
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    [_, done] = await archived(patient, folder, before=next_month())
    file = pq.ParquetFile(done.folder / "ledger_entry.parquet")
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["amount_minor"] == "int64"
    assert types["booked_at"] == "timestamp[us, tz=UTC]"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert sorted(file.read().column("amount_minor").to_pylist()) == [
        300, 300, 1000, 1001, 1002, 1003, 1004,
    ]  # fmt: skip
    assert (done.folder.stat().st_mode & 0o777) == 0o700


async def open_payment(world: World) -> None:
    await world.accept(1000)


async def unknown_attempt(world: World) -> None:
    await world.attempt(await world.accept(1000), Fault.ANSWER_LOST)


async def held_amount(world: World) -> None:
    await world.authorized(1000)


async def open_refund(world: World) -> None:
    payment = await world.paid(1000)
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)


async def pending_webhook(world: World) -> None:
    await add_endpoint(world.engine, world.scope, URL)
    world.transport.shop.answers = [500] * 20
    await world.paid(1000)


async def waiting_job(world: World) -> None:
    await world.paid(1000)


async def open_share(world: World) -> None:
    await give(world, await paid_to_share(world), {SLOW_PAYEE: 300})


async def open_dispute(world: World) -> None:
    world.bank.dispute("d-1")
    account = await world.engine.accounts.of_id(world.scope.merchant_id, ACCOUNT_ID)
    assert await look(world.engine, account, "d-1") is not None


@pytest.mark.parametrize(
    ("happening", "kinds"),
    [
        (open_share, {"profit share", "job"}),
        (open_dispute, {"dispute"}),
        (open_payment, {"payment", "job"}),
        (unknown_attempt, {"payment", "attempt", "job"}),
        (held_amount, {"payment", "attempt", "job"}),
        (open_refund, {"refund", "job"}),
        (pending_webhook, {"webhook", "job"}),
        (waiting_job, {"job"}),
    ],
)
async def test_what_is_needed_stays(
    world: World,
    patient: Database,
    folder: Path,
    happening: Callable[[World], Awaitable[None]],
    kinds: set[str],
) -> None:
    await move(world, this_month() + timedelta(days=1))
    await happening(world)
    rows = [await patient.fetch_value(f"SELECT count(*) FROM {one}") for one in TABLES]
    with pytest.raises(PeriodHeld) as refused:
        await archived(patient, folder, before=next_month())
    assert {one.kind for one in refused.value.holds} == kinds
    for one in refused.value.holds:
        assert one.subject_id in str(refused.value)
    assert [await patient.fetch_value(f"SELECT count(*) FROM {one}") for one in TABLES] == rows
    assert await patient.fetch_value("SELECT count(*) FROM archived_period") == 1  # the empty one
    # Nothing was left behind that would be in a payment's way.
    await world.paid(99)


@pytest.mark.parametrize(
    ("forgery", "kind"),
    [
        ("UPDATE ledger_closing SET amount_minor = amount_minor + 1", "wrong_entries"),
        ("UPDATE ledger_closing SET subjects = subjects + 1", "wrong_entries"),
        ("DELETE FROM ledger_closing WHERE debit = 'refunds_in_transit'", "wrong_entries"),
        ("UPDATE attempt SET captured_minor = captured_minor - 1", "wrong_entries"),
        (
            "INSERT INTO ledger_closing SELECT merchant_id, 'x', live, debit, credit, currency,"
            " entries, amount_minor, subjects FROM ledger_closing",
            "wrong_entries",
        ),
        ("DROP TRIGGER ledger_closing_append_only ON ledger_closing", "not_append_only"),
    ],
)
async def test_a_check_finds_what_is_wrong_with_the_closings(
    world: World, patient: Database, folder: Path, forgery: str, kind: str
) -> None:
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    await archived(patient, folder, before=next_month())
    async with patient.transaction() as queries:
        await queries.execute("ALTER TABLE ledger_closing DISABLE TRIGGER USER")
        await queries.execute("ALTER TABLE ledger_closing ENABLE TRIGGER USER")
        if "ledger_closing" in forgery and "DROP" not in forgery:
            await queries.execute("ALTER TABLE ledger_closing DISABLE TRIGGER USER")
            await queries.execute(forgery)
            await queries.execute("ALTER TABLE ledger_closing ENABLE TRIGGER USER")
        else:
            await queries.execute(forgery)
    assert kind in {one.kind for one in (await prove(patient)).mistakes}
    if "SET amount_minor" in forgery or "DELETE" in forgery:
        assert any(one.mistakes for one in await check_archive(patient, folder))


@pytest.mark.parametrize("table", ["ledger_closing", "ledger_carried", "payment_success"])
@pytest.mark.parametrize("change", ["DELETE FROM {0}", "TRUNCATE {0}"])
async def test_what_an_archive_leaves_is_append_only(
    world: World, patient: Database, folder: Path, table: str, change: str
) -> None:
    await test_what_was_booked_after_the_end_of_its_month_stays(world, patient, folder)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await patient.execute(change.format(table))


async def test_the_digest_is_the_databases(database: Database) -> None:
    for subject, minor in (("att_1", 1), ("ref_00", 10**15), ("", 7)):
        found = await database.fetch_value("SELECT entry_digest($1, $2)", subject, minor)
        assert found == entry_digest(subject, minor)


def test_the_bar_is_the_migration_that_makes_it() -> None:
    """Whoever renumbers the migration renumbers it here, too."""
    [file] = [
        one
        for one in (MIGRATIONS / "versions").glob("*.sql")
        if "CREATE TABLE archived_period" in one.read_text("utf-8")
    ]
    assert file.stem[:4] == KNOWS_ARCHIVES


async def test_a_merchants_books_are_its_own(world: World, patient: Database, folder: Path) -> None:
    other = await make_world(
        world.engine.database, Scope(merchant_id="mer_00000000000000000000000002", live=False)
    )
    await move(world, this_month() + timedelta(days=1))
    other.clock.ahead = world.clock.ahead
    await a_month(world)
    await other.paid(5)
    await other.work_until_quiet(hours=6)
    before = await books(world), await books(other)
    await archived(patient, folder, before=next_month())
    assert (await books(world), await books(other)) == before
    assert before[1] == {("merchant_payable", "CNY"): (0, 5), (RECEIVABLE, "CNY"): (5, 0)}
