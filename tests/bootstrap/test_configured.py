"""The audit log names the settings that changed between two starts, and never their values."""

import pytest_asyncio

from qiao.bootstrap.config import Config
from qiao.bootstrap.configured import note_configuration
from qiao.engine.actors import Actor
from qiao.engine.audit import SERVER, check, list_entries
from qiao.store.database import Database
from qiao.testing.world import World, make_world

WHO = Actor(kind="command", id="alice", origin="pay-1")


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await make_world(database)


async def test_changed_settings_are_named(world: World) -> None:
    first = Config(home="/a", database_url="postgresql://qiao:hush@db/qiao")
    second = Config(home="/a", database_url="postgresql://qiao:other@db/qiao", port=9000)
    engine = world.engine
    assert "database_url" in await note_configuration(engine, first, "serve", actor=WHO)
    assert await note_configuration(engine, first, "serve", actor=WHO) == []
    changed = await note_configuration(engine, second, "serve", actor=WHO)
    assert changed == ["database_url", "port"]
    [newest, _] = await list_entries(engine.database, SERVER)
    assert (newest.content.action, newest.content.fields) == ("configuration.changed", changed)
    assert newest.content.actor_id == "alice"
    kept = await engine.database.fetch("SELECT content FROM audit_entry")
    sealed = await engine.database.fetch_value("SELECT sealed_settings FROM server_configuration")
    assert not any("other" in row["content"] for row in kept)
    assert b"other" not in sealed
    assert list((await check(engine.database)).broken) == []
