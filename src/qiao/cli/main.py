"""The program's start: every command, and one place where errors become an exit code."""

import os
import sys
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperGroup

from qiao.bootstrap.logs import LEVELS, configure_logs
from qiao.cli.output import print_error
from qiao.domain.errors import InvalidInput, QiaoError

USAGE, FAILED, INTERRUPTED = 2, 1, 130


COMMANDS: Final = {
    "Run": {
        "demo": "demo:demo",
        "serve": "processes:serve",
        "worker": "processes:worker",
    },
    "Pay": {
        "pay": "payments:pay",
        "query": "payments:query",
        "capture": "payments:capture",
        "void": "payments:void",
        "refund": "payments:refund",
        "close": "payments:close",
        "transfer": "transfers:transfer",
        "profit-shares": "profit_shares:profit_shares",
        "agreements": "subscriptions:agreements",
        "subscriptions": "subscriptions:subscriptions",
        "disputes": "disputes:disputes",
    },
    "Develop": {
        "listen": "listen:listen",
        "trigger": "trigger:trigger",
        "channels": "channels:channels",
        "sandbox": "sandbox:sandbox",
        "channel": "channels:channel",
    },
    "Look after": {
        "doctor": "doctor:doctor",
        "top": "top:top",
        "backup": "backup:backup",
        "restore": "backup:restore",
        "organisation": "organisations:organisation",
        "merchant": "organisations:merchant",
        "app": "organisations:app",
        "key": "admin:key",
        "account": "admin:account",
        "route": "route:route",
        "limit": "limits:limit",
        "price": "price:price",
        "ledger": "ledger:ledger",
        "audit": "audit:audit",
        "config": "admin:settings",
        "db": "database:database",
    },
}
"""By the panels of the help: each command, and where in ``qiao.cli`` it is."""
PANEL_OF: Final = {name: panel for panel, commands in COMMANDS.items() for name in commands}


class Commands(Mapping[str, Any]):
    """Each is imported when it is wanted: few need the server, the simulators and the database."""

    def __len__(self) -> int:
        return len(PANEL_OF)

    def __iter__(self) -> Iterator[str]:
        return iter(PANEL_OF)

    def __getitem__(self, name: str) -> Any:
        panel = PANEL_OF[name]
        found = resolve_name(f"qiao.cli.{COMMANDS[panel][name]}")
        alone = typer.Typer()
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=name, rich_help_panel=panel)
        else:
            alone.command(name, rich_help_panel=panel)(found)
        return typer.main.get_group(alone).commands[name]


class Program(TyperGroup):
    """Knows its commands by name."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast("Any", Commands())  # nobody adds one to it


app = typer.Typer(
    name="qiao",
    cls=Program,
    help="Qiao 桥: one bridge from an order to every way of paying.",
    epilog="pay, query, capture, void, refund, close, transfer, profit-shares, agreements, "
    "subscriptions, disputes, listen and trigger ask the server at QIAO_URL "
    "(http://127.0.0.1:8080) with the key in QIAO_API_KEY.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as distribution_version

        typer.echo(f"qiao {distribution_version('qiao')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run a command; 2 when what was given is wrong, 1 when it failed otherwise."""
    try:
        configure_logs(_level())
        app()
    except InvalidInput as error:
        print_error(error)
        sys.exit(USAGE)
    except QiaoError as error:
        print_error(error)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _level() -> str:
    level = os.environ.get("QIAO_LOG", "warning")
    if level not in LEVELS:
        raise InvalidInput(
            "no such level of logging", field="QIAO_LOG", remedy=f"choose from: {', '.join(LEVELS)}"
        )
    return level
