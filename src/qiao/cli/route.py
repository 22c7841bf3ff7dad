"""``qiao route``: routing rules from a file, tried out before they count, and how accounts do."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from qiao.bootstrap.config import load_config
from qiao.bootstrap.engine import open_engine
from qiao.channels.requests import Product
from qiao.cli.admin import operator
from qiao.cli.client import Client
from qiao.cli.files import read_settings_file
from qiao.cli.output import Json, out, print_fields, print_json, print_table
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.audit import PLATFORM
from qiao.engine.routing.books import save
from qiao.engine.routing.rules import Rules, read_rules
from qiao.engine.routing.state import Saved
from qiao.engine.runtime import Scope

route = typer.Typer(
    no_args_is_help=True, help="Rule which channel account takes a payment, and see why one did."
)
RulesFile = Annotated[
    Path, typer.Argument(help="The rules, TOML or (.json) JSON.", dir_okay=False, metavar="FILE")
]


@route.command("show")
def show(
    *,
    history: Annotated[bool, typer.Option("--history", help="Every version instead.")] = False,
    as_json: Json = False,
) -> None:
    """The rules that count now, and the breakers and figures of the accounts."""
    if history:
        found = Client().get("/v1/routing/versions", limit=100)
        if as_json:
            print_json(found)
        else:
            print_table(
                ("version", "saved", "rows", "note"),
                [
                    (one["version"], one["created_at"], len(one["rules"]["rows"]), one["note"])
                    for one in found["data"]
                ],
            )
        return
    told = Client().get("/v1/routing")
    if as_json:
        print_json(told)
        return
    current = told["current"]
    shown = {**current, **current["rules"]}
    print_fields(shown, ("version", "rules_of", "note", "strategy", "otherwise", "attempts"))
    _print_rows(current["rules"]["rows"])
    _print_accounts(told["accounts"])


@route.command("check")
def check(file: RulesFile, *, as_json: Json = False) -> None:
    """Read the rules and say what is wrong, by row and column; needs no server."""
    rules = read_rules(read_settings_file(file))
    if as_json:
        print_json({"rows": len(rules.rows), "fees": len(rules.fees)})
    else:
        out.print(f"[green]✓[/] {len(rules.rows)} rows and {len(rules.fees)} fees are well formed")


@route.command("set")
def set_rules(
    file: RulesFile,
    *,
    note: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    replaces: Annotated[
        int | None, typer.Option(help="Refuse unless this is the newest version.")
    ] = None,
    platform: Annotated[
        bool, typer.Option("--platform", help="For merchants without rules; on the server itself.")
    ] = False,
    live: Annotated[bool, typer.Option("--live/--test", help="With --platform: the mode.")] = False,
    as_json: Json = False,
) -> None:
    """Save the rules as a new version, which counts within a second."""
    rules = read_rules(read_settings_file(file))
    if platform:
        saved = asyncio.run(_save_for_platform(rules, live=live, note=note, replaces=replaces))
        told = {"version": saved.version, "rules_of": saved.owner}
    else:
        body = {"rules": msgspec.to_builtins(rules), "note": note, "replaces": replaces}
        told = Client().put("/v1/routing", body)
    if as_json:
        print_json(told)
    else:
        out.print(f"[green]✓[/] version {told['version']} counts now")


@route.command("explain")
def explain(
    payment: Annotated[str | None, typer.Argument(help="A payment's id: what chose then.")] = None,
    *,
    amount: Annotated[str | None, typer.Option(help="Instead: what would be chosen now.")] = None,
    product: Annotated[Product, typer.Option(metavar="PRODUCT")] = Product.QR,
    channel: Annotated[str, typer.Option(help="The channel asked for.")] = "auto",
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    country: Annotated[str | None, typer.Option(help="ISO 3166-1, two letters.")] = None,
    device: Annotated[str | None, typer.Option()] = None,
    preference: Annotated[str | None, typer.Option(help="The channel the customer likes.")] = None,
    code_prefix: Annotated[str | None, typer.Option(help="Two digits of the code.")] = None,
    at: Annotated[str | None, typer.Option(help="Such as 2026-11-11T20:00:00+08:00.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; several.")] = None,
    as_json: Json = False,
) -> None:
    """Why a payment's attempts went where they went, or where one would go now."""
    if payment is not None:
        _explain_payment(payment, as_json=as_json)
        return
    if amount is None:
        raise InvalidInput(
            "nothing to explain", field="amount", remedy="give a payment's id, or --amount"
        )
    body = {
        "amount": Money.from_major(amount, currency).minor,
        "currency": currency,
        "product": product,
        "channel": channel,
        "country": country,
        "device": device,
        "preference": preference,
        "code_prefix": code_prefix,
        "at": at,
        "metadata": dict(_pair(one) for one in metadata or []),
    }
    told = Client().post("/v1/routing/explain", body)
    if as_json:
        print_json(told)
        return
    print_fields(told, ("version", "rules_of", "refused"))
    print_table(
        ("row", "name", "applies"),
        [
            (one["row"], one["name"], f"no: {one['mismatch']}" if one["mismatch"] else "yes")
            for one in told["rows"]
        ],
    )
    if told["choice"]:
        _print_choice(told["choice"])


@route.command("dry-run")
def dry_run(
    file: RulesFile,
    *,
    since: Annotated[str | None, typer.Option(help="A week before, without it.")] = None,
    until: Annotated[str | None, typer.Option(help="Now, without it.")] = None,
    as_json: Json = False,
) -> None:
    """What these rules would have done with past payments; changes nothing."""
    rules = read_rules(read_settings_file(file))
    body = {"rules": msgspec.to_builtins(rules), "since": since, "until": until}
    told = Client().post("/v1/routing/dry-run", body)
    if as_json:
        print_json(told)
        return
    print_table(
        ("account", "currency", "attempts", "was", "amount", "was", "cost", "was"),
        [
            (
                one["name"],
                one["currency"],
                one["attempts"],
                one["attempts_then"],
                *(
                    Money(one[name], one["currency"]).to_major()
                    for name in ("amount", "amount_then", "cost", "cost_then")
                ),
            )
            for one in told["data"]
        ],
    )
    out.print(f"{told['moved']} of {told['attempts']} attempts would have gone elsewhere")
    if not told["whole"]:
        out.print("[yellow]there were more; ask for a shorter time to see all of it[/]")


async def _save_for_platform(rules: Rules, *, live: bool, note: str, replaces: int | None) -> Saved:
    async with open_engine(load_config(), max_connections=2) as engine:
        scope = Scope(merchant_id=PLATFORM, live=live, actor=operator())
        return await save(engine, scope, rules, note=note, replaces=replaces)


def _explain_payment(payment_id: str, *, as_json: bool) -> None:
    attempts = Client().get(f"/v1/payments/{payment_id}")["attempts"]
    if as_json:
        print_json(attempts)
        return
    for one in attempts:
        instead = f", in the place of {one['replaces']}" if one["replaces"] else ""
        out.print(f"[bold]{one['id']}[/] {one['channel']} {one['state']}{instead}")
        if one["routing"]:
            print_fields(one["routing"], ("version", "rules_of"))
            _print_choice(one["routing"])


def _print_choice(choice: dict[str, Any]) -> None:
    row = "none: all accounts by priority" if choice["row"] is None else choice["row"]
    print_fields({**choice, "row": row}, ("row", "row_name", "strategy"))
    names = ("weight", "cost", "success_basis_points", "latency_ms", "on_probation", "rejected")
    print_table(
        ("account", "channel", "weight", "cost", "success ‱", "ms", "on probation", "rejected"),
        [
            (one["account"], one["channel"], *(one.get(name) for name in names))
            for one in choice["candidates"]
        ],
    )


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print_table(
        ("row", "name", "when", "accounts", "weights", "strategy"),
        [
            (
                number,
                one["name"],
                "; ".join(f"{column} {cell}" for column, cell in one["when"].items()),
                ", ".join(one["accounts"]),
                ", ".join(map(str, one["weights"])),
                one["strategy"],
            )
            for number, one in enumerate(rows, start=1)
        ],
    )


def _print_accounts(accounts: list[dict[str, Any]]) -> None:
    print_table(
        ("account", "channel", "breaker", "until", "why", "product", "success ‱", "ms"),
        [
            (
                account["name"],
                account["channel"],
                account["state"],
                account["open_until"],
                account["reason"],
                one.get("product"),
                one.get("success_basis_points"),
                one.get("latency_ms"),
            )
            for account in accounts
            for one in account["statistics"] or [{}]
        ],
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(
            "not a pair", field="metadata", remedy="write it as --metadata NAME=VALUE"
        )
    return name, value
