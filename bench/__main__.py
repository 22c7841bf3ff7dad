"""``make bench``: prints the table and writes ``results.json`` beside this file."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bench.measure import Result, measure_demo, measure_doors, measure_webhooks, postgres_pid
from bench.scale import measure_growth, measure_overload, measure_processes
from bench.world import running
from qiao.store.embedded import embedded_postgres

ROUNDS, COUNT, GROW = 7, 1500, 200_000
QUICK_ROUNDS, QUICK_COUNT, QUICK_GROW = 3, 500, 20_000
RESULTS = Path(__file__).with_name("results.json")


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many pairs of rounds.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many requests a round.")] = None,
    grow: Annotated[
        int | None, typer.Option(min=1, help="How many payments to fill the database with.")
    ] = None,
    demo: Annotated[bool, typer.Option(help="Measure an idle `qiao demo` too.")] = True,
    database_url: Annotated[
        str | None, typer.Option(help="An empty database; an embedded server without it.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the results.")] = RESULTS,
) -> None:
    """Measure Qiao beside its floors, on this machine, in one run."""
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    count = count or (QUICK_COUNT if quick else COUNT)
    grow = grow or (QUICK_GROW if quick else GROW)
    results = asyncio.run(_measure(database_url, rounds=rounds, count=count, grow=grow, demo=demo))
    _print(results)
    encoded = msgspec.json.encode([msgspec.structs.asdict(_rounded(one)) for one in results])
    output.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")


async def _measure(
    database_url: str | None, *, rounds: int, count: int, grow: int, demo: bool
) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="qiao-bench-") as folder:
        home = Path(folder)
        async with AsyncExitStack() as stack:
            url = database_url
            if url is None:
                url = await stack.enter_async_context(embedded_postgres(home))
            world = await stack.enter_async_context(running(home, url))
            results = await measure_doors(world, rounds, count)
            results += await measure_webhooks(world, rounds, count)
            results += await measure_processes(world, rounds, count)
            results += await measure_overload(world, rounds, count)
            if database_url is None:  # only of our own server is the processor's time known
                growth = {"rounds": rounds, "count": count, "payments": grow}
                results.append(await measure_growth(world, postgres_pid(home), **growth))
        if demo:
            results.append(await measure_demo(home))
        return results


def _rounded(result: Result) -> Result:
    def digits(number: float | None, places: int) -> float | None:
        return None if number is None else round(number, places)

    return msgspec.structs.replace(
        result,
        value=round(result.value, 2),
        floor=digits(result.floor, 2),
        ratio=digits(result.ratio, 3),
    )


def _print(results: list[Result]) -> None:
    table = Table("", "Qiao", "unit", "floor", "ratio", "goal", "")
    for one in results:
        met = {True: "[green]ok[/]", False: "[red]misses[/]", None: ""}[one.is_met]
        table.add_row(
            one.name,
            _number(one.value),
            one.unit,
            _number(one.floor),
            "" if one.ratio is None else f"{one.ratio:.2f}",
            _goal(one),
            met,
        )
    Console().print(table)


def _goal(result: Result) -> str:
    if result.goal is None:
        return ""
    return f"{'≤' if result.ratio is None else '≥'} {result.goal:g}"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
