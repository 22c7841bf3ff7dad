"""The demonstration, for examples that need a server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from qiao.bootstrap.config import Config
from qiao.demo.world import World, running


@pytest_asyncio.fixture
async def world(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    config = Config(home=str(tmp_path / "home"), database_url=postgres_url)
    async with running(config, lambda _: None) as world:
        yield world
