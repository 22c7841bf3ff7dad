"""A merchant's month, lived by the world's clock, and its way to an archive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from qiao.engine.actors import Actor
from qiao.engine.archive import Archived, archive_periods
from qiao.engine.ledger import balances
from qiao.engine.refunds import refund
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Database
from qiao.store.partitions import month_after, periods
from qiao.testing.world import World

ACTOR = Actor(kind="command", id="test")
URL = "https://shop.invalid/hook"


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
