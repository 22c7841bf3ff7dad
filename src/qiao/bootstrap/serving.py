"""The processes: the server with the doors, and the worker with the jobs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn

from qiao.engine.jobs import handlers
from qiao.engine.runtime import Engine
from qiao.store.outbox import Worker
from qiao.web.app import create_app

log = structlog.get_logger(__name__)
MAX_CONCURRENT_REQUESTS = 512
GRACE_SECONDS = 20


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


@asynccontextmanager
async def serving(engine: Engine, *, host: str, port: int) -> AsyncIterator[str]:
    """The doors on a socket; gives the URL on which they listen. Port 0 takes a free one."""
    config = uvicorn.Config(
        create_app(engine),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONCURRENT_REQUESTS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
            raise OSError(f"cannot listen on {host}:{port}")
        await asyncio.sleep(0.01)
    bound_host, bound_port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{bound_host}:{bound_port}"
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """Leaves the signals to whoever runs the process: several servers may live in one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def until_signalled() -> None:
    """Until SIGINT or SIGTERM arrives; a second one has its usual effect."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, arrived.set)
    await arrived.wait()
    for one in signals:
        loop.remove_signal_handler(one)
