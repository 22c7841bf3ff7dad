"""``qiao db``: the schema, how the tables can be distributed, and their months."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_database_url
from qiao.cli.admin import show_fields
from qiao.cli.output import Json, out, print_json
from qiao.cli.partitions import archive, partitions
from qiao.store.database import open_database
from qiao.store.distribution import Distribution, read_distribution
from qiao.store.migrate import SchemaStatus, migrate, status

Result = TypeVar("Result")
database = typer.Typer(no_args_is_help=True, help="See to the database.")


@database.command("status")
def database_status(*, as_json: Json = False) -> None:
    """Which schema the database has, and which this version wants."""

    async def work(url: str) -> SchemaStatus:
        return await status(url)

    found = _with_url(load_config(), work)
    shown = {"current": found.current, "head": found.head, "up_to_date": found.is_current}
    show_fields(shown, as_json=as_json)


@database.command("migrate")
def database_migrate(*, as_json: Json = False) -> None:
    """Bring the database to this version's schema; qiao serve does so by itself."""
    applied = _with_url(load_config(), migrate)
    if as_json:
        print_json({"applied": applied})
    else:
        out.print(f"applied: {', '.join(applied)}" if applied else "nothing to do")


@database.command("distribution")
def database_distribution(*, as_json: Json = False) -> None:
    """The statements that distribute the tables by merchant, for Citus."""

    async def work(url: str) -> Distribution:
        async with open_database(url, min_size=1, max_size=1) as queries:
            return await read_distribution(queries)

    found = _with_url(load_config(), work)
    if as_json:
        print_json(
            {
                "reference": found.reference,
                "distributed": found.distributed,
                "statements": found.statements(),
            }
        )
    else:
        typer.echo("\n".join(found.statements()))


database.command("partitions")(partitions)
database.command("archive")(archive)


def _with_url(config: Config, work: Callable[[str], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_database_url(config) as url:
            return await work(url)

    return asyncio.run(run())
