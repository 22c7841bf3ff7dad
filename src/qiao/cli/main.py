"""The program's start: every command, and one place where errors become an exit code."""

import os
import sys
from importlib.metadata import version as distribution_version
from typing import Annotated

import typer

from qiao.bootstrap.logs import LEVELS, configure_logs
from qiao.cli.admin import account, database, key, settings
from qiao.cli.audit import audit
from qiao.cli.backup import backup, restore
from qiao.cli.channels import channel, channels
from qiao.cli.demo import demo
from qiao.cli.disputes import disputes
from qiao.cli.doctor import doctor
from qiao.cli.ledger import ledger
from qiao.cli.limits import limit
from qiao.cli.listen import listen
from qiao.cli.organisations import app as apps
from qiao.cli.organisations import merchant, organisation
from qiao.cli.output import print_error
from qiao.cli.partitions import archive, partitions
from qiao.cli.payments import capture, close, pay, query, refund, void
from qiao.cli.price import price
from qiao.cli.processes import serve, worker
from qiao.cli.profit_shares import profit_shares
from qiao.cli.route import route
from qiao.cli.sandbox import sandbox
from qiao.cli.subscriptions import agreements, subscriptions
from qiao.cli.top import top
from qiao.cli.transfers import transfer
from qiao.cli.trigger import trigger
from qiao.domain.errors import InvalidInput, QiaoError

USAGE, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="qiao",
    help="Qiao 桥: one bridge from an order to every way of paying.",
    epilog="pay, query, capture, void, refund, close, transfer, profit-shares, agreements, "
    "subscriptions, disputes, listen and trigger ask the server at QIAO_URL "
    "(http://127.0.0.1:8080) with the key in QIAO_API_KEY.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS = {
    "Run": (demo, serve, worker),
    "Pay": (pay, query, capture, void, refund, close),
    "Develop": (listen, trigger, channels),
    "Look after": (doctor, top, backup, restore),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(transfer, name="transfer", help="Pay money out.", rich_help_panel="Pay")
for name, group, text in (
    ("profit-shares", profit_shares, "Divide payments between receivers."),
    ("agreements", agreements, "What customers agreed to be charged."),
    ("subscriptions", subscriptions, "Charge by an agreement, every period."),
    ("disputes", disputes, "Answer complaints and chargebacks."),
):
    app.add_typer(group, name=name, help=text, rich_help_panel="Pay")
app.add_typer(sandbox, name="sandbox", rich_help_panel="Develop")
app.add_typer(channel, name="channel", help="Make a new channel.", rich_help_panel="Develop")
database.command("partitions")(partitions)
database.command("archive")(archive)
for name, group, text in (
    ("organisation", organisation, "Organisations, which own merchants."),
    ("merchant", merchant, "Merchants: who is paid."),
    ("app", apps, "A merchant's apps: shops, tills, mini programs."),
    ("key", key, "Issue, list, rotate and revoke API keys."),
    ("account", account, "Merchants' accounts at channels."),
    ("route", route, "Rule which channel account takes a payment, and see why one did."),
    ("limit", limit, "How much merchants and apps may take."),
    ("price", price, "What merchants are charged."),
    ("ledger", ledger, "See the books, and prove that they are right."),
    ("audit", audit, "See who did what, and prove that nobody changed it."),
    ("config", settings, "Check this server's configuration."),
    ("db", database, "See to the database."),
):
    app.add_typer(group, name=name, help=text, rich_help_panel="Look after")


def _show_version(wanted: bool) -> None:
    if wanted:
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
