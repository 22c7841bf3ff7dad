"""The program's start: every command, and one place where errors become an exit code."""

import os
import sys

import typer

from qiao.bootstrap.logs import LEVELS, configure_logs
from qiao.cli.admin import account, database, key, merchant, settings
from qiao.cli.audit import audit
from qiao.cli.channels import channel, channels
from qiao.cli.demo import demo
from qiao.cli.ledger import ledger
from qiao.cli.output import print_error
from qiao.cli.payments import close, pay, query, refund
from qiao.cli.processes import serve, worker
from qiao.cli.top import top
from qiao.domain.errors import InvalidInput, QiaoError

USAGE, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="qiao",
    help="Qiao 桥: one bridge from an order to every way of paying.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, serve, worker, top, channels, pay, query, refund, close):
    app.command()(command)
app.add_typer(channel, name="channel", help="Make a new channel.")
app.add_typer(merchant, name="merchant", help="Merchants.")
app.add_typer(key, name="key", help="API keys.")
app.add_typer(account, name="account", help="Merchants' accounts at channels.")
app.add_typer(ledger, name="ledger", help="The books: balances, and the proof that they are right.")
app.add_typer(audit, name="audit", help="Who did what, and the proof that nobody changed it.")
app.add_typer(settings, name="config", help="This server's configuration.")
app.add_typer(database, name="db", help="The database.")


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
