"""A rolling upgrade: the old version's statements and its start, on the schema of the new one."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from qiao.store import migrating
from qiao.store.errors import MigrationFailed
from qiao.store.migrate import MIGRATIONS, head, migrate, migrate_with, status
from qiao.store.sql import parse_statements

RELEASES = Path(__file__).parent / "releases"
VERSIONS = sorted((MIGRATIONS / "versions").glob("*.sql"))
# The rule is younger than these.
BEFORE_THE_RULE = {"0001", "0002", "0003"}
TAKES_AWAY = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|FUNCTION|TYPE|DOMAIN|VIEW|SCHEMA)\b"
    r"|\bRENAME\b"
    r"|\bSET\s+NOT\s+NULL\b"
    r"|\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b"
    r"|\bADD\s+CONSTRAINT\b"
    r"|\bADD\s+COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b",
    re.IGNORECASE,
)
SAYS_SO = re.compile(
    r"UPDATE\s+schema_compatibility\s+SET\s+oldest_revision|^-- expands only: ", re.MULTILINE
)


def statements_of(release: Path) -> dict[str, str]:
    found = {
        f"{file.name}: {name}": sql
        for file in release.glob("*.sql")
        for name, sql in parse_statements(file.stem, file.read_text("utf-8")).items()
    }
    assert found
    return found


@pytest.mark.parametrize("release", sorted(RELEASES.iterdir()), ids=lambda folder: folder.name)
async def test_statements_of_an_older_release_still_work(release: Path, postgres_url: str) -> None:
    """PostgreSQL prepares each: every table, column, function and type that it names is there."""
    connection = await asyncpg.connect(postgres_url)
    try:
        oldest = await connection.fetchval("SELECT oldest_revision FROM schema_compatibility")
        assert release.name >= oldest, f"remove {release}: no such version may serve any more"
        for name, sql in statements_of(release).items():
            try:
                await connection.prepare(sql)
            except asyncpg.PostgresError as error:
                pytest.fail(f"{release.name}: {name}: {error}")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "path", [one for one in VERSIONS if one.stem[:4] not in BEFORE_THE_RULE], ids=lambda p: p.stem
)
def test_a_migration_that_takes_away_says_so(path: Path) -> None:
    text = path.read_text("utf-8")
    taken = TAKES_AWAY.search(text)
    if taken is not None:
        assert SAYS_SO.search(text), f"{taken[0]}: see docs/operations/upgrades.md"


@pytest.mark.parametrize(
    ("sql", "takes_away"),
    [
        ("ALTER TABLE t ADD COLUMN c text;", False),
        ("ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT '';", False),
        ("ALTER TABLE t ADD COLUMN c text DEFAULT '' NOT NULL;", False),
        ("CREATE TABLE t (c text NOT NULL);", False),
        ("ALTER TABLE t ADD COLUMN c text NOT NULL;", True),
        ("alter table t drop column c;", True),
        ("ALTER TABLE t RENAME COLUMN c TO d;", True),
        ("ALTER TABLE t ALTER COLUMN c TYPE bigint;", True),
        ("ALTER TABLE t ALTER COLUMN c SET NOT NULL;", True),
        ("ALTER TABLE t ADD CONSTRAINT positive CHECK (c > 0);", True),
    ],
)
def test_what_takes_away(sql: str, takes_away: bool) -> None:
    assert bool(TAKES_AWAY.search(sql)) is takes_away


async def newer(url: str, *, oldest: str | None) -> None:
    """As if a version after this one had migrated."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9000'")
        if oldest is None:
            await connection.execute("DROP TABLE schema_compatibility")
        else:
            await connection.execute("UPDATE schema_compatibility SET oldest_revision = $1", oldest)
    finally:
        await connection.close()


async def test_a_newer_schema_that_only_expands_is_served_and_left_alone(postgres_url: str) -> None:
    head = (await status(postgres_url)).head
    await newer(postgres_url, oldest=head)
    assert await migrate(postgres_url) == []
    assert (await status(postgres_url)).current == "9000"


@pytest.mark.parametrize("oldest", ["8999", None])
async def test_a_newer_schema_that_took_something_away_is_refused(
    postgres_url: str, oldest: str | None
) -> None:
    await newer(postgres_url, oldest=oldest)
    with pytest.raises(MigrationFailed) as refused:
        await migrate(postgres_url)
    assert "9000" in str(refused.value)
    assert "run the newer Qiao" in str(refused.value)


def test_the_newest_revision_is_the_one_that_alembic_would_migrate_to() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == head()


async def test_what_is_up_to_date_is_looked_at_without_alembic(postgres_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from qiao.store.migrate import migrate\n"
        f"print(asyncio.run(migrate({postgres_url!r})), 'alembic' in sys.modules)"
    )
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await program.communicate()
    assert told == b"[] False\n"


@pytest.fixture
def one_more(tmp_path: Path) -> Path:
    """This version's migrations and another, which takes two tables one after the other."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    newest = next((folder / "versions").glob(f"{head()}_*.py")).read_text("utf-8")
    script = re.sub(r'revision = "\d+"', 'revision = "9000"', newest, count=1)
    script = re.sub(r'down_revision = "\d+"', f'down_revision = "{head()}"', script)
    (folder / "versions" / "9000_two_tables.py").write_text(script, "utf-8")
    (folder / "versions" / "9000_two_tables.sql").write_text(
        "LOCK TABLE payment; LOCK TABLE attempt; CREATE TABLE both_locked ()", "utf-8"
    )
    return folder


async def test_a_migration_gives_way_to_who_takes_the_tables_in_another_order(
    postgres_url: str, one_more: Path
) -> None:
    """It would be a deadlock, and its victim a payment."""
    other = await asyncpg.connect(postgres_url)
    try:
        await other.execute("BEGIN; LOCK TABLE attempt")
        moving = asyncio.create_task(migrate_with(postgres_url, one_more))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        while not await other.fetchval(waits):
            await asyncio.sleep(0.01)
        await other.execute("LOCK TABLE payment")
        assert not moving.done()
        await other.execute("COMMIT")
        assert await moving == ["9000"]
        assert await other.fetchval("SELECT to_regclass('both_locked') IS NOT NULL")
    finally:
        await other.close()


async def test_a_migration_whose_table_is_never_free_says_so(
    postgres_url: str, one_more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "TRY_SECONDS", 0.0)
    other = await asyncpg.connect(postgres_url)
    try:
        await other.execute("BEGIN; LOCK TABLE attempt")
        with pytest.raises(MigrationFailed, match="lock timeout"):
            await migrate_with(postgres_url, one_more)
    finally:
        await other.close()
    assert (await status(postgres_url)).is_current
