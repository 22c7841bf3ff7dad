"""Migrations: Alembic under the hood, plain SQL on top, forward only.

A migration is a pair of files in ``migrations/versions``: ``NNNN_words.sql`` holds the SQL, any
number of statements, and ``NNNN_words.py`` its place in the sequence (copy an existing one).
Each runs in one transaction together with the record that it ran, so that a broken one leaves
nothing half done; those before it stay.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from qiao.store.connecting import Connector
from qiao.store.database import SERVER_SETTINGS, connecting
from qiao.store.errors import MigrationFailed

MIGRATIONS = Path(__file__).parent / "migrations"
# A migration that waits for a table's lock makes everybody queue behind it, and one that holds
# another's already may wait for ever. It gives up before PostgreSQL looks for a deadlock (after a
# second), whose victim may be a payment; qiao.store.migrating tries it again.
LOCK_TIMEOUT = "800ms"


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
    if (await status(url)).is_current:
        return []
    return await migrate_with(url, MIGRATIONS)


async def migrate_with(url: str, migrations: Path) -> list[str]:
    """``migrate`` by the scripts of another folder, which holds an env.py and ``versions``."""
    from qiao.store.migrating import upgrade

    return await upgrade(url, migrations)


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
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*_*.sql"))


def run_sql(script: str) -> None:
    """For a migration's ``upgrade``: run the ``.sql`` file beside ``script`` (its __file__)."""
    from alembic import op

    connection = op.get_bind()
    # SQLAlchemy prepares what goes through it, which allows one statement at a time; the driver
    # takes the whole file. But only SQLAlchemy begins the transaction, and does so with the
    # first statement that it sees: this one.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
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
