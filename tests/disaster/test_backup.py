"""Backups of a real server, restored to a moment between two payments, and proved by the books."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from qiao.crypto.sealing import Seal
from qiao.engine.ledger import prove
from qiao.store.backup import for_libpq
from qiao.store.database import open_database
from qiao.store.embedded import EmbeddedPostgres
from qiao.store.migrate import migrate, status
from qiao.testing.servers import Pair, Server, free_port, until
from qiao.testing.world import SCOPE, make_world

Run = Callable[..., "subprocess.CompletedProcess[str]"]
QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]


@dataclass
class Place:
    """A home whose server archives, and room beside it."""

    folder: Path
    server: EmbeddedPostgres
    key: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def archive(self) -> Path:
        return self.folder / "archive's"

    def qiao(
        self, *arguments: str, home: Path | None = None, archives: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        if archives:
            kept["QIAO_BACKUP_ARCHIVE"] = str(self.archive)
        return subprocess.run(
            [*QIAO, *arguments],
            env={**kept, "QIAO_HOME": str(home or self.home)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def told(self, *arguments: str, home: Path | None = None) -> Any:
        done = self.qiao(*arguments, "--json", home=home)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, code: int = 2) -> str:
        done = self.qiao(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def archive_all(self) -> None:
        """Until everything that is committed is in the archive."""
        segment = self.ask("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.ask("SELECT pg_switch_wal()")
        until(lambda: (self.archive / str(segment)).exists())

    def ask(self, sql: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.server.administrators_url)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def pay(self, *amounts: int) -> list[str]:
        """Payments through the engine; their ids."""

        async def pay() -> list[str]:
            async with open_database(self.server.url, min_size=1) as database:
                world = await make_world(database)
                world.orders = await database.fetch_value("SELECT count(*) FROM payment")
                return [(await world.paid(amount)).payment_id for amount in amounts]

        return asyncio.run(pay())


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="qiao-backup-"))
    home = folder / "home"
    home.mkdir()
    key = Seal.new_key()
    (home / "seal.key").write_text(key)
    place = Place(folder, EmbeddedPostgres(home, archive=folder / "archive's"), key)
    place.server.start()
    try:
        asyncio.run(migrate(place.server.url))
        yield place
    finally:
        place.server.discard()
        shutil.rmtree(folder)


def payments(home: Path) -> list[str]:
    """What a restored home holds, once its books are proved."""

    async def look(url: str) -> list[str]:
        async with open_database(url, min_size=1) as database:
            proof = await prove(database)
            assert proof.mistakes == []
            rows = await database.fetch(
                "SELECT p.payment_id, p.state, p.captured_minor, sum(l.amount_minor) AS booked"
                " FROM payment p LEFT JOIN ledger_entry l USING (merchant_id, payment_id)"
                " WHERE merchant_id = $1 GROUP BY p.merchant_id, p.payment_id"
                " ORDER BY p.payment_id",
                SCOPE.merchant_id,
            )
            assert proof.entries == len(rows)
            for row in rows:
                assert row["state"] == "paid"
                assert row["captured_minor"] == row["booked"]
            return [row["payment_id"] for row in rows]

    server = EmbeddedPostgres(home)
    server.start()
    try:
        return asyncio.run(look(server.url))
    finally:
        server.stop()


def test_to_a_moment_between_two_payments(place: Place) -> None:
    before = place.pay(1000, 1001)
    made = place.told("backup", str(place.folder / "full"))
    assert made["seal_key_included"] is False
    assert made["seal_key_fingerprints"] == [Seal.fingerprint(place.key)]
    assert (place.folder / "full/base/pg_wal" / made["first_segment"]).exists()
    after_backup = place.pay(2000)
    moment: datetime = place.ask("SELECT clock_timestamp()")
    too_late = place.pay(3000, 3001)
    place.archive_all()
    source, at = str(place.folder / "full"), moment.isoformat()

    key = ["--seal-key", str(place.home / "seal.key")]
    then = place.told("restore", source, "--into", str(place.folder / "then"), "--to", at, *key)
    assert datetime.fromisoformat(then["last_transaction_at"]) < moment
    assert then["seal_key"] == "restored"
    assert (place.folder / "then/seal.key").read_text() == place.key
    assert (place.folder / "then/seal.key").stat().st_mode & 0o077 == 0
    assert payments(place.folder / "then") == before + after_backup

    newest = place.told("restore", source, "--into", str(place.folder / "newest"))
    assert Seal.fingerprint(place.key) in newest["seal_key"]
    assert payments(place.folder / "newest") == before + after_backup + too_late
    assert place.told("ledger", "check", home=place.folder / "newest")["right"] is True

    # That trial archived too, as a timeline of its own; it is not taken for the real one.
    real = place.pay(4000)
    place.archive_all()
    again = ["restore", source, "--into", str(place.folder / "again")]
    assert "timelines 1, 2" in place.refused(*again)
    assert "no timeline 3" in place.refused(*again, "--timeline", "3")
    place.told(*again, "--timeline", "1")
    assert payments(place.folder / "again") == before + after_backup + too_late + real
    trial = ["restore", source, "--into", str(place.folder / "trial"), "--timeline", "2"]
    place.told(*trial)
    assert payments(place.folder / "trial") == before + after_backup + too_late

    alone = ["restore", source, "--into", str(place.folder / "alone"), "--without-archive"]
    place.told(*alone)
    assert payments(place.folder / "alone") == before


def test_an_incremental_backup_and_its_parents(place: Place) -> None:
    first = place.pay(1000)
    place.told("backup", str(place.folder / "full"))
    second = place.pay(2000)
    place.told("backup", str(place.folder / "one"), "--since", str(place.folder / "full"))
    third = place.pay(3000)
    arguments = ["--since", str(place.folder / "one"), "--with-seal-key"]
    place.told("backup", str(place.folder / "two"), *arguments)
    assert sum(one.stat().st_size for one in (place.folder / "two/base/base").rglob("*")) < sum(
        one.stat().st_size for one in (place.folder / "full/base/base").rglob("*")
    )
    last = place.pay(4000)
    place.archive_all()
    elsewhere = place.folder / "elsewhere"  # all of them were moved together
    elsewhere.mkdir()
    for name in ("full", "one", "two"):
        (place.folder / name).rename(elsewhere / name)
    done = place.told("restore", str(elsewhere / "two"), "--into", str(place.folder / "back"))
    assert done["seal_key"] == "restored"
    assert payments(place.folder / "back") == first + second + third + last
    shutil.rmtree(elsewhere / "one")
    said = place.refused("restore", str(elsewhere / "two"), "--into", str(place.folder / "x"))
    assert "builds on is missing" in said


def test_what_cannot_be_restored_is_refused_and_leaves_nothing(place: Place) -> None:
    place.pay(1000)
    early = place.ask("SELECT clock_timestamp()").isoformat()
    source, into = str(place.folder / "full"), place.folder / "back"
    made = place.told("backup", source)
    assert "something already" in place.refused("backup", source)
    assert "something already" in place.refused("restore", source, "--into", str(place.home))
    restore = ["restore", source, "--into", str(into)]
    assert "no backup" in place.refused("restore", str(place.home), "--into", str(into))
    assert "before the backup was finished" in place.refused(*restore, "--to", early)
    other = place.folder / "other.key"
    other.write_text(Seal.new_key())
    assert "not the key" in place.refused(*restore, "--seal-key", str(other))

    place.archive_all()
    place.pay(2000)
    place.archive_all()
    place.pay(3000)
    late = place.ask("SELECT clock_timestamp()").isoformat()
    assert "ends before the time" in place.refused(*restore, "--to", late, code=1)
    place.archive_all()
    segments = sorted(one for one in place.archive.iterdir() if len(one.name) == 24)
    lost = segments[-2]
    kept = place.folder / "kept"
    lost.rename(kept)
    said = place.refused(*restore, code=1)
    assert "ArchiveGap" in said
    assert lost.name in said
    assert lost.name in place.refused(*restore, "--to", late, code=1)
    shutil.copyfile(kept, lost)
    lost.chmod(0o644)
    with lost.open("r+b") as file:  # where there are records, but not a whole one any more
        file.seek(8192 + 512)
        file.write(bytes(65536))
    assert "could not be read, or is damaged" in place.refused(*restore, code=1)

    description = place.folder / "full/qiao-backup.json"
    text = description.read_text()
    description.write_text(text.replace(f'"{made["postgres_version"]}"', '"9"'))
    assert "PostgreSQL 9" in place.refused(*restore)
    description.write_text(text)
    table = next((place.folder / "full/base/base").rglob("2619"))  # pg_statistic
    with table.open("r+b") as file:
        file.write(b"x")
    assert "is damaged" in place.refused(*restore, code=1)
    assert not into.exists()


def test_without_an_archive(place: Place) -> None:
    plain = place.folder / "plain"
    server = EmbeddedPostgres(plain)
    server.start()
    try:
        asyncio.run(migrate(server.url))
        done = place.qiao("backup", str(place.folder / "full"), home=plain, archives=False)
        assert done.returncode == 0, done.stderr
        assert "no archive" in done.stdout
        assert "no seal key yet" in done.stdout
        # Set in the configuration, but the server that runs was started without it.
        said = place.told("backup", str(place.folder / "set"), home=plain)["archive_problem"]
        assert "stop all of Qiao's processes once" in said
    finally:
        server.discard()
    source, into = str(place.folder / "full"), str(place.folder / "back")
    later = "2100-01-01T00:00:00Z"
    said = place.refused("restore", source, "--into", into, "--to", later)
    assert "without an archive" in said
    place.told("restore", source, "--into", into)
    assert payments(Path(into)) == []


def test_a_server_of_your_own(pair: Pair, folder: Path) -> None:
    """By its URL of several hosts; what it lacks is named; it starts again on what was restored."""
    asyncio.run(migrate(pair.url))
    pair.primary.ask("ALTER DATABASE qiao SET search_path = public")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "QIAO_HOME": str(folder / "home"), "QIAO_DATABASE_URL": pair.url}

    def qiao(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*QIAO, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    refused = qiao("backup", str(folder / "full"))
    assert refused.returncode == 1
    assert "give the role the attribute REPLICATION" in refused.stderr
    assert list(folder.glob("*full*")) == []
    pair.primary.ask("ALTER ROLE qiao REPLICATION")
    made = qiao("backup", str(folder / "full"), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["embedded"] is False
    done = qiao("restore", str(folder / "full"), "--into", str(folder / "back"))
    assert done.returncode == 0, done.stderr
    assert "start PostgreSQL" in done.stdout
    restored = Server(folder, "restored", free_port())
    (folder / "back/postgres/data").rename(restored.data)
    try:
        restored.start()
        url = f"postgresql://qiao@127.0.0.1:{restored.port}/qiao"
        assert asyncio.run(status(url)).is_current
    finally:
        restored.kill()


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql://me:hunter%402@one,two:5433/x", "postgresql://me@one,two:5433/x", "hunter@2"),
        ("postgresql://me@one/x?password=p&sslmode=require", None, "p"),
        ("postgresql://me@/x?host=/run/it", None, None),
    ],
)
def test_no_password_among_the_arguments(
    url: str, address: str | None, password: str | None
) -> None:
    told, environment = for_libpq(url)
    assert environment.get("PGPASSWORD") == password
    assert "hunter" not in told
    assert "password" not in told
    if address is not None:
        assert told == address
