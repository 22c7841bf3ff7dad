"""An archiving that is killed before any of its statements loses nothing, and goes on when told."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from qiao.engine.actors import Actor
from qiao.engine.archive import archive_periods
from qiao.engine.archive_check import check_archive
from qiao.engine.archive_files import MANIFEST
from qiao.engine.ledger import balances, prove
from qiao.engine.refunds import refund
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Connection, Database, open_database
from qiao.store.partitions import TABLES, month_after
from qiao.testing.world import World, make_world

EVERY = int(os.environ.get("QIAO_TEST_ARCHIVE_KILLS_EVERY", "7"))
"""Of the statements; 1 tries them all and takes some minutes."""


class Mortal(Database):
    """Dies before its nth statement, or instead of committing its nth transaction."""

    left: int

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        self._count()
        return await super().fetch(sql, *args)

    async def fetch_row(self, sql: str, *args: object) -> asyncpg.Record | None:
        self._count()
        return await super().fetch_row(sql, *args)

    async def fetch_value(self, sql: str, *args: object) -> Any:
        self._count()
        return await super().fetch_value(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        self._count()
        return await super().execute(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with super().transaction() as connection:
            yield connection
            self._count()


async def archive_and_die(url: str, folder: Path, statements: int) -> None:
    """What the killed process runs."""
    before = month_after(datetime.now(UTC), 1)
    async with open_database(url, min_size=2, max_size=2, patient=True) as opened:
        mortal = Mortal(opened._pool)
        mortal.left = statements
        await archive_periods(
            mortal,
            before=before,
            folder=folder,
            now=before + timedelta(days=400),
            actor=Actor(kind="command", id="test"),
        )


async def killed_after(url: str, folder: Path, statements: int) -> bool:
    """Whether it was; otherwise it came to its end."""
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from tests.crash.test_archive_killed import archive_and_die;"
        "asyncio.run(archive_and_die(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        url,
        str(folder),
        str(statements),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), told.decode()
    return process.returncode != 0


async def all_gone(database: Database) -> None:
    """PostgreSQL has noticed that the one that was killed is no more."""
    while await database.fetch_value(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ):
        await asyncio.sleep(0.01)


async def rows_of(database: Database, folder: Path) -> dict[str, int]:
    """In the database or in an archive: where the manifest is known, the files are it."""
    found = {}
    for table in TABLES:
        found[table] = await database.fetch_value(f"SELECT count(*) FROM {table}")
    checked = await check_archive(database, folder)
    known = await database.fetch("SELECT period FROM archived_period WHERE archived_at IS NOT NULL")
    assert {one.period for one in checked} >= {row["period"] for row in known}
    for one in checked:
        if one.period in {row["period"] for row in known}:
            assert not one.mistakes, one
    return found


async def history(database: Database) -> World:
    world = await make_world(database)
    await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
    payments = [await world.paid(1000 + number) for number in range(4)]
    await refund(world.engine, world.scope, payments[0].payment_id, amount_minor=300)
    await world.work_until_quiet(hours=6)
    return world


async def test_killed_before_each_of_its_statements(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    world = await history(database)
    before = await balances(world.engine, world.scope)
    folder = tmp_path / "archive"
    deaths, statements = 0, 1
    while await killed_after(postgres_url, folder, statements):
        deaths, statements = deaths + 1, statements + EVERY
        await all_gone(database)
        assert await balances(world.engine, world.scope) == before
        assert not (await prove(database)).mistakes
        await rows_of(database, folder)
    assert deaths > 3
    assert await balances(world.engine, world.scope) == before
    assert not (await prove(database)).mistakes
    checked = await check_archive(database, folder)
    assert len(checked) == len(list(folder.glob(f"*/{MANIFEST}"))) == 2
    assert not any(one.mistakes for one in checked)
    assert checked[1].rows["ledger_entry"] == 6
    assert await database.fetch_value("SELECT count(*) FROM ledger_entry") == 0
    parts = await database.fetch_value(
        "SELECT count(*) FROM pg_class WHERE relname = $1", f"event_{datetime.now(UTC):%Y_%m}"
    )
    assert parts == 0
