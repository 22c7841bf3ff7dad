"""``qiao audit``: who did what, and the proof that nobody changed the log."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import msgspec
import typer

from qiao.bootstrap.config import load_config
from qiao.bootstrap.engine import open_database_url
from qiao.cli.output import Json, out, print_json
from qiao.engine.audit import SERVER, check, list_entries, plain
from qiao.store.database import Queries, open_database

audit = typer.Typer(
    no_args_is_help=True, help="See who did what, and prove that nobody changed it."
)
Result = TypeVar("Result")


@audit.command("check")
def check_(*, as_json: Json = False) -> None:
    """Compute every chain of the audit log again; 1 when a row was changed, removed or moved."""
    verdict = _ask(check)
    if as_json:
        print_json({"right": not verdict.broken, **msgspec.to_builtins(verdict)})
    else:
        for broken in verdict.broken:
            row = "" if broken.sequence is None else f" row {broken.sequence}"
            out.print(f"[red]✗[/] {broken.chain}{row}: {broken.reason}")
        told = f"rows {verdict.entries}, chains {len(verdict.heads)}"
        if verdict.broken:
            out.print(f"[red]The audit log was tampered with[/]; good: {told}")
        else:
            out.print(f"[green]✓[/] The audit log is whole: {told}")
    sys.exit(1 if verdict.broken else 0)


@audit.command("list")
def list_(
    merchant_id: Annotated[str, typer.Argument(help="The merchant's id.")] = SERVER,
    *,
    before: Annotated[int | None, typer.Option(help="Only rows before this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: Json = False,
) -> None:
    """The newest rows of a merchant's log first; of the server's own without an id."""

    found = _ask(lambda queries: list_entries(queries, merchant_id, before=before, limit=limit))
    if as_json:
        print_json([plain(one) for one in found])
        return
    for one in found:
        said = one.content
        who = f"{said.actor_kind} {said.actor_id}" + (f" from {said.origin}" if said.origin else "")
        about = " ".join([said.action, said.subject_id or "", ", ".join(said.fields)]).rstrip()
        line = f"{one.sequence:>6}  {said.at:%Y-%m-%d %H:%M:%S}  {about}  by {who}"
        out.print(line, markup=False)


def _ask(work: Callable[[Queries], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with (
            open_database_url(load_config()) as url,
            open_database(url, min_size=1, max_size=1, patient=True) as database,
            database.transaction() as queries,
        ):
            await queries.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await work(queries)

    return asyncio.run(run())
