"""What ``qiao.store.migrate`` does where there is something to do.

Apart from it, because Alembic and SQLAlchemy take a third of a second and tens of megabytes, which
every command and every server would pay for nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
from alembic import command
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

# Any constant does, as long as nobody else locks it in the same database.
ADVISORY_LOCK = 0x7169616F  # "qiao"
WAIT_FOR_OTHERS_SECONDS = 600
TRY_SECONDS = 60.0
"""For how long a migration is tried again whose tables somebody else has locked."""
PAUSE_SECONDS = 0.5


async def upgrade(url: str, migrations: Path) -> list[str]:
    """``migrate_with``, whether or not there is something to do."""
    applied: list[str] = []
    async with _connect(url) as connection:
        # Held by the session, because every migration is a transaction of its own; the end of
        # the session gives it back, however it ends.
        await connection.exec_driver_sql(f"SET lock_timeout = '{WAIT_FOR_OTHERS_SECONDS}s'")
        await connection.exec_driver_sql(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        await connection.commit()
        work = partial(_upgrade, migrations=migrations, applied=applied)
        end = time.monotonic() + TRY_SECONDS
        while True:
            try:
                await connection.run_sync(work)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if time.monotonic() > end:
                    raise
                await connection.rollback()  # those before it stay
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return applied


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
