"""Proving an archive: its files against their manifests, and those against the live database."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qiao.engine.archive import SQL, stored_closings
from qiao.engine.archive_files import (
    MANIFEST,
    ArchiveBroken,
    Entry,
    Manifest,
    Sums,
    arrow,
    check_files,
    entries_in,
    groups,
    read_manifest,
    schema_of,
)
from qiao.store.database import Queries

KEY: Final = ["merchant_id", "event_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPeriod:
    """What a check found of one period; it is right when there is no mistake."""

    period: str
    rows: dict[str, int]
    mistakes: list[str]


async def check_archive(queries: Queries, folder: Path) -> list[CheckedPeriod]:
    """Every period that the database says is archived, and every other folder of that kind.

    Files have the digests of their manifest, that has the one the database knows, and each names
    the one before it; every entry belongs to an event of its period, and its debits are its
    credits; entries come to what the database closed and carried; the audit log still has the rows
    at which it ended. Reads every file once; changes nothing.
    """
    arrow()
    found, previous = [], None
    known = await queries.fetch(SQL.all_archived)
    for row in known:
        checked, previous = await _check(queries, folder / row["period"], row, previous)
        found.append(checked)
    names = {row["period"] for row in known}
    strange = [
        CheckedPeriod(period=name, rows={}, mistakes=["the database has archived no such period"])
        for name in await asyncio.to_thread(_folders, folder)
        if name not in names
    ]
    return [*found, *strange]


def _folders(folder: Path) -> list[str]:
    return sorted(place.parent.name for place in folder.glob(f"*/{MANIFEST}"))


async def _check(
    queries: Queries, place: Path, row: Any, previous: str | None
) -> tuple[CheckedPeriod, str | None]:
    period, digest = row["period"], row["manifest_sha256"].hex()
    rows: dict[str, int] = {}
    mistakes: list[str] = []
    try:
        manifest, found = await asyncio.to_thread(read_manifest, place)
        if found != digest:  # then what it says of the files proves nothing
            raise ArchiveBroken("the manifest is not the one that the database knows")
        if manifest.previous != previous:
            mistakes.append("the manifest does not follow the one of the period before")
        await asyncio.to_thread(check_files, place, manifest)
        rows = {name: one.rows for name, one in manifest.tables.items()}
        mistakes += await asyncio.to_thread(_read, place, manifest)
        mistakes += await _compare(queries, manifest)
    except ArchiveBroken as error:
        mistakes.append(str(error))
    return CheckedPeriod(period=period, rows=rows, mistakes=mistakes), digest


def _read(place: Path, manifest: Manifest) -> list[str]:
    """What the files say, against what the manifest says of them."""
    mistakes = []
    counted = dict.fromkeys(manifest.tables, 0)
    sums = Sums(manifest.until)
    events: set[tuple[str, str]] = set()
    for table in _tables(place, manifest, "event"):
        counted["event"] += table.num_rows
        events |= _keys(table)
    for table in _tables(place, manifest, "ledger_entry"):
        counted["ledger_entry"] += table.num_rows
        mistakes += [
            f"the entry of {event_id} belongs to no event of the period"
            for _, event_id in sorted(_keys(table) - events)
        ]
        for entry in entries_in(table):
            mistakes += _out_of_bounds(entry, manifest)
            sums.add(entry)
    for table in _tables(place, manifest, "webhook_delivery"):
        counted["webhook_delivery"] += table.num_rows
    mistakes += [
        f"{name} has {number} rows and not {manifest.tables[name].rows}"
        for name, number in counted.items()
        if number != manifest.tables[name].rows
    ]
    if (sums.closings(), sums.carried) != (manifest.closings, manifest.carried):
        mistakes.append("the entries do not come to the manifest's closings")
    if sums.accounts() != manifest.accounts:
        mistakes.append("the entries do not come to the manifest's totals")
    totals: dict[tuple[str, bool, str], int] = {}
    for one in manifest.accounts:
        key = (one.merchant_id, one.live, one.currency)
        totals[key] = totals.get(key, 0) + one.debits_minor - one.credits_minor
    return mistakes + [
        f"the debits of {merchant_id} in {currency} are not its credits"
        for (merchant_id, _, currency), difference in totals.items()
        if difference
    ]


def _tables(place: Path, manifest: Manifest, name: str) -> Iterator[Any]:
    one = manifest.tables[name]
    return groups(place / one.file, schema_of(one.columns))


def _keys(table: Any) -> set[tuple[str, str]]:
    columns = [table.column(name).to_pylist() for name in KEY]
    return set(zip(*columns, strict=True))


def _out_of_bounds(entry: Entry, manifest: Manifest) -> list[str]:
    if (manifest.lower_id or "") <= entry.event_id < manifest.upper_id:
        return []
    return [f"the entry of {entry.event_id} is not of the period"]


async def _compare(queries: Queries, manifest: Manifest) -> list[str]:
    """What the live database kept of the period, against what the manifest says."""
    mistakes = []
    if await stored_closings(queries, manifest.period) != manifest.closings:
        mistakes.append("the database has closed it with other sums")
    carried = await queries.fetch(SQL.carried, manifest.lower_id, manifest.upper_id)
    if len(carried) != manifest.carried:
        mistakes.append(f"the database carried {len(carried)} entries and not {manifest.carried}")
    for end in manifest.audit:
        digest = await queries.fetch_value(SQL.audit_digest, end.chain, end.sequence)
        if digest is None or digest.hex() != end.digest:
            mistakes.append(f"the audit log of {end.chain} is not the one it was: qiao audit check")
    return mistakes
