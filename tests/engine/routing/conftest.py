"""A merchant with two accounts at the bank: ``bank`` at its main branch, ``north`` in the north."""

from datetime import UTC, datetime

import pytest_asyncio

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.engine.routing.wanted import Wanted
from qiao.store.database import Database
from qiao.testing.world import World, make_world


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    world = await make_world(database)
    await world.open_second_account()
    return world


def wanted(minor: int = 1000, **more: object) -> Wanted:
    values: dict[str, object] = {
        "subject": "pay_1",
        "amount": Money(minor, "CNY"),
        "product": Product.QR,
        "channel": "bank",
        "at": datetime(2026, 11, 11, 12, 30, tzinfo=UTC),
        **more,
    }
    return Wanted(**values)  # type: ignore[arg-type]  # a test names the fields itself
