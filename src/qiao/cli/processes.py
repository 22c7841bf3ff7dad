"""``qiao serve`` and ``qiao worker``."""

from typing import Annotated

import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import listen, run, serving, until_signalled, working
from qiao.cli.output import Json, out, print_json


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Listen on this address.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Listen on this port; 0 takes a free one.")
    ] = None,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Work the jobs off in this process too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Serve the API, the cashier and the channels' notifications until stopped."""
    config = load_config()
    run(
        _serve(
            config,
            host=host or config.host,
            port=config.port if port is None else port,
            with_worker=with_worker,
            as_json=as_json,
        )
    )


def worker(*, as_json: Json = False) -> None:
    """Work jobs off until stopped: questions to channels, refunds, webhooks."""
    run(_work(load_config(), as_json=as_json))


async def _serve(config: Config, *, host: str, port: int, with_worker: bool, as_json: bool) -> None:
    listener = listen(host, port)
    async with open_engine(config) as engine, serving(engine, listener) as url:
        if as_json:
            print_json({"url": url, "public_url": config.base_url, "worker": with_worker})
        else:
            out.print(f"Qiao serves on [bold]{url}[/]; its reference is {url}/docs")
        if with_worker:
            async with working(engine):
                await until_signalled()
        else:
            await until_signalled()


async def _work(config: Config, *, as_json: bool) -> None:
    async with open_engine(config) as engine, working(engine):
        if as_json:
            print_json({"worker": True})
        else:
            out.print("Qiao works jobs off")
        await until_signalled()
