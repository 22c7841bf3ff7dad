"""The processes: the server with the doors, and the worker with the jobs."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import structlog
import uvicorn
from litestar import Litestar

from qiao.bootstrap.config import Config
from qiao.bootstrap.patience import PatientProtocol
from qiao.bootstrap.refusing import refusing
from qiao.domain.errors import InvalidInput
from qiao.engine.jobs import WEBHOOK_KINDS, handlers, keep_house
from qiao.engine.runtime import Engine
from qiao.store.outbox import Worker
from qiao.web.app import MAX_REQUESTS, create_app
from qiao.web.health import Readiness, create_operators_app
from qiao.web.limits import Limits

log = structlog.get_logger(__name__)
MAX_CONNECTIONS = 4096
"""A backstop, mostly of idle ones: who is served and who waits is for qiao.web.admission."""
GRACE_SECONDS = 20
DRAIN_SECONDS = 6.0
"""Longer than an idle connection is kept, so that clients have let go before it is closed."""
WORK_GRACE_SECONDS = 40.0
"""Longer than a handler may take: only one that refuses to end is cut off."""
WEBHOOKS_AT_ONCE = 128
COLLECT_AFTER = (10_000, 5, 2)
"""For :func:`gc.set_threshold`. Under load there are 700 objects more every few requests, and
Python's own (700, 10, 10) look for cycles then, of which there are none. All objects are looked
at after 100,000 more instead of 70,000."""
Result = TypeVar("Result")


def run(process: Coroutine[Any, Any, Result]) -> Result:
    """Run a process to its end, on uvloop where uvicorn brought it (everywhere but Windows)."""
    gc.set_threshold(*COLLECT_AFTER)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(process)
    return uvloop.run(process)


@asynccontextmanager
async def working(engine: Engine) -> AsyncIterator[None]:
    """Workers beside whatever happens in the block: one for money, one for webhooks.

    At the end they finish what they have begun and give back the rest. What takes longer than
    WORK_GRACE_SECONDS is cut off; its lease lapses, and another worker takes it up.
    """
    await keep_house(engine.database)
    every = handlers(engine)
    money = {kind: handler for kind, handler in every.items() if kind not in WEBHOOK_KINDS}
    webhooks = {kind: handler for kind, handler in every.items() if kind in WEBHOOK_KINDS}
    workers = [
        Worker(engine.database, money),
        Worker(engine.database, webhooks, concurrency=WEBHOOKS_AT_ONCE),
    ]

    def wake() -> None:
        for worker in workers:
            worker.wake()

    engine.wake.call(wake)
    stop = asyncio.Event()
    task = asyncio.gather(*(worker.run(stop) for worker in workers))
    try:
        yield
    finally:
        stop.set()
        try:
            async with asyncio.timeout(WORK_GRACE_SECONDS):
                await task
        except TimeoutError:
            log.warning("worker_cut_off", after_seconds=WORK_GRACE_SECONDS)


def listen(host: str, port: int, *, reuse_port: bool = False, field: str = "port") -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises InvalidInput when it is taken.

    ``reuse_port`` lets other processes of ours listen there too; the kernel spreads connections.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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


def inherited(descriptor: int) -> socket.socket:
    """The listening socket that whoever started us holds too. Raises InvalidInput."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.setblocking(False)
            return listener
        listener.detach()
    except OSError:
        pass
    raise InvalidInput(
        "no listening socket was handed over there",
        field="fd",
        remedy="leave it out, or give the number under which it is inherited (systemd: 3)",
    )


@asynccontextmanager
async def serving(
    engine: Engine,
    listener: socket.socket,
    readiness: Readiness | None = None,
    *,
    limits: Limits | None = None,
    max_requests: int = MAX_REQUESTS,
    trusted_proxies: str | None = None,
    drain_seconds: float = 0.0,
) -> AsyncIterator[str]:
    """The doors on a listening socket; gives the URL on which they listen.

    At the end nothing more is accepted. For ``drain_seconds``, or until no connection is left,
    each answer asks its client to close; then idle connections are closed, and what is being
    served is finished within GRACE_SECONDS.
    """
    doors = create_app(engine, readiness, limits=limits, max_requests=max_requests)
    settings = _settings(
        doors,
        http=refusing(doors.protection.refuse),
        proxy_headers=trusted_proxies is not None,
        forwarded_allow_ips=trusted_proxies or "",
        limit_concurrency=MAX_CONNECTIONS,
    )
    server = _Server(settings)
    async with _running(server, listener) as url:
        try:
            yield url
        finally:
            doors.drain()
            await server.drain(drain_seconds)


@asynccontextmanager
async def showing(readiness: Readiness, config: Config) -> AsyncIterator[str | None]:
    """The operator's listener, if the configuration names one; its URL."""
    if config.metrics_port is None:
        yield None
        return
    listener = listen(config.metrics_host, config.metrics_port, field="metrics_port")
    app = create_operators_app(readiness)
    server = _Server(_settings(app, http=PatientProtocol, proxy_headers=False))
    async with _running(server, listener) as url:
        yield url


def _settings(app: Litestar, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **more,
    )


@asynccontextmanager
async def _running(server: "_Server", listener: socket.socket) -> AsyncIterator[str]:
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

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, and wait until the connections are gone or the time is over."""
        for one in self.servers:
            one.close()
        ends_at = time.monotonic() + seconds
        while self.server_state.connections and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # uvicorn tells nobody when one has gone

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
