"""Archiving by steps: what comes in between, what is cut off, what is damaged."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from qiao.domain.errors import InvalidInput, QiaoError
from qiao.engine import archive as module
from qiao.engine.archive import PeriodHeld, archive_periods
from qiao.engine.archive_check import check_archive
from qiao.engine.archive_files import ArchiveBroken
from qiao.engine.errors import Archived as ArchivedError
from qiao.engine.events import list_events
from qiao.engine.ledger import prove
from qiao.engine.webhooks import remove_endpoint, replay
from qiao.store.database import Database
from qiao.store.partitions import periods
from qiao.testing.world import World
from tests.engine.archiving import (
    ACTOR,
    a_month,
    archived,
    books,
    move,
    next_month,
    this_month,
)


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
        held_up = f"ledger_entry_{this_month():%Y_%m}"  # others are detached before it
        while await world.engine.database.fetch_value(pending) != held_up:
            assert not work.done()
            await asyncio.sleep(0.01)
        assert await books(world) == before
        await reader.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'ALTER%DETACH%' AND datname = current_database()"
        )
        with pytest.raises(QiaoError):
            await work
    finally:
        await reader.close()
    assert await world.engine.database.fetch_value(pending) == held_up
    assert (await books(world), (await prove(world.engine.database)).mistakes) == (before, [])
    assert len(await archived(patient, folder, before=next_month())) == 1
    assert [one.mistakes for one in await check_archive(patient, folder)] == [[], []]


async def test_a_proof_that_is_under_way_keeps_what_it_sees(
    world: World, patient: Database, folder: Path
) -> None:
    """Its snapshot is older than the change-over: the entries that it counts stay until its end."""
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    database = world.engine.database
    changed_over = "SELECT count(*) FROM archived_period WHERE archived_at IS NOT NULL"
    async with database.transaction() as queries:
        await queries.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await queries.execute("LOCK TABLE ledger_entry IN ACCESS SHARE MODE")
        before = await prove(queries)
        work = asyncio.create_task(archived(patient, folder, before=next_month()))
        while await database.fetch_value(changed_over) == 0:
            await asyncio.sleep(0.01)
        during = await prove(queries)
        assert (during.mistakes, during.entries) == ([], before.entries)
        # And nobody who pays waits for either of them.
        world.clock.ahead = next_month() + timedelta(days=1) - datetime.now(UTC)
        async with asyncio.timeout(20):
            await world.paid(5)
        assert not work.done()
    assert len(await work) == 2
    after = await prove(database)
    assert (after.mistakes, after.entries) == ([], before.entries + 1)


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


@pytest.mark.parametrize("damage", ["file", "manifest", "other_manifest", "gone"])
async def test_nothing_is_dropped_unless_the_files_are_still_those(
    world: World, patient: Database, folder: Path, damage: str
) -> None:
    await move(world, this_month() + timedelta(days=1))
    await a_month(world)
    await archived(patient, folder, before=this_month())

    with pytest.raises(StopHere):
        await archived(patient, folder, before=next_month(), step=stop_at("archived"))
    month = f"{this_month():%Y_%m}"
    file = folder / month / ("manifest.json" if "manifest" in damage else "ledger_entry.parquet")
    if damage == "gone":
        file.unlink()
    elif damage == "other_manifest":
        file.write_bytes(
            msgspec.json.encode(msgspec.json.decode(file.read_bytes()) | {"tables": {}})
        )
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
