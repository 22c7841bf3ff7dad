"""Open an engine: database, migrations, seal, transport, accounts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from qiao.bootstrap.config import Config, load_seal
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.bulkheads import Bulkheads
from qiao.engine.runtime import Engine, Wake
from qiao.store.clock import DatabaseClock
from qiao.store.database import open_database
from qiao.store.embedded import EmbeddedPostgres, embedded_postgres
from qiao.store.migrate import migrate
from qiao.transport.asynchronous import AsyncTransport


@asynccontextmanager
async def open_database_url(config: Config) -> AsyncIterator[str]:
    """The URL of the configured database, or of the embedded server, which runs meanwhile."""
    if config.database_url:
        yield config.database_url
        return
    async with embedded_postgres(Path(config.home), archive=_archive(config)) as url:
        yield url


@asynccontextmanager
async def open_administrators_url(config: Config) -> AsyncIterator[str]:
    """Of a role that may copy the whole cluster: the embedded server's own, or the configured."""
    if config.database_url:
        yield config.database_url
        return
    server = EmbeddedPostgres(Path(config.home), archive=_archive(config))
    await asyncio.to_thread(server.start)
    try:
        yield server.administrators_url
    finally:
        await asyncio.to_thread(server.stop)


def _archive(config: Config) -> Path | None:
    return Path(config.backup_archive) if config.backup_archive else None


@asynccontextmanager
async def open_engine(config: Config, *, max_connections: int = 32) -> AsyncIterator[Engine]:
    """An engine on a database whose schema is up to date. Raises StoreUnavailable, InvalidInput."""
    seal = load_seal(config)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(open_database_url(config))
        await migrate(url)
        database = await stack.enter_async_context(open_database(url, max_size=max_connections))
        clock = await DatabaseClock.read(database)
        await stack.enter_async_context(clock.kept(database))
        transport = await stack.enter_async_context(
            AsyncTransport(private_networks=config.private_networks)
        )
        yield Engine(
            database=database,
            transport=transport,
            accounts=Accounts(database=database, seal=seal, channels=installed_channels()),
            seal=seal,
            public_url=config.base_url,
            wake=Wake(),
            now=clock,
            bulkheads=Bulkheads(waiting=config.max_requests // 2),
        )
