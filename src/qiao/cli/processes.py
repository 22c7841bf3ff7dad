"""``qiao serve`` and ``qiao worker``."""

import socket
from contextlib import AsyncExitStack
from typing import Annotated

import msgspec
import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.configured import note_configuration
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import (
    DRAIN_SECONDS,
    inherited,
    listen,
    run,
    serving,
    showing,
    until_stopped,
    working,
)
from qiao.bootstrap.snapshot import taking_snapshots
from qiao.bootstrap.telemetry import tracing
from qiao.cli.admin import operator
from qiao.cli.output import Json, out, print_json
from qiao.engine.runtime import Engine
from qiao.web.health import Readiness
from qiao.web.limits import Limits

MetricsPort = Annotated[
    int | None,
    typer.Option(help="Show metrics and probes on this port of metrics_host; 0 takes a free one."),
]


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
    metrics_port: MetricsPort = None,
    as_json: Json = False,
) -> None:
    """Serve the API, the cashier and the channels' notifications until stopped."""
    config = load_config()
    if metrics_port is not None:
        config = msgspec.structs.replace(config, metrics_port=metrics_port)
    listener = (
        listen(host or config.host, config.port if port is None else port, reuse_port=reuse_port)
        if fd is None
        else inherited(fd)
    )
    run(_serve(config, listener, with_worker=with_worker, as_json=as_json))


def worker(*, metrics_port: MetricsPort = None, as_json: Json = False) -> None:
    """Work jobs off until stopped: questions to channels, refunds, webhooks."""
    config = load_config()
    if metrics_port is not None:
        config = msgspec.structs.replace(config, metrics_port=metrics_port)
    run(_work(config, as_json=as_json))


def _placed(config: Config, listener: socket.socket) -> Config:
    """The configuration of who listens there.

    Channels and customers come to the port that is listened on, unless public_url says more; and
    what webhooks may reach follows from the address that is listened on.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return config  # a Unix socket, behind a proxy that has an address
    address, port = listener.getsockname()[:2]
    placed = msgspec.structs.replace(config, port=port)
    return msgspec.structs.replace(placed, host=address, public_url=placed.base_url)


async def _serve(
    config: Config, listener: socket.socket, *, with_worker: bool, as_json: bool
) -> None:
    limits = Limits(per_second=config.rate_limit, of_merchants=config.limits_of_merchants)
    placed = _placed(config, listener)
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing())
        engine = await stack.enter_async_context(open_engine(placed))
        await note_configuration(engine, config, "serve", actor=operator())
        readiness = Readiness(engine)
        metrics_url = await stack.enter_async_context(showing(readiness, config))
        doors = serving(
            engine,
            listener,
            readiness,
            limits=limits,
            max_requests=config.max_requests,
            trusted_proxies=config.trusted_proxies,
            drain_seconds=DRAIN_SECONDS,
        )
        url = await stack.enter_async_context(doors)
        if with_worker:
            await _work_in(stack, engine, metrics_url)

        def tell() -> None:
            if as_json:
                shown = {"url": url, "public_url": placed.base_url, "worker": with_worker}
                print_json({**shown, "metrics_url": metrics_url})
            else:
                out.print(f"Qiao serves on [bold]{url}[/]; its reference is {url}/docs")
                if metrics_url:
                    out.print(f"Metrics and probes on {metrics_url}")

        await until_stopped(readiness, config, tell)


async def _work_in(stack: AsyncExitStack, engine: Engine, metrics_url: str | None) -> None:
    """A worker, and the gauges if there is somebody to read them."""
    await stack.enter_async_context(working(engine))
    if metrics_url is not None:
        await stack.enter_async_context(taking_snapshots(engine))


async def _work(config: Config, *, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing())
        engine = await stack.enter_async_context(open_engine(config))
        await note_configuration(engine, config, "worker", actor=operator())
        readiness = Readiness(engine)
        metrics_url = await stack.enter_async_context(showing(readiness, config))
        await _work_in(stack, engine, metrics_url)

        def tell() -> None:
            if as_json:
                print_json({"worker": True, "metrics_url": metrics_url})
            else:
                more = f"; metrics on {metrics_url}" if metrics_url else ""
                out.print(f"Qiao works jobs off{more}")

        await until_stopped(readiness, config, tell)
