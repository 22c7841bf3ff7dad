"""``qiao price``: what the platform's operator charges merchants, from a file."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from qiao.cli.admin import Live, operator, with_engine
from qiao.cli.files import read_settings_file
from qiao.cli.output import Json, out, print_fields, print_json, print_table
from qiao.engine.audit import PLATFORM
from qiao.engine.price_books import price_versions, save_prices
from qiao.engine.pricing import PriceRow, SavedPrices, read_prices
from qiao.engine.runtime import Engine, Scope

price = typer.Typer(no_args_is_help=True, help="What merchants are charged.")
Whose = Annotated[
    str,
    typer.Argument(
        help=f"The merchant's id, or {PLATFORM} for all without prices of their own.",
        metavar="MERCHANT_ID",
    ),
]
PricesFile = Annotated[
    Path, typer.Argument(help="The prices, TOML or (.json) JSON.", dir_okay=False, metavar="FILE")
]


@price.command("check")
def check(file: PricesFile) -> None:
    """Read the prices and say what is wrong; needs no server."""
    found = read_prices(read_settings_file(file))
    out.print(f"[green]✓[/] {len(found.prices)} prices are well formed")


@price.command("set")
def set_(
    merchant_id: Whose,
    file: PricesFile,
    *,
    note: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    replaces: Annotated[
        int | None, typer.Option(help="Refuse unless this is the newest version.")
    ] = None,
    live: Live = False,
    as_json: Json = False,
) -> None:
    """Save the prices as a new version, for attempts that start from now on."""
    prices = read_prices(read_settings_file(file))
    scope = Scope(merchant_id=merchant_id, live=live, actor=operator())
    saved = with_engine(
        lambda engine: save_prices(engine, scope, prices, note=note, replaces=replaces)
    )
    if as_json:
        print_json({"version": saved.version, "prices_of": saved.owner})
    else:
        out.print(f"[green]✓[/] version {saved.version} counts now")


@price.command("show")
def show(
    merchant_id: Whose,
    *,
    history: Annotated[bool, typer.Option("--history", help="Every version instead.")] = False,
    live: Live = False,
    as_json: Json = False,
) -> None:
    """The prices that count, the merchant's own or the platform's."""
    scope = Scope(merchant_id=merchant_id, live=live)
    if history:
        versions = with_engine(lambda engine: price_versions(engine, scope, limit=100))
        if as_json:
            print_json(versions)
        else:
            print_table(
                ("version", "saved", "prices", "note"),
                [
                    (one.version, one.created_at, len(one.prices.prices), one.note)
                    for one in versions
                ],
            )
        return
    saved = with_engine(lambda engine: _counts(engine, scope))
    if as_json:
        print_json(saved)
    elif saved is None:
        out.print("nobody has saved prices: nothing is charged")
    else:
        told: dict[str, Any] = {"version": saved.version, "prices_of": saved.owner}
        print_fields({**told, "note": saved.note}, ("version", "prices_of", "note"))
        print_table(
            ("app", "channel", "product", "currency", "‱", "fixed", "min", "max", "returned"),
            [_row(one) for one in saved.prices.prices],
        )


async def _counts(engine: Engine, scope: Scope) -> SavedPrices | None:
    return await engine.prices.of(scope.merchant_id, live=scope.live)


def _row(one: PriceRow) -> tuple[object, ...]:
    told = msgspec.structs.asdict(one)
    columns = ("app", "channel", "product", "currency", "basis_points", "fixed", "min", "max")
    return (*(told[column] for column in columns), "yes" if one.returned else "no")
