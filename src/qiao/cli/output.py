"""How commands speak: tables for people, JSON for programs, errors that say what to do."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qiao.domain.errors import InvalidInput, QiaoError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(document: object) -> None:
    """One JSON document on standard output, indented."""
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_fields(document: dict[str, Any], names: Sequence[str]) -> None:
    """The named fields, one a line; those that are empty are left out."""
    shown = {name: document.get(name) for name in names}
    shown = {name: value for name, value in shown.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        # No table: it would cut or wrap what people copy.
        out.print(f"[dim]{name.ljust(width)}[/]  {escape(str(value))}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Cells that are too wide for the terminal go on in the next line; nothing is cut off."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(table)


def print_error(error: QiaoError) -> None:
    """The message, the field and the remedy, on standard error."""
    if isinstance(error, InvalidInput):
        err.print(f"[red]error[/] {error.field}: {error.args[0]}", markup=True)
        err.print(f"  → {error.remedy}", markup=False)
    else:
        err.print(f"[red]error[/] {type(error).__name__}: ", end="")
        err.print(str(error), markup=False)
