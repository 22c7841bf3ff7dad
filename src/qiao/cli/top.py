"""``qiao top``: what the platform is doing, live, from its database and its metrics."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import httpx
import typer
from rich.live import Live

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_database_url
from qiao.cli.output import Json, out, print_json
from qiao.cli.top_view import Call, Sight, slowest_calls, view
from qiao.domain.errors import InvalidInput
from qiao.engine.operations import look_back, take_snapshot
from qiao.store.database import Database, open_database
from qiao.store.errors import StoreUnavailable

METRICS_TIMEOUT_SECONDS: Final = 2.0
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        help="A process's /metrics, for the slowest calls; repeat it for several. "
        "By default that of metrics_port.",
    ),
]


def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between looks.")] = 2.0,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How far to look back.")] = 5,
    metrics: Metrics = None,
    as_json: Json = False,
) -> None:
    """Show throughput, success rates, what is unknown, what waits and what goes wrong, live."""
    config = load_config()
    if as_json and not once:
        raise InvalidInput("is for one look", field="--json", remedy="add --once")
    asyncio.run(
        _run(
            config,
            every=None if once else every,
            window=timedelta(minutes=minutes),
            urls=metrics or _own(config),
            as_json=as_json,
        )
    )


async def _run(
    config: Config, *, every: float | None, window: timedelta, urls: list[str], as_json: bool
) -> None:
    async with (
        open_database_url(config) as url,
        open_database(url, min_size=1, max_size=2) as database,
        httpx.AsyncClient(timeout=METRICS_TIMEOUT_SECONDS, trust_env=False) as client,
    ):
        sight = await _look(database, client, window, urls)
        if every is None:
            if as_json:
                print_json(sight.document())
            else:
                out.print(view(sight))
            return
        with Live(view(sight), console=out, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(every)
                try:
                    sight = await _look(database, client, window, urls)
                except StoreUnavailable as error:
                    sight = sight.with_note(str(error))
                live.update(view(sight), refresh=True)


async def _look(
    database: Database, client: httpx.AsyncClient, window: timedelta, urls: list[str]
) -> Sight:
    now = datetime.now(UTC)
    calls, note = await _calls(client, urls)
    return Sight(
        snapshot=await take_snapshot(database, now),
        recent=await look_back(database, now - window),
        calls=calls,
        note=note,
    )


async def _calls(client: httpx.AsyncClient, urls: list[str]) -> tuple[list[Call] | None, str]:
    if not urls:
        return None, "give --metrics, or set metrics_port, to see the slowest calls"
    texts = []
    for url in urls:
        try:
            answer = await client.get(url)
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, f"no metrics from {url} ({type(error).__name__})"
        texts.append(answer.text)
    return slowest_calls(texts), ""


def _own(config: Config) -> list[str]:
    if not config.metrics_port:
        return []
    return [f"http://{config.metrics_host}:{config.metrics_port}/metrics"]
