"""``qiao serve`` and ``qiao worker``."""

from contextlib import nullcontext
from typing import Annotated

import msgspec
import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import listen, run, serving, until_signalled, working
from qiao.cli.output import Json, out, print_json


def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option(help="Listen on this address.", show_default="QIAO_HOST, 127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Listen on this port; 0 takes a free one.",
            show_default="QIAO_PORT, 8080",
        ),
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
    # Channels and customers come to the port that is listened on, unless public_url says more.
    config = msgspec.structs.replace(config, port=listener.getsockname()[1])
    async with open_engine(config) as engine, serving(engine, listener) as url:

        def tell() -> None:
            if as_json:
                print_json({"url": url, "public_url": config.base_url, "worker": with_worker})
            else:
                out.print(f"Qiao serves on [bold]{url}[/]; its reference is {url}/docs")

        async with working(engine) if with_worker else nullcontext():
            await until_signalled(tell)


async def _work(config: Config, *, as_json: bool) -> None:
    async with open_engine(config) as engine, working(engine):

        def tell() -> None:
            if as_json:
                print_json({"worker": True})
            else:
                out.print("Qiao works jobs off")

        await until_signalled(tell)
