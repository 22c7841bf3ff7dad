"""``qiao serve`` and ``qiao worker``."""

from contextlib import AsyncExitStack
from typing import Annotated

import msgspec
import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.configured import note_configuration
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import listen, run, serving, showing, until_stopped, working
from qiao.bootstrap.snapshot import taking_snapshots
from qiao.bootstrap.telemetry import tracing
from qiao.cli.admin import operator
from qiao.cli.output import Json, out, print_json
from qiao.engine.runtime import Engine
from qiao.web.health import Readiness

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
    run(
        _serve(
            config,
            host=host or config.host,
            port=config.port if port is None else port,
            with_worker=with_worker,
            as_json=as_json,
        )
    )


def worker(*, metrics_port: MetricsPort = None, as_json: Json = False) -> None:
    """Work jobs off until stopped: questions to channels, refunds, webhooks."""
    config = load_config()
    if metrics_port is not None:
        config = msgspec.structs.replace(config, metrics_port=metrics_port)
    run(_work(config, as_json=as_json))


async def _serve(config: Config, *, host: str, port: int, with_worker: bool, as_json: bool) -> None:
    listener = listen(host, port)
    # Channels and customers come to the port that is listened on, unless public_url says more.
    config = msgspec.structs.replace(config, port=listener.getsockname()[1])
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing())
        engine = await stack.enter_async_context(open_engine(config))
        await note_configuration(engine, config, "serve", actor=operator())
        readiness = Readiness(engine)
        metrics_url = await stack.enter_async_context(showing(readiness, config))
        url = await stack.enter_async_context(serving(engine, listener, readiness))
        if with_worker:
            await _work_in(stack, engine, metrics_url)

        def tell() -> None:
            if as_json:
                shown = {"url": url, "public_url": config.base_url, "worker": with_worker}
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
