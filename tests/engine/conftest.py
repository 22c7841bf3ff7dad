"""The world in which the engine's tests take place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from qiao.store.database import Database, open_database
from qiao.testing.world import World, make_world


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await make_world(database)


@pytest_asyncio.fixture
async def patient(postgres_url: str) -> AsyncIterator[Database]:
    async with open_database(postgres_url, min_size=2, max_size=2, patient=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"
