"""An archive changes no balance, takes nothing that is needed, and drops only what was verified."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from qiao.domain.errors import InvalidInput, QiaoError
from qiao.domain.ids import IdKind, first_id
from qiao.engine import archive as module
from qiao.engine.actors import Actor
from qiao.engine.archive import KNOWS_ARCHIVES, Archived, PeriodHeld, archive_periods
from qiao.engine.archive_check import check_archive
from qiao.engine.archive_files import ArchiveBroken, entry_digest
from qiao.engine.audit import check, list_entries
from qiao.engine.errors import Archived as ArchivedError
from qiao.engine.events import events_after, list_events
from qiao.engine.ledger import balances, prove, statement_of_account
from qiao.engine.payments import show
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.engine.webhooks import add_endpoint, remove_endpoint, replay
from qiao.store.database import Database, open_database
from qiao.store.migrate import MIGRATIONS
from qiao.store.partitions import TABLES, month_after, periods
from qiao.testing.bank import Fault
from qiao.testing.world import ACCOUNT_ID, World, make_world

ACTOR = Actor(kind="command", id="test")
RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"
URL = "https://shop.invalid/hook"


@pytest_asyncio.fixture
async def patient(postgres_url: str) -> AsyncIterator[Database]:
    async with open_database(postgres_url, min_size=2, max_size=2, patient=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def this_month() -> datetime:
    return month_after(datetime.now(UTC))


def next_month() -> datetime:
    return month_after(datetime.now(UTC), 1)


async def booked_by_the_worlds_clock(world: World) -> None:
    """What the database would do if it lived in the world's time, too."""
    execute = world.engine.database.execute
    await execute("CREATE TABLE IF NOT EXISTS ahead (span interval)")
    await execute("DELETE FROM ahead")
    await execute("INSERT INTO ahead VALUES ($1)", world.clock.ahead)
    await execute(
        "CREATE OR REPLACE FUNCTION moved_now() RETURNS timestamptz LANGUAGE sql STABLE AS"
        " 'SELECT now() + (SELECT span FROM ahead)'"
    )
    await execute("ALTER TABLE event ALTER created_at SET DEFAULT moved_now()")
    await execute("ALTER TABLE ledger_entry ALTER booked_at SET DEFAULT moved_now()")


async def move(world: World, to: datetime) -> None:
    world.clock.ahead = to - datetime.now(UTC)
    await booked_by_the_worlds_clock(world)


async def archived(
    database: Database, folder: Path, *, before: datetime, **more: object
) -> list[Archived]:
    now = before + timedelta(days=400)
    return await archive_periods(
        database,
        before=before,
        folder=folder,
        now=now,
        actor=ACTOR,
        **more,  # type: ignore[arg-type]
    )


async def a_month(world: World) -> list[str]:
    """A month in which some payments, refunds and webhooks came to their end."""
    await add_endpoint(world.engine, world.scope, URL)
    payments = [await world.paid(1000 + number) for number in range(5)]
    await refund(world.engine, world.scope, payments[0].payment_id, amount_minor=300)
    await world.accept(500)
    await world.work_until_quiet(hours=6)
    return [one.payment_id for one in payments]


async def books(world: World) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (one.account, one.currency): (one.debits_minor, one.credits_minor)
        for one in await balances(world.engine, world.scope)
    }


async def names(database: Database) -> list[str]:
    return [one.name for one in await periods(database)]


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


@pytest.mark.parametrize(
    ("happening", "kinds"),
    [
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


async def test_what_comes_while_it_freezes_thaws_it(
    world: World, patient: Database, folder: Path
) -> None:
    """A replay between the first look and the trigger: the second look finds it."""
    await move(world, this_month() + timedelta(days=1))
    [payment_id, *_] = await a_month(world)
    [event, *_] = await list_events(world.engine, world.scope, payment_id=payment_id)
    [endpoint] = await world.engine.database.fetch("SELECT endpoint_id FROM webhook_endpoint")
    month = f"{this_month():%Y_%m}"
    # Frozen, as a run that was killed before its second look left it.
    [period] = [one for one in await periods(patient) if one.name == month]
    await archived(patient, folder, before=this_month())
    await replay(world.engine, world.scope, endpoint["endpoint_id"], event.event_id)
    await module._freeze(patient, period)
    with pytest.raises(ArchivedError, match="on its way"):
        await replay(world.engine, world.scope, endpoint["endpoint_id"], event.event_id)
    with pytest.raises(asyncpg.PostgresError) as sealed:
        await world.paid(98)
    assert sealed.value.sqlstate == "QA001"
    with pytest.raises(PeriodHeld):
        await archived(patient, folder, before=next_month())
    await world.work()
    await world.paid(99)
    await world.work_until_quiet(hours=6)
    assert [one.period for one in await archived(patient, folder, before=next_month())] == [month]
    assert not (await prove(patient)).mistakes


class StopHere(Exception):
    """The archiving is cut off, without its death."""


def stop_at(wanted: str) -> Callable[[str, str], None]:
    def stop(_: str, step: str) -> None:
        if step == wanted:
            raise StopHere

    return stop


@pytest.mark.parametrize("moment", ["written", "archived"])
async def test_an_endpoint_may_go_while_its_month_is_frozen(
    world: World, patient: Database, folder: Path, moment: str
) -> None:
    """Its deliveries go with it; files that hold more than the database are no reason to stop."""
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    await archived(patient, folder, before=this_month())
    [endpoint] = await world.engine.database.fetch("SELECT endpoint_id FROM webhook_endpoint")
    with pytest.raises(StopHere):
        await archived(patient, folder, before=next_month(), step=stop_at(moment))
    month = f"{this_month():%Y_%m}"
    path = folder / month / "webhook_delivery.parquet"
    columns = await module._columns(patient, "webhook_delivery")
    if moment == "written":
        await module._verify(patient, month, "webhook_delivery", path, columns)
    await remove_endpoint(world.engine, world.scope, endpoint["endpoint_id"])
    assert await patient.fetch_value(f"SELECT count(*) FROM webhook_delivery_{month}") == 0
    if moment == "written":
        await module._verify(patient, month, "webhook_delivery", path, columns)
    [done] = await archived(patient, folder, before=next_month())
    assert (done.rows["webhook_delivery"] > 0) is (moment == "archived")
    assert [one.mistakes for one in await check_archive(patient, folder)] == [[], []]


async def test_a_detaching_that_was_cut_off_is_finished(
    world: World, patient: Database, folder: Path, postgres_url: str
) -> None:
    """Between its two transactions PostgreSQL leaves a partition that is neither in nor out."""
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    before = await books(world)
    await archived(patient, folder, before=this_month())
    pending = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
    reader = await asyncpg.connect(postgres_url)
    try:
        await reader.execute("BEGIN; SELECT FROM ledger_entry LIMIT 1")
        work = asyncio.create_task(archived(patient, folder, before=next_month()))
        while not (found := await world.engine.database.fetch_value(pending)):
            await asyncio.sleep(0.01)
        assert found == f"ledger_entry_{this_month():%Y_%m}"
        assert await books(world) == before
        await reader.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'ALTER%DETACH%' AND datname = current_database()"
        )
        with pytest.raises(QiaoError):
            await work
    finally:
        await reader.close()
    assert await world.engine.database.fetch_value(pending) == found
    assert (await books(world), (await prove(world.engine.database)).mistakes) == (before, [])
    assert len(await archived(patient, folder, before=next_month())) == 1
    assert [one.mistakes for one in await check_archive(patient, folder)] == [[], []]


async def test_too_young(patient: Database, folder: Path) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidInput) as refused:
        await archive_periods(patient, before=now, folder=folder, now=now, actor=ACTOR)
    assert refused.value.field == "before"


async def test_one_at_a_time(patient: Database, folder: Path, postgres_url: str) -> None:
    other = await asyncpg.connect(postgres_url)
    try:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('archive', 0))")
        with pytest.raises(InvalidInput, match="under way"):
            await archived(patient, folder, before=this_month())
    finally:
        await other.close()


@pytest.mark.parametrize("damage", ["file", "manifest", "gone"])
async def test_nothing_is_dropped_unless_the_files_are_still_those(
    world: World, patient: Database, folder: Path, damage: str
) -> None:
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    await archived(patient, folder, before=this_month())

    with pytest.raises(StopHere):
        await archived(patient, folder, before=next_month(), step=stop_at("archived"))
    month = f"{this_month():%Y_%m}"
    file = folder / month / ("manifest.json" if damage == "manifest" else "ledger_entry.parquet")
    if damage == "gone":
        file.unlink()
    else:
        with file.open("r+b") as opened:
            opened.seek(-20, os.SEEK_END)
            byte = opened.read(1)
            opened.seek(-1, os.SEEK_CUR)
            opened.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ArchiveBroken):
        await archived(patient, folder, before=next_month())
    assert await patient.fetch_value(f"SELECT count(*) FROM ledger_entry_{month}") == 7
    assert [bool(one.mistakes) for one in await check_archive(patient, folder)] == [False, True]
    # The books are right all the while.
    assert not (await prove(patient)).mistakes


async def test_another_folder_is_refused_while_one_is_unfinished(
    world: World, patient: Database, folder: Path
) -> None:
    with pytest.raises(StopHere):
        await archived(patient, folder, before=this_month(), step=stop_at("archived"))
    with pytest.raises(InvalidInput) as refused:
        await archived(patient, folder.parent / "other", before=this_month())
    assert refused.value.field == "to"


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
