"""``qiao db partitions`` and ``qiao db archive``: months, and their way to an archive."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_database_url
from qiao.cli.admin import operator
from qiao.cli.output import Json, out, print_json, print_table
from qiao.domain.errors import InvalidInput
from qiao.engine.archive import Archived, archive_periods
from qiao.engine.archive_check import CheckedPeriod, check_archive
from qiao.store.clock import DatabaseClock
from qiao.store.database import open_database
from qiao.store.migrate import migrate
from qiao.store.partitions import SQL, make_ahead, periods


def partitions(*, as_json: Json = False) -> None:
    """Make the months that are due, and show all of them, with those in an archive."""
    made, found, archived = asyncio.run(_partitions(load_config()))
    rows = [
        {
            "period": one.name,
            "until": one.until and one.until.isoformat(),
            "rows": one.rows,
            "bytes": one.bytes,
        }
        for one in found
    ]
    if as_json:
        print_json({"made": made, "periods": rows, "archived": archived})
        return
    print_table(
        ("period", "until", "rows (about)", "MB", "archive"),
        [(one["period"], one["until"], "", "", one["place"] or "under way") for one in archived]
        + [
            (one["period"], one["until"] or "", f"{one['rows']}", f"{one['bytes'] / 1e6:.1f}", "")
            for one in rows
        ],
    )


async def _partitions(config: Config) -> tuple[list[str], list[Any], list[dict[str, Any]]]:
    async with open_database_url(config) as url:
        await migrate(url)
        async with open_database(url, min_size=1, max_size=1) as queries:
            clock = await DatabaseClock.read(queries)
            made = list(await make_ahead(queries, clock()))
            archived = [
                {
                    "period": row["period"],
                    "until": row["until"].isoformat(),
                    "place": row["place"],
                    "manifest_sha256": row["manifest_sha256"] and row["manifest_sha256"].hex(),
                    "dropped": row["dropped_at"] is not None,
                }
                for row in await queries.fetch(SQL.archived)
            ]
            return made, await periods(queries), archived


def archive(
    *,
    before: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m"],
            help="Archive the periods that ended by this day (UTC), such as 2025-01-01.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The archive's folder; every period gets its own in it.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Prove the archive in this folder; changes nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Move months of events, ledger entries and deliveries to Parquet files, or prove those.

    Each is closed in the books, written, read back and compared, and only then dropped. If it is
    cut off, the same command goes on. --check is 1 when anything is wrong.
    """
    if check is not None:
        if before is not None or to is not None:
            raise InvalidInput(
                "stands alone", field="check", remedy="give either --check, or --before and --to"
            )
        _show_check(asyncio.run(_check(load_config(), check.absolute())), as_json=as_json)
        return
    if before is None or to is None:
        raise InvalidInput(
            "is missing",
            field="before" if before is None else "to",
            remedy="give --before DATE --to FOLDER, or --check FOLDER",
        )
    done = asyncio.run(_archive(load_config(), before, to.absolute(), quiet=as_json))
    if as_json:
        print_json(
            {
                "archived": [
                    {
                        "period": one.period,
                        "until": one.until.isoformat(),
                        "folder": str(one.folder),
                        "rows": one.rows,
                        "manifest_sha256": one.manifest_sha256,
                    }
                    for one in done
                ]
            }
        )
    elif done:
        out.print(f"[green]✓[/] {len(done)} periods are in {to}; keep copies of it elsewhere")
    else:
        out.print("nothing to do: no period that is still here ended by then")


async def _archive(config: Config, before: datetime, to: Path, *, quiet: bool) -> list[Archived]:
    def tell(period: str, step: str) -> None:
        if not quiet:
            out.print(f"{period}: {step}")

    async with open_database_url(config) as url:
        await migrate(url)
        async with open_database(url, min_size=2, max_size=2, patient=True) as opened:
            clock = await DatabaseClock.read(opened)
            return await archive_periods(
                opened,
                before=before.replace(tzinfo=clock().tzinfo),
                folder=to,
                now=clock(),
                actor=operator(),
                step=tell,
            )


async def _check(config: Config, folder: Path) -> list[CheckedPeriod]:
    async with (
        open_database_url(config) as url,
        open_database(url, min_size=1, max_size=1, patient=True) as queries,
    ):
        return await check_archive(queries, folder)


def _show_check(found: list[CheckedPeriod], *, as_json: bool) -> None:
    wrong = any(one.mistakes for one in found)
    if as_json:
        print_json(
            {
                "right": not wrong,
                "periods": [
                    {"period": one.period, "rows": one.rows, "mistakes": one.mistakes}
                    for one in found
                ],
            }
        )
    else:
        for one in found:
            mark = "[red]✗[/]" if one.mistakes else "[green]✓[/]"
            rows = ", ".join(f"{number} {name}" for name, number in one.rows.items())
            out.print(f"{mark} {one.period}: {rows}")
            for mistake in one.mistakes:
                out.print(f"  {mistake}")
        if not found:
            out.print("nothing is archived")
    if wrong:
        sys.exit(1)
