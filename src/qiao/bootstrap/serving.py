"""The processes: the server with the doors, and the worker with the jobs."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import structlog
import uvicorn
from litestar import Litestar

from qiao.bootstrap.config import Config
from qiao.domain.errors import InvalidInput
from qiao.engine.jobs import handlers
from qiao.engine.runtime import Engine
from qiao.store.outbox import Worker
from qiao.web.app import create_app
from qiao.web.health import Readiness, create_operators_app

log = structlog.get_logger(__name__)
MAX_CONCURRENT_REQUESTS = 512
GRACE_SECONDS = 20
Result = TypeVar("Result")


def run(process: Coroutine[Any, Any, Result]) -> Result:
    """Run a process to its end, on uvloop where uvicorn brought it (everywhere but Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(process)
    return uvloop.run(process)


@asynccontextmanager
async def working(engine: Engine) -> AsyncIterator[None]:
    """A worker beside whatever happens in the block; what it has begun is finished at the end."""
    worker = Worker(engine.database, handlers(engine))
    engine.wake.call(worker.wake)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def listen(host: str, port: int, *, field: str = "port") -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises InvalidInput when it is taken."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"cannot listen on {host}:{port}: {error.strerror}",
            field=field,
            remedy="choose another port, or stop what listens there",
        ) from None
    listener.listen(2048)
    return listener


@asynccontextmanager
async def serving(
    engine: Engine, listener: socket.socket, readiness: Readiness | None = None
) -> AsyncIterator[str]:
    """The doors on a listening socket; gives the URL on which they listen."""
    async with _running(create_app(engine, readiness), listener) as url:
        yield url


@asynccontextmanager
async def showing(readiness: Readiness, config: Config) -> AsyncIterator[str | None]:
    """The operator's listener, if the configuration names one; its URL."""
    if config.metrics_port is None:
        yield None
        return
    listener = listen(config.metrics_host, config.metrics_port, field="metrics_port")
    async with _running(create_operators_app(readiness), listener) as url:
        yield url


@asynccontextmanager
async def _running(app: Litestar, listener: socket.socket) -> AsyncIterator[str]:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONCURRENT_REQUESTS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            await task
            raise RuntimeError("the server ended before it served")
        await asyncio.sleep(0.01)
    host, port = listener.getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """Leaves the signals to whoever runs the process: several servers may live in one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def until_stopped(
    readiness: Readiness, config: Config, ready: Callable[[], None] = lambda: None
) -> None:
    """Until a signal arrives; then /readyz fails first, and the doors stay for a while."""
    await until_signalled(ready)
    readiness.stop()
    await asyncio.sleep(config.drain_seconds)


async def until_signalled(ready: Callable[[], None] = lambda: None) -> None:
    """Until SIGINT or SIGTERM arrives; a second one has its usual effect.

    ``ready`` is called once a signal would be caught, to tell others so.
    """
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, arrived.set)
    ready()
    await arrived.wait()
    for one in signals:
        loop.remove_signal_handler(one)
