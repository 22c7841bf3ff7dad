"""The files of an archive: a folder for each period, a Parquet file for each table, a manifest.

Columns have the database's types: money is a 64-bit integer of minor units, times are UTC to the
microsecond, jsonb is its text. pyarrow comes with the extra ``archive``.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from qiao.domain.errors import InvalidInput, QiaoError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
PART: Final = "part"
BLOCK: Final = 1 << 20


class ArchiveBroken(QiaoError):
    """An archive is not what was written; nothing was dropped because of it."""

    code = "archive_broken"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column and its type in PostgreSQL."""

    name: str
    type: str


class TableFile(msgspec.Struct, frozen=True, kw_only=True):
    """One table's rows of the period, in the order of its key."""

    file: str
    rows: int
    bytes: int
    sha256: str
    columns: list[Column]


class Closing(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What the entries from one account to another come to, of those booked before the end.

    ``subjects`` is the sum of the entries' digests, in decimal.
    """

    merchant_id: str
    live: bool
    debit: str
    credit: str
    currency: str
    entries: int
    amount_minor: int
    subjects: str


class AccountTotal(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What all entries of the period come to on one account."""

    merchant_id: str
    live: bool
    account: str
    currency: str
    debits_minor: int
    credits_minor: int


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chain of the audit log ended when the archive was made."""

    chain: str
    sequence: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself. ``previous`` is the SHA-256 of the manifest before it."""

    format: int = FORMAT
    qiao: str
    schema: str
    period: str
    lower_id: str | None
    upper_id: str
    until: datetime
    made_at: datetime
    previous: str | None
    tables: dict[str, TableFile]
    closings: list[Closing]
    carried: int
    accounts: list[AccountTotal]
    audit: list[ChainEnd]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as the sums need it."""

    merchant_id: str
    event_id: str
    live: bool
    debit: str
    credit: str
    currency: str
    amount_minor: int
    subject_id: str
    booked_at: datetime


class Sums:
    """Adds entries up as the database does: closings of those booked before ``until``, totals."""

    def __init__(self, until: datetime) -> None:
        self._until = until
        self._closings: dict[tuple[str, bool, str, str, str], list[int]] = {}
        self._accounts: dict[tuple[str, bool, str, str], list[int]] = {}
        self.carried = 0

    def add(self, entry: Entry) -> None:
        """Raises ArchiveBroken for what can be no entry."""
        if entry.amount_minor <= 0 or entry.debit == entry.credit:
            raise ArchiveBroken(f"an entry of {entry.event_id} is out of balance")
        for side, account in enumerate((entry.debit, entry.credit)):
            sums = self._accounts.setdefault(
                (entry.merchant_id, entry.live, account, entry.currency), [0, 0]
            )
            sums[side] += entry.amount_minor
        if entry.booked_at >= self._until:
            self.carried += 1
            return
        pair = (entry.merchant_id, entry.live, entry.debit, entry.credit, entry.currency)
        closing = self._closings.setdefault(pair, [0, 0, 0])
        closing[0] += 1
        closing[1] += entry.amount_minor
        closing[2] += entry_digest(entry.subject_id, entry.amount_minor)

    def closings(self) -> list[Closing]:
        return sorted(
            Closing(
                merchant_id=merchant_id,
                live=live,
                debit=debit,
                credit=credit,
                currency=currency,
                entries=entries,
                amount_minor=minor,
                subjects=str(subjects),
            )
            for (merchant_id, live, debit, credit, currency), (
                entries,
                minor,
                subjects,
            ) in self._closings.items()
        )

    def accounts(self) -> list[AccountTotal]:
        return sorted(
            AccountTotal(
                merchant_id=merchant_id,
                live=live,
                account=account,
                currency=currency,
                debits_minor=debited,
                credits_minor=credited,
            )
            for (merchant_id, live, account, currency), (
                debited,
                credited,
            ) in self._accounts.items()
        )


def entry_digest(subject_id: str, amount_minor: int) -> int:
    """As the database's function of that name: the first 60 bits of a SHA-256."""
    return int(hashlib.sha256(f"{subject_id} {amount_minor}".encode()).hexdigest()[:15], 16)


def arrow() -> ModuleType:
    """pyarrow. Raises InvalidInput where the extra is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise InvalidInput(
            "pyarrow is not installed", field="archive", remedy="pip install 'qiao[archive]'"
        ) from None
    module: ModuleType = pa
    return module


def schema_of(columns: Sequence[Column]) -> Any:
    """The file's schema. Raises ArchiveBroken for a type that has no place in it."""
    pa = arrow()
    types: dict[str, Callable[[], Any]] = {
        "text": pa.string,
        "boolean": pa.bool_,
        "smallint": pa.int16,
        "integer": pa.int32,
        "bigint": pa.int64,
        "timestamp with time zone": lambda: pa.timestamp("us", tz="UTC"),
        "jsonb": pa.string,
    }
    unknown = [column.name for column in columns if column.type not in types]
    if unknown:
        raise ArchiveBroken(f"the archive knows no type for the column {unknown[0]}")
    return pa.schema(
        [
            pa.field(one.name, types[one.type](), metadata={"postgresql": one.type})
            for one in columns
        ]
    )


def batch_of(schema: Any, rows: Sequence[Any]) -> Any:
    """The rows, which have a value for each field in its place, as a table in columns."""
    pa = arrow()
    arrays = [
        pa.array([row[place] for row in rows], type=field.type)
        for place, field in enumerate(schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def make_folder(place: Path) -> None:
    """For one period, in the archive's; for its owner alone. There after the power has failed."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in (place, *list(place.parents)[:2]):
        _sync(one)


class Writing:
    """A Parquet file while it is written: under another name until it is whole and on the disk."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._path, self._part = path, path.with_suffix(f".{PART}")
        self._writer = arrow().parquet.ParquetWriter(self._part, schema, compression="zstd")
        self.rows = 0

    def add(self, table: Any) -> None:
        self._writer.write_table(table, row_group_size=table.num_rows)
        self.rows += table.num_rows

    def finish(self) -> None:
        self._writer.close()
        _settle(self._part, self._path)


def groups(path: Path, schema: Any) -> Iterator[Any]:
    """The file's row groups. Raises ArchiveBroken when it cannot be read, or has other columns."""
    pa = arrow()
    try:
        with pa.parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise ArchiveBroken(f"{path.name} has other columns than its table")
            for number in range(file.num_row_groups):
                yield file.read_row_group(number)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveBroken(f"{path.name} cannot be read: {type(error).__name__}") from error


def entries_in(table: Any) -> Iterator[Entry]:
    """The entries in a row group of ledger_entry."""
    fields = Entry.__dataclass_fields__
    for row in table.select(list(fields)).to_pylist():
        yield Entry(**row)


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Its SHA-256. It is the last to be written: a folder without one is not an archive."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    part = folder / f"{MANIFEST}.{PART}"
    part.write_bytes(data)
    _settle(part, folder / MANIFEST)
    return hashlib.sha256(data).hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """With its SHA-256. Raises ArchiveBroken."""
    try:
        data = (folder / MANIFEST).read_bytes()
        return msgspec.json.decode(data, type=Manifest), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise ArchiveBroken(f"{folder.name}/{MANIFEST}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ArchiveBroken(f"{folder.name}/{MANIFEST} is not a manifest") from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Their SHA-256 against the manifest's. Raises ArchiveBroken."""
    for one in manifest.tables.values():
        try:
            digest = sha256_of(folder / one.file)
        except OSError as error:
            raise ArchiveBroken(f"{folder.name}/{one.file}: {error.strerror}") from error
        if digest != one.sha256:
            raise ArchiveBroken(f"{folder.name}/{one.file} is not the file that was written")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _settle(part: Path, path: Path) -> None:
    """Put what was written in its place, so that it is there after the power has failed, too."""
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
