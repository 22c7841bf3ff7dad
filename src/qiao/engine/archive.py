"""Archiving: a month's events, entries and deliveries go from the database to Parquet files.

Each period goes by steps, the oldest period first, and each step finds out what was done before it:

1. *frozen*: nothing is written to its partitions any more, and nothing in it is needed;
2. *written*: its rows are in files, with a manifest;
3. *verified*: the files were read back, and hold every row of the database and no other;
4. *archived*: in one transaction its entries stop counting and its closings begin to;
5. *detached*, 6. *dropped*: its partitions leave, if the files are still those that were verified.

Killed between any two of them, it goes on where it was when it is run again.
docs/adr/0011-partitions-by-time.md tells why, docs/operations/archive.md how it is used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import asyncpg

from qiao.domain.errors import InvalidInput, QiaoError
from qiao.engine.actors import Actor
from qiao.engine.archive_files import (
    ArchiveBroken,
    ChainEnd,
    Closing,
    Column,
    Manifest,
    Sums,
    TableFile,
    Writing,
    arrow,
    batch_of,
    check_files,
    entries_in,
    groups,
    make_folder,
    read_manifest,
    schema_of,
    sha256_of,
    write_manifest,
)
from qiao.engine.audit import SERVER, record
from qiao.store.database import Connection, Database, Queries
from qiao.store.errors import TablesBusy
from qiao.store.migrate import head
from qiao.store.partitions import BUSY, TABLES, Period, periods
from qiao.store.partitions import SQL as PARTITIONS
from qiao.store.sql import load_statements

SQL = load_statements("archive")
KNOWS_ARCHIVES: Final = "0015"
"""The revision from which on a version counts closings: older ones may not start afterwards."""
ROWS: Final = 20_000
"""In a row group, and read from the database at a time."""
SHOWN: Final = 20
SETTLED_AFTER: Final = timedelta(days=1)
"""Ids are made by clocks of several servers; nobody's is so far behind."""
LOCK_MILLISECONDS: Final = 500
TRIES: Final = 60
PAUSE_SECONDS: Final = 0.5
MAY_GO: Final = frozenset({"webhook_delivery"})
"""Whose rows may be deleted while the period is frozen: with their endpoint."""

Step = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Something that still needs a period."""

    kind: str
    merchant_id: str
    subject_id: str
    state: str


class PeriodHeld(QiaoError):
    """Something still needs the period; nothing of it was archived."""

    code = "period_held"

    def __init__(self, period: str, holds: Sequence[Hold]) -> None:
        told = "; ".join(
            f"{one.kind} {one.subject_id} of {one.merchant_id} ({one.state})" for one in holds
        )
        more = " and more" if len(holds) == SHOWN else ""
        super().__init__(
            f"{period} is still needed by {told}{more}: settle them, then run it again"
        )
        self.holds = holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A period that is now in an archive alone."""

    period: str
    until: datetime
    folder: Path
    rows: dict[str, int]
    manifest_sha256: str


async def archive_periods(
    database: Database,
    *,
    before: datetime,
    folder: Path,
    now: datetime,
    actor: Actor,
    step: Step = lambda _period, _step: None,
) -> list[Archived]:
    """Archive every period that ended by ``before`` to a folder of its own in ``folder``.

    ``database`` must be patient and have two connections. Raises PeriodHeld for the first period
    that something needs, ArchiveBroken when files are not what they should be; the periods before
    it are done. ``step`` is told each step of each period once it is taken.
    """
    arrow()
    if before > now - SETTLED_AFTER:
        raise InvalidInput(
            "is too young to be archived", field="before", remedy="give a day that is long past"
        )
    async with database.transaction() as guard:
        locked = await guard.fetch_value(SQL.try_lock)
        # After it: this closes the cursor of the question, which would keep a snapshot, and
        # PostgreSQL waits for all snapshots before it finishes a detaching that was cut off.
        await guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if not locked:
            raise InvalidInput(
                "another archiving is under way", field="archive", remedy="wait for its end"
            )
        works = await _works(database, before, folder, actor, step)
        return [await work.run() for work in works]


async def _works(
    database: Database, before: datetime, folder: Path, actor: Actor, step: Step
) -> list["_Work"]:
    """What was begun before, then what is due."""
    known = {row["period"]: row for row in await database.fetch(PARTITIONS.archived)}
    unfinished = [name for name, row in known.items() if row["dropped_at"] is None]
    found = {one.name: one for one in await periods(database)}
    works = []
    # One that lost its partitions and not yet its row is in no list of partitions.
    for name in [*(one for one in unfinished if one not in found), *found]:
        row = known.get(name)
        if row is not None and row["place"] is not None and Path(row["place"]) != folder:
            raise InvalidInput(
                f"{name} went to {row['place']}, and is not finished",
                field="to",
                remedy="give that folder, or move it back there",
            )
        period = found.get(name)
        until = period.until if period else row["until"] if row else None
        if until is None or (until > before and (row is None or row["archived_at"] is None)):
            continue
        works.append(
            _Work(
                database=database,
                name=name,
                lower_id=period.lower_id if period else None,
                folder=folder,
                actor=actor,
                step=step,
            )
        )
    return works


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One period on its way."""

    database: Database
    name: str
    lower_id: str | None
    folder: Path
    actor: Actor
    step: Step

    @property
    def place(self) -> Path:
        return self.folder / self.name

    def _tell(self, step: str) -> None:
        self.step(self.name, step)

    async def run(self) -> Archived:
        row = await self.database.fetch_row(SQL.period, self.name)
        if row is None or row["archived_at"] is None:
            await self._to_files(frozen=row is not None)
        manifest, digest = await self._verified_before()
        await self._detach()
        await self._drop(manifest)
        self._tell("dropped")
        return Archived(
            period=self.name,
            until=manifest.until,
            folder=self.place,
            rows={name: one.rows for name, one in manifest.tables.items()},
            manifest_sha256=digest,
        )

    async def _to_files(self, *, frozen: bool) -> None:
        [period] = [one for one in await periods(self.database) if one.name == self.name]
        upper, until = period.upper_id, period.until
        assert upper is not None  # noqa: S101 - the one for ever ends by no day
        assert until is not None  # noqa: S101
        if not frozen:
            await self._refuse_held(upper)
            await _freeze(self.database, period)
        try:
            # Again, because it may have come in between; now nothing can.
            await self._refuse_held(upper)
        except PeriodHeld:
            await _thaw(self.database, self.name)
            raise
        self._tell("frozen")
        manifest = await self._write(period, upper, until)
        digest = await asyncio.to_thread(write_manifest, self.place, manifest)
        self._tell("written")
        for table, file in manifest.tables.items():
            await _verify(self.database, self.name, table, self.place / file.file, file.columns)
        again, found = await asyncio.to_thread(read_manifest, self.place)
        if (again, found) != (manifest, digest):
            raise ArchiveBroken(f"{self.name}: the manifest is not what was written")
        await asyncio.to_thread(check_files, self.place, manifest)
        self._tell("verified")
        await self._change_over(manifest, digest)
        self._tell("archived")

    async def _refuse_held(self, upper: str) -> None:
        rows = await self.database.fetch(SQL.holds, self.lower_id, upper, SHOWN)
        if rows:
            raise PeriodHeld(self.name, [Hold(**dict(row)) for row in rows])

    async def _write(self, period: Period, upper: str, until: datetime) -> Manifest:
        await asyncio.to_thread(make_folder, self.place)
        tables = {}
        sums = Sums(until)
        for table in TABLES:
            columns = await _columns(self.database, table)
            path = self.place / f"{table}.parquet"
            schema = schema_of(columns)
            writing = Writing(path, schema)
            async for rows in _parts(self.database, f"{table}_{self.name}", columns):
                found = batch_of(schema, rows)
                if table == "ledger_entry":
                    for entry in entries_in(found):
                        sums.add(entry)
                await asyncio.to_thread(writing.add, found)
            await asyncio.to_thread(writing.finish)
            tables[table] = TableFile(
                file=path.name,
                rows=writing.rows,
                bytes=path.stat().st_size,
                sha256=await asyncio.to_thread(sha256_of, path),
                columns=columns,
            )
        earlier = await self.database.fetch(SQL.all_archived)
        heads = await self.database.fetch(SQL.audit_heads)
        return Manifest(
            qiao=version("qiao"),
            schema=head(),
            period=self.name,
            lower_id=period.lower_id,
            upper_id=upper,
            until=until,
            made_at=await self.database.fetch_value("SELECT now()"),
            previous=earlier[-1]["manifest_sha256"].hex() if earlier else None,
            tables=tables,
            closings=sums.closings(),
            carried=sums.carried,
            accounts=sums.accounts(),
            audit=[
                ChainEnd(chain=row["chain"], sequence=row["sequence"], digest=row["digest"].hex())
                for row in heads
            ],
        )

    async def _change_over(self, manifest: Manifest, digest: str) -> None:
        """From here on the closings count, and the entries do not."""
        bounds = (self.lower_id, manifest.upper_id)
        async with self.database.transaction() as queries:
            await queries.execute(PARTITIONS.lock)
            await queries.execute(SQL.close, *bounds, self.name, manifest.until)
            await queries.execute(SQL.carry, *bounds, manifest.until)
            closings = await stored_closings(queries, self.name)
            carried = len(await queries.fetch(SQL.carried, *bounds))
            if closings != manifest.closings or carried != manifest.carried:
                raise ArchiveBroken(f"{self.name}: the files' sums are not the database's")
            await queries.execute(SQL.raise_bar, KNOWS_ARCHIVES)
            at = await queries.fetch_value(
                SQL.archived, self.name, str(self.folder), bytes.fromhex(digest)
            )
            await record(
                queries,
                "period.archived",
                at=at,
                chain=SERVER,
                actor=self.actor,
                subject_id=self.name,
            )

    async def _verified_before(self) -> tuple[Manifest, str]:
        """The files as they are now, if they are those that were verified."""
        row = await self.database.fetch_row(SQL.period, self.name)
        manifest, digest = await asyncio.to_thread(read_manifest, self.place)
        if row is None or row["manifest_sha256"] != bytes.fromhex(digest):
            raise ArchiveBroken(f"{self.name}: the manifest is not the one that was verified")
        await asyncio.to_thread(check_files, self.place, manifest)
        return manifest, digest

    async def _detach(self) -> None:
        for table in reversed(TABLES):
            part = f"{table}_{self.name}"
            state = await self.database.fetch_value(SQL.attachment, part)
            if state == "leaving":
                await self.database.execute(f"ALTER TABLE {table} DETACH PARTITION {part} FINALIZE")
            elif state == "attached":
                await self.database.execute(
                    f"ALTER TABLE {table} DETACH PARTITION {part} CONCURRENTLY"
                )
            self._tell(f"detached {table}")

    async def _drop(self, manifest: Manifest) -> None:
        async def drop(queries: Connection) -> None:
            there = []
            for table in reversed(TABLES):
                part = f"{table}_{self.name}"
                state = await queries.fetch_value(SQL.attachment, part)
                if state is None:
                    continue
                rows = await queries.fetch_value(f"SELECT count(*) FROM {part}")  # noqa: S608
                most = manifest.tables[table].rows
                if state != "apart" or rows > most or (rows < most and table not in MAY_GO):
                    raise ArchiveBroken(f"{part} is not what was verified")
                there.append(part)
            if there:
                await queries.execute(f"DROP TABLE {', '.join(there)}")
            await queries.execute(SQL.dropped, self.name)

        await _locking(self.database, drop)


async def _freeze(database: Database, period: Period) -> None:
    """From the end of its transaction on nothing is written to the period's partitions."""

    async def freeze(queries: Connection) -> None:
        await queries.execute(PARTITIONS.lock)
        await queries.execute(SQL.freeze, period.name, period.upper_id, period.until)
        for table in TABLES:
            # An event and an entry are never changed; a delivery goes only with its endpoint.
            what = "INSERT OR UPDATE" if table in MAY_GO else "INSERT"
            await queries.execute(
                f"CREATE TRIGGER is_archived BEFORE {what} ON {table}_{period.name}"
                " FOR EACH ROW EXECUTE FUNCTION refuse_archived()"
            )

    await _locking(database, freeze)


async def _thaw(database: Database, name: str) -> None:
    async def thaw(queries: Connection) -> None:
        await queries.execute(PARTITIONS.lock)
        for table in TABLES:
            await queries.execute(f"DROP TRIGGER is_archived ON {table}_{name}")
        await queries.execute(SQL.thaw, name)

    await _locking(database, thaw)


async def _locking(database: Database, change: Callable[[Connection], Any]) -> None:
    """``change`` in a transaction, again and again until it gets its locks: never does anybody
    wait for it longer than LOCK_MILLISECONDS. Raises TablesBusy in the end."""
    for tried in range(TRIES):
        try:
            async with database.transaction() as queries:
                await queries.execute(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
                await change(queries)
        except asyncpg.LockNotAvailableError as error:
            if tried + 1 == TRIES:
                raise TablesBusy(BUSY) from error
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def stored_closings(queries: Queries, period: str) -> list[Closing]:
    """What the database says the period came to."""
    return sorted(
        Closing(
            merchant_id=row["merchant_id"],
            live=row["live"],
            debit=row["debit"],
            credit=row["credit"],
            currency=row["currency"],
            entries=row["entries"],
            amount_minor=int(row["amount_minor"]),
            subjects=str(int(row["subjects"])),
        )
        for row in await queries.fetch(SQL.closings, period)
    )


async def _columns(queries: Queries, table: str) -> list[Column]:
    return [
        Column(name=row["name"], type=row["type"])
        for row in await queries.fetch(SQL.columns, table)
    ]


async def _key(queries: Queries, table: str) -> list[str]:
    rows = [row for row in await queries.fetch(SQL.columns, table) if row["key"] is not None]
    return [row["name"] for row in sorted(rows, key=lambda row: row["key"])]


def _select(table: str, columns: Sequence[Column]) -> str:
    names = ", ".join(f"{one.name}::text" if one.type == "jsonb" else one.name for one in columns)
    return f"SELECT {names} FROM {table}"  # noqa: S608 - names of the catalogue


async def _parts(
    queries: Queries, table: str, columns: Sequence[Column]
) -> AsyncIterator[list[asyncpg.Record]]:
    """The partition's rows in the order of its key, ROWS at a time."""
    key = await _key(queries, table)
    select, order = _select(table, columns), ", ".join(key)
    places = [[one.name for one in columns].index(name) for name in key]
    marks = ", ".join(f"${number + 1}" for number in range(len(key)))
    rows = await queries.fetch(f"{select} ORDER BY {order} LIMIT {ROWS}")
    while rows:
        yield rows
        last = [rows[-1][place] for place in places]
        rows = await queries.fetch(
            f"{select} WHERE ({order}) > ({marks}) ORDER BY {order} LIMIT {ROWS}", *last
        )


async def _verify(
    queries: Queries, period: str, table: str, path: Path, columns: Sequence[Column]
) -> None:
    """The file holds the rows that the database holds, each value of each. Raises ArchiveBroken."""
    schema = schema_of(columns)
    key = await _key(queries, f"{table}_{period}")
    written = groups(path, schema)
    if table in MAY_GO:
        one_by_one = (row for group in written for row in group.to_pylist())
        async for rows in _parts(queries, f"{table}_{period}", columns):
            for row in batch_of(schema, rows).to_pylist():
                place = [row[name] for name in key]
                found = next(
                    (one for one in one_by_one if [one[name] for name in key] == place), None
                )
                if found != row:
                    raise ArchiveBroken(f"{period}/{path.name} lacks a row of the database")
        return
    async for rows in _parts(queries, f"{table}_{period}", columns):
        group = next(written, None)
        if group is None or not group.equals(batch_of(schema, rows)):
            raise ArchiveBroken(f"{period}/{path.name} differs from the database")
    if next(written, None) is not None:
        raise ArchiveBroken(f"{period}/{path.name} has rows that the database has not")
