"""Serves a simulator on loopback, and nowhere else."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serve(
    application: web.Application,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve ``application``, over ``tls`` if given, and give its base URL; port 0 takes a free one.

    Raises ValueError for an address that is not loopback: a simulator approves every payment, so
    nobody else may reach one. Raises OSError when the port is taken.
    """
    if not ipaddress.ip_address(host).is_loopback:
        message = "a simulator listens on loopback only; give 127.0.0.1"
        raise ValueError(message)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        bound = runner.addresses[0]
        yield f"{'https' if tls else 'http'}://{host}:{bound[1]}"
    finally:
        await runner.cleanup()
