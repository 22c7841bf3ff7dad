"""The program's start: every command is there, and brings only what it needs."""

import subprocess
import sys

import pytest

from qiao.cli.main import COMMANDS, Commands

HEAVY = {"alembic", "asyncpg", "litestar", "opentelemetry.sdk", "pyarrow", "sqlalchemy", "uvicorn"}


def test_every_command_is_where_it_is_said_to_be() -> None:
    for panel, names in COMMANDS.items():
        for name in names:
            command = Commands()[name]
            assert (command.name, command.rich_help_panel) == (name, panel)
            assert command.help


@pytest.mark.parametrize(
    "command", [["--version"], ["pay", "--help"], ["disputes", "list", "--help"]]
)
def test_what_asks_the_server_at_most_does_not_bring_one(command: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy:', {HEAVY} & sys.modules.keys()))\n"
        f"sys.argv[1:] = {command}\n"
        "from qiao.cli.main import main\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("heavy: set()\n")
