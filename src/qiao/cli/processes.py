"""``qiao serve`` and ``qiao worker``."""

import asyncio
import socket
from typing import Annotated

import msgspec
import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import (
    DRAIN_SECONDS,
    inherited,
    listen,
    serving,
    until_signalled,
    working,
)
from qiao.cli.output import Json, out, print_json
from qiao.web.limits import Limits


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Listen on this address.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Listen on this port; 0 takes a free one.")
    ] = None,
    fd: Annotated[
        int | None,
        typer.Option(help="Take over the listening socket with this number, as systemd hands out."),
    ] = None,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Let further processes listen on the port too.")
    ] = False,
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Work the jobs off in this process too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Serve the API, the cashier and the channels' notifications until stopped."""
    config = load_config()
    if host is not None:  # what may be reached from outside is decided by where we listen
        config = msgspec.structs.replace(config, host=host, public_url=config.base_url)
    listener = (
        listen(config.host, config.port if port is None else port, reuse_port=reuse_port)
        if fd is None
        else inherited(fd)
    )
    asyncio.run(_serve(config, listener, with_worker=with_worker, as_json=as_json))


def worker() -> None:
    """Work jobs off until stopped: questions to channels, refunds, webhooks."""
    asyncio.run(_work(load_config()))


async def _serve(
    config: Config, listener: socket.socket, *, with_worker: bool, as_json: bool
) -> None:
    limits = Limits(per_second=config.rate_limit, of_merchants=config.limits_of_merchants)
    async with (
        open_engine(config) as engine,
        serving(
            engine,
            listener,
            limits=limits,
            max_requests=config.max_requests,
            trusted_proxies=config.trusted_proxies,
            drain_seconds=DRAIN_SECONDS,
        ) as url,
    ):
        if as_json:
            print_json({"url": url, "public_url": config.base_url, "worker": with_worker})
        else:
            out.print(f"Qiao serves on [bold]{url}[/]; its reference is {url}/docs")
        if with_worker:
            async with working(engine):
                await until_signalled()
        else:
            await until_signalled()


async def _work(config: Config) -> None:
    async with open_engine(config) as engine, working(engine):
        out.print("Qiao works jobs off")
        await until_signalled()
