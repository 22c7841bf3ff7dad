"""The world in which the engine's tests take place."""

import pytest_asyncio

from qiao.store.database import Database
from qiao.testing.world import World, make_world


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await make_world(database)
