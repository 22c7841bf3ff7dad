"""Partitions by time: made ahead, never in a payment's way, and made of what was there before."""

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.ids import RANDOM_BYTES, IdKind, first_id, made_at, new_id
from qiao.engine.accounts import Accounts
from qiao.engine.ledger import balances, prove
from qiao.engine.refunds import refund
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Database, open_database
from qiao.store.migrate import MIGRATIONS, migrate, migrate_with
from qiao.store.partitions import (
    EMPTY_TIME,
    LATER,
    MAX_SPAN_MONTHS,
    MONTHS_AHEAD,
    TABLES,
    bound_at,
    make_ahead,
    moment_of,
    month_after,
    periods,
    periods_ahead_seconds,
)
from qiao.store.sql import load_statements
from qiao.testing.bank import BANK
from qiao.testing.world import World, make_world


def making(table: str) -> str:
    """The revision of the migration that makes a table."""
    [file] = [
        one
        for one in (MIGRATIONS / "versions").glob("*.sql")
        if f"CREATE TABLE {table} " in one.read_text("utf-8")
    ]
    return file.stem[:4]


FIRST, LAST = making("payment_success"), making("archived_period")
"""Of the migrations that make the partitions."""
WEBHOOKS, PAYMENTS = load_statements("webhooks"), load_statements("payments")
MOMENTS = st.integers(1_577_836_800, 4_102_444_800).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


async def names(database: Database) -> list[str]:
    return [one.name for one in await periods(database)]


def months(first: int, last: int) -> list[str]:
    """Of those months from this one."""
    return [f"{month_after(datetime.now(UTC), one):%Y_%m}" for one in range(first, last + 1)]


@given(MOMENTS, st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_a_bound_lies_between_the_ids_of_before_and_after(moment: datetime, random: bytes) -> None:
    bound = first_id(IdKind.EVENT, moment)
    assert new_id(IdKind.EVENT, now=moment, random=random) >= bound
    earlier = moment - timedelta(milliseconds=1)
    assert new_id(IdKind.EVENT, now=earlier, random=random) < bound
    assert abs(made_at(bound + EMPTY_TIME) - moment) < timedelta(milliseconds=1)


@given(MOMENTS, st.integers(-30, 30))
def test_months(moment: datetime, count: int) -> None:
    month = month_after(moment, count)
    assert (month.day, month.hour, month.tzinfo) == (1, 0, UTC)
    assert (month.year * 12 + month.month) - (moment.year * 12 + moment.month) == count


async def test_the_databases_bound_is_ours(database: Database) -> None:
    for moment in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, 23, 59, tzinfo=UTC)):
        assert await database.fetch_value("SELECT event_id_at($1)", moment) == bound_at(moment)
        assert moment_of(bound_at(moment)) == moment


async def test_a_new_database_has_this_month_and_the_next_ones(database: Database) -> None:
    found = await periods(database)
    assert [one.name for one in found] == [
        f"until_{months(0, 0)[0]}",
        *months(0, MONTHS_AHEAD),
        LATER,
    ]
    assert all(list(one.tables) == sorted(TABLES) for one in found)
    for one, following in pairwise(found):
        assert one.upper_id == following.lower_id
    assert await make_ahead(database, datetime.now(UTC)) == ()


async def test_months_are_made_as_time_passes(database: Database) -> None:
    now = month_after(datetime.now(UTC), 2) + timedelta(days=9)
    assert await make_ahead(database, now) == months(MONTHS_AHEAD + 1, MONTHS_AHEAD + 2)
    assert (await names(database))[1:] == [*months(0, MONTHS_AHEAD + 2), LATER]
    assert await make_ahead(database, now) == ()
    ahead = await periods_ahead_seconds(database, now)
    assert ahead == (month_after(now, MONTHS_AHEAD + 1) - now).total_seconds()
    # Each is as the first ones are: its triggers, its keys and its indexes.
    assert not (await prove(database)).mistakes
    for table in TABLES:
        shapes = await database.fetch(
            "SELECT relid::regclass::text AS name, (SELECT count(*) FROM pg_index WHERE indrelid ="
            " relid) AS indexes, (SELECT count(*) FROM pg_constraint WHERE conrelid = relid AND"
            " contype <> 'n') AS keys, (SELECT count(*) FROM pg_trigger WHERE tgrelid = relid AND"
            " NOT tgisinternal) AS triggers FROM pg_partition_tree($1) WHERE isleaf",
            table,
        )
        assert len({(row["indexes"], row["keys"], row["triggers"]) for row in shapes}) == 1


async def test_several_make_them_at_once(database: Database) -> None:
    now = month_after(datetime.now(UTC), 3)
    made = await asyncio.gather(*(make_ahead(database, now) for _ in range(4)))
    assert sorted(map(len, made)) == [0, 0, 0, 3]


async def test_a_payment_without_a_month_is_kept_and_gets_one(database: Database) -> None:
    world = await make_world(database)
    world.clock.ahead = timedelta(days=400)
    payment = await world.paid(1000)
    where = await database.fetch("SELECT tableoid::regclass::text AS place FROM event")
    assert {row["place"] for row in where} == {"event_later"}
    assert await periods_ahead_seconds(database, world.clock()) < 0
    [made] = await make_ahead(database, world.clock())
    end = month_after(world.clock(), MONTHS_AHEAD + 1)
    assert made == f"until_{end:%Y_%m}"
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=10)
    world.clock.ahead = end - datetime.now(UTC) + timedelta(days=1)
    await world.paid(5)
    where = await database.fetch("SELECT DISTINCT tableoid::regclass::text AS place FROM event")
    assert {row["place"] for row in where} == {f"event_{made}", "event_later"}
    assert not (await prove(database)).mistakes
    await make_ahead(database, world.clock())
    assert not (await prove(database)).mistakes
    assert await periods_ahead_seconds(database, world.clock()) > 0


async def test_a_clock_that_was_years_ahead_makes_no_partition_of_years(
    database: Database,
) -> None:
    world = await make_world(database)
    world.clock.ahead = timedelta(days=31 * (MAX_SPAN_MONTHS + 2))
    await world.paid(1000)
    before = await names(database)
    assert await make_ahead(database, month_after(datetime.now(UTC), 2)) == ()
    assert await names(database) == before
    world.clock.ahead = timedelta()
    await world.paid(1000)


async def test_nobody_waits_long_for_it(database: Database, postgres_url: str) -> None:
    """While somebody reads for long, it gives up at once and tries again; writers get through."""
    world = await make_world(database)
    reader = await asyncpg.connect(postgres_url)
    try:
        await reader.execute("BEGIN; SELECT FROM event LIMIT 1")
        making = asyncio.create_task(make_ahead(database, month_after(datetime.now(UTC), 1)))
        for _ in range(5):
            async with asyncio.timeout(5):
                await world.paid(1000)
        assert not making.done()
        await reader.execute("COMMIT")
        assert len(await making) == 1
    finally:
        await reader.close()


@pytest.mark.parametrize("table", ["event", "ledger_entry"])
@pytest.mark.parametrize("change", ["DELETE FROM {0}", "TRUNCATE {0} CASCADE"])
async def test_partitions_are_append_only_by_themselves(
    database: Database, table: str, change: str
) -> None:
    await (await make_world(database)).paid(1000)
    for name in await names(database):
        [kept] = await database.fetch(f"SELECT count(*) AS rows FROM {table}_{name}")
        if kept["rows"] or "TRUNCATE" in change:
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await database.execute(change.format(f"{table}_{name}"))


async def test_a_payment_is_paid_once_in_whatever_month(database: Database) -> None:
    world = await make_world(database)
    payment = await world.paid(1000)
    again = (
        "INSERT INTO event (merchant_id, event_id, live, payment_id, type, data)"
        " VALUES ($1, $2, false, $3, 'payment.paid', '{}')"
    )
    for days in (0, 40, 400):
        event_id = first_id(IdKind.EVENT, datetime.now(UTC) + timedelta(days=days)) + "0" * 16
        with pytest.raises(asyncpg.UniqueViolationError, match="one_success"):
            await database.execute(again, world.scope.merchant_id, event_id, payment.payment_id)
    assert await world.events(payment) == ["payment.created", "payment.paid"]


# From the schema before


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The migrations of the version before."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for one in (folder / "versions").iterdir():
        if one.is_file() and one.stem[:4] >= FIRST:
            one.unlink()
    return folder


async def content(database: Database) -> dict[str, list[Any]]:
    """What is in the tables, row by row."""
    return {
        table: [
            tuple(row) for row in await database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        ]
        for table in TABLES
    }


async def test_what_is_there_becomes_the_first_partition(
    empty_postgres_url: str, older: Path
) -> None:
    await migrate_with(empty_postgres_url, older)
    async with open_database(empty_postgres_url, min_size=1, max_size=4) as database:
        world = await make_world(database)
        await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
        payments = [await world.paid(1000 + number) for number in range(3)]
        await refund(world.engine, world.scope, payments[0].payment_id, amount_minor=10)
        await world.work()
        files = await database.fetch(
            "SELECT relname, relfilenode FROM pg_class WHERE relname = ANY ($1) ORDER BY 1",
            list(TABLES),
        )
        before = await content(database)
    assert len(await migrate(empty_postgres_url)) >= 3
    async with open_database(empty_postgres_url, min_size=1, max_size=4) as database:
        world = replace(world, engine=_on(world, database))
        assert await content(database) == before
        [first, *others] = await periods(database)
        assert first.until == month_after(datetime.now(UTC) + timedelta(days=28), 2) or (
            first.until == month_after(datetime.now(UTC), 2)
        )
        assert first.until - datetime.now(UTC) > timedelta(days=28)
        assert others[-1].name == LATER
        moved = await database.fetch(
            "SELECT relname, relfilenode FROM pg_class WHERE relname = ANY ($1) ORDER BY 1",
            [f"{table}_{first.name}" for table in TABLES],
        )
        # The very same files: no row was written anew.
        assert [row["relfilenode"] for row in moved] == [row["relfilenode"] for row in files]
        assert await database.fetch_value("SELECT count(*) FROM payment_success") == 3
        assert not (await prove(database)).mistakes
        invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        assert await database.fetch_value(invalid) == 0
        checks = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'ids_before_%'"
        assert await database.fetch_value(checks) == 0
        await refund(world.engine, world.scope, payments[1].payment_id, amount_minor=10)
        world.clock.ahead = timedelta(days=75)
        await world.paid(7)
        await world.work()
        assert not (await prove(database)).mistakes
        assert len(await balances(world.engine, world.scope)) == 3
        places = await database.fetch("SELECT DISTINCT tableoid::regclass::text FROM event")
        assert len(places) == 2


async def test_attaching_what_is_there_reads_none_of_it(
    empty_postgres_url: str, older: Path
) -> None:
    """PostgreSQL says that the proven checks are enough, and builds indexes of new tables alone."""
    await migrate_with(empty_postgres_url, older)
    async with open_database(empty_postgres_url, min_size=1, max_size=4) as database:
        await (await make_world(database)).paid(1000)
    told: list[str] = []
    connection = await asyncpg.connect(empty_postgres_url)
    connection.add_log_listener(lambda _, message: told.append(str(message.message)))
    steps = [
        one
        for one in sorted((MIGRATIONS / "versions").glob("*.sql"))
        if FIRST <= one.stem[:4] <= LAST
    ]
    try:
        for step in steps:
            async with connection.transaction():
                await connection.execute("SET LOCAL client_min_messages = debug1")
                await connection.execute(step.read_text("utf-8"))
    finally:
        await connection.close()
    implied = [one for one in told if "is implied by existing constraints" in one]
    assert [one.split('"')[1].partition("_until")[0] for one in implied] == list(TABLES)
    built = [one for one in told if one.startswith("building index")]
    assert built
    assert not [one for one in built if one.split('"')[3].startswith(TABLES) and "_until_" in one]


def _on(world: World, database: Database) -> Any:
    accounts = Accounts(database=database, seal=world.engine.seal, channels={"bank": BANK})
    return replace(world.engine, database=database, accounts=accounts)


async def test_it_migrates_while_payments_run(empty_postgres_url: str, older: Path) -> None:
    """The version before serves on, through each of the steps, and nothing fails or is lost."""
    await migrate_with(empty_postgres_url, older)
    async with open_database(empty_postgres_url, min_size=4, max_size=8) as database:
        world = await make_world(database)
        await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
        await world.paid(1)
        stop = asyncio.Event()
        paid: list[str] = []

        async def shop() -> None:
            while not stop.is_set():
                paid.append((await world.paid(1000)).payment_id)
                await world.work()

        shops = [asyncio.create_task(shop()) for _ in range(3)]
        while len(paid) < 5:
            await asyncio.sleep(0.01)
        await migrate(empty_postgres_url)
        enough = len(paid) + 5
        while len(paid) < enough and not any(one.done() for one in shops):
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*shops)
        told = await database.fetch_value("SELECT count(*) FROM event WHERE type = 'payment.paid'")
        assert told == len(paid) + 1
        assert await database.fetch_value("SELECT count(*) FROM payment_success") == told
        assert await database.fetch_value("SELECT count(*) FROM ledger_entry") == told
        assert not (await prove(database)).mistakes


# Plans


async def touched(database: Database, sql: str, *args: object) -> set[str]:
    """The partitions that the statement's generic plan opens when it runs with these values."""
    found: set[str] = set()

    def walk(node: dict[str, Any]) -> None:
        name = node.get("Relation Name", "")
        if name.startswith(TABLES) and node["Node Type"] != "ModifyTable" and node["Actual Loops"]:
            found.add(name)
        for one in node.get("Plans", ()):
            walk(one)

    class Undone(Exception):
        pass

    try:
        async with database.transaction() as queries:
            await queries.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            told = await queries.fetch_value(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *args)
            walk(json.loads(told)[0]["Plan"])
            raise Undone
    except Undone:
        return found


async def test_statements_open_the_partitions_that_they_need(database: Database) -> None:
    world = await make_world(database)
    endpoint, _ = await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
    merchant, live = world.scope.merchant_id, world.scope.live
    for days in (0, 35, 70):
        world.clock.ahead = timedelta(days=days)
        await world.paid(1000)
    [event_id, *_] = [
        row["event_id"] for row in await database.fetch("SELECT event_id FROM event ORDER BY 1")
    ]
    newest = await database.fetch_value("SELECT max(event_id) FROM event")
    month = {f"{table}_{months(0, 0)[0]}" for table in ("event", "webhook_delivery")}
    event = {name for name in month if name.startswith("event")}
    one = (merchant, event_id, endpoint.endpoint_id)
    assert await touched(database, WEBHOOKS.delivery, *one) == month
    assert await touched(database, WEBHOOKS.note_delivery, *one, "pending", 1, "") == month - event
    assert await touched(database, WEBHOOKS.trace_of_event, merchant, event_id) <= event
    assert (
        await touched(database, WEBHOOKS.replay, merchant, live, event_id, endpoint.endpoint_id)
        == event
    )
    # A page that is full opens no older month than it shows, by the newest ids and by a cursor.
    page = await touched(database, PAYMENTS.events, merchant, live, None, None, 2)
    assert {name for name in page if not name.endswith(LATER)} <= {
        f"event_{one}" for one in months(2, MONTHS_AHEAD)
    }
    after = await touched(database, PAYMENTS.events_after, merchant, live, None, newest, 100)
    assert not after & {f"event_{one}" for one in months(0, 1)}


@pytest.mark.parametrize("name", ["accept_payment", "accept_and_attempt", "settle_paid"])
async def test_the_busiest_statements_only_write(database: Database, name: str) -> None:
    """They read no partition at all: a row finds its own, and no other is locked."""
    async with database.transaction() as queries:
        await queries.execute(
            "CREATE FUNCTION pg_temp.plan(statement text, OUT told json) LANGUAGE plpgsql AS $$"
            " BEGIN EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO told; END $$"
        )
        plan = await queries.fetch_value("SELECT pg_temp.plan($1)", PAYMENTS[name])
        locked = await queries.fetch(
            "SELECT relation::regclass::text AS name FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND relation::regclass::text ~ '^(event|ledger_entry|webhook_delivery)'"
        )
    scans = [
        node
        for node in _nodes(json.loads(plan)[0]["Plan"])
        if node.get("Relation Name", "").startswith(TABLES) and node["Node Type"] != "ModifyTable"
    ]
    assert scans == []
    assert {row["name"] for row in locked} <= set(TABLES)
    assert locked


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for one in node.get("Plans", ()) for below in _nodes(one))]
