"""The application on a real socket, and clients with keys."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
import uvicorn

from qiao.engine.merchants import issue_api_key
from qiao.engine.runtime import Scope
from qiao.store.database import Database
from qiao.testing.world import World, make_world
from qiao.web.app import create_app


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await make_world(database)


@pytest_asyncio.fixture
async def base_url(world: World) -> AsyncIterator[str]:
    config = uvicorn.Config(
        create_app(world.engine), port=0, log_config=None, lifespan="on", ws="none"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    await serving


@pytest_asyncio.fixture
async def api(world: World, base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the merchant's test key."""
    key = await issue_api_key(world.engine, world.scope)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture
async def live_api(world: World, base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the same merchant's live key."""
    key = await issue_api_key(world.engine, Scope(merchant_id=world.scope.merchant_id, live=True))
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client:
        yield client
