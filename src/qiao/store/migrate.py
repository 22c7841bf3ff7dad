"""Migrations: Alembic under the hood, plain SQL on top, forward only.

A migration is a pair of files in ``migrations/versions``: ``NNNN_words.sql`` holds the SQL, any
number of statements, and ``NNNN_words.py`` its place in the sequence (copy an existing one).
Each runs in one transaction together with the record that it ran, so that a broken one leaves
nothing half done; those before it stay.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from qiao.store.connecting import Connector
from qiao.store.database import SERVER_SETTINGS, connecting
from qiao.store.errors import MigrationFailed

MIGRATIONS = Path(__file__).parent / "migrations"
# Any constant does, as long as nobody else locks it in the same database.
ADVISORY_LOCK = 0x7169616F  # "qiao"
WAIT_FOR_OTHERS_SECONDS = 600
# A migration that waits for a table's lock makes everybody queue behind it: rather give up.
WAIT_FOR_TABLES_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaStatus:
    """Where a database stands: the revision it is at (None when empty), and the newest one."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        return self.current == self.head


async def migrate(url: str) -> list[str]:
    """Bring the database to this version's schema; the revisions that were applied, in order.

    Safe to call from any number of processes at once: one works, the others wait and find
    nothing left to do. A newer schema that this version may still serve on is left as it is.
    Raises MigrationFailed, or StoreUnavailable.
    """
    return await migrate_with(url, MIGRATIONS)


async def migrate_with(url: str, migrations: Path) -> list[str]:
    """``migrate`` by the scripts of another folder, which holds an env.py and ``versions``."""
    applied: list[str] = []
    async with _connect(url) as connection:
        # Held by the session, because every migration is a transaction of its own; the end of
        # the session gives it back, however it ends.
        await connection.exec_driver_sql(f"SET lock_timeout = '{WAIT_FOR_OTHERS_SECONDS}s'")
        await connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        await connection.commit()
        await connection.run_sync(partial(_upgrade, migrations=migrations, applied=applied))
    return applied


async def status(url: str) -> SchemaStatus:
    """Where the database stands; changes nothing. Raises StoreUnavailable."""
    with connecting(url):
        connection = await Connector(url)(server_settings=SERVER_SETTINGS)
        try:
            current = None
            if await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
                current = await connection.fetchval("SELECT version_num FROM alembic_version")
        finally:
            await connection.close()
    return SchemaStatus(current=current, head=head())


def head() -> str:
    """The newest revision that this version knows. Revisions sort by age."""
    return str(ScriptDirectory.from_config(_config(MIGRATIONS)).get_current_head())


def run_sql(script: str) -> None:
    """For a migration's ``upgrade``: run the ``.sql`` file beside ``script`` (its __file__)."""
    connection = op.get_bind()
    # SQLAlchemy prepares what goes through it, which allows one statement at a time; the driver
    # takes the whole file. But only SQLAlchemy begins the transaction, and does so with the
    # first statement that it sees: this one.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_FOR_TABLES_SECONDS}s'")
    sql = Path(script).with_suffix(".sql").read_text("utf-8")
    adapted = connection.connection.dbapi_connection
    if adapted is None:
        raise MigrationFailed("the connection was closed in the middle of a migration")
    adapted.run_async(lambda raw: raw.execute(sql))
    if not adapted.driver_connection.is_in_transaction():
        raise MigrationFailed(f"{Path(script).stem}.sql ends the transaction it runs in")


def forward_only() -> NoReturn:
    """Every migration's ``downgrade``."""
    raise MigrationFailed("Qiao's schema goes forward only; to go back, restore a backup")


def _upgrade(connection: Connection, *, migrations: Path, applied: list[str]) -> None:
    config = _config(migrations)
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current and current not in {script.revision for script in scripts.walk_revisions()}:
        _check_newer(connection, current=current, known=str(scripts.get_current_head()))
        return
    connection.commit()  # what was read began a transaction; each migration wants its own
    config.attributes["connection"] = connection
    config.attributes["applied"] = applied
    command.upgrade(config, "head")


def _check_newer(connection: Connection, *, current: str, known: str) -> None:
    """Whether a schema that a newer version made serves this one too. Raises MigrationFailed."""
    oldest = None
    if connection.exec_driver_sql("SELECT to_regclass('schema_compatibility')").scalar():
        select = "SELECT oldest_revision FROM schema_compatibility"
        oldest = connection.exec_driver_sql(select).scalar()
    if oldest is None or known < oldest:
        raise MigrationFailed(
            f"the database is at revision {current} and serves versions that know"
            f" {oldest or current}, this one knows {known} at most: run the newer Qiao"
        )


def _config(migrations: Path) -> Config:
    config = Config()
    # Alembic reads a percent sign as the beginning of an interpolation.
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection of Alembic's kind, and errors of ours."""
    settings = SERVER_SETTINGS | {"statement_timeout": "0"}  # an index may take its time
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        async_creator=partial(Connector(url), server_settings=settings),
    )
    try:
        with connecting(url):
            connection = await engine.connect()
        try:
            yield connection
        except CommandError as error:
            raise MigrationFailed(
                "the database was migrated by a newer Qiao, or the migrations of this one are"
                f" inconsistent: {error}"
            ) from error
        except (DBAPIError, asyncpg.PostgresError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise MigrationFailed(f"PostgreSQL refused a migration: {cause}") from error
        finally:
            await connection.close()
    finally:
        await engine.dispose()
