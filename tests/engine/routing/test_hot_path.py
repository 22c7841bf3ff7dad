"""Routing costs the usual request no statement of its own."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from qiao.engine.accounts import Accounts
from qiao.engine.ordering import order_and_attempt
from qiao.engine.runtime import Engine
from qiao.store.database import Database
from qiao.testing.bank import BANK
from qiao.testing.world import World

STRATEGIES = ("priority", "split", "cost", "value", "bandit")


@dataclass
class Counting(Database):
    """The database, and every statement that it was asked."""

    inner: Database
    asked: list[str] = field(default_factory=list)

    async def fetch(self, sql: str, *args: object) -> Any:
        self.asked.append(sql)
        return await self.inner.fetch(sql, *args)

    async def fetch_row(self, sql: str, *args: object) -> Any:
        self.asked.append(sql)
        return await self.inner.fetch_row(sql, *args)

    async def fetch_value(self, sql: str, *args: object) -> Any:
        self.asked.append(sql)
        return await self.inner.fetch_value(sql, *args)

    async def execute(self, sql: str, *args: object) -> Any:
        self.asked.append(sql)
        return await self.inner.execute(sql, *args)


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
async def test_an_order_with_its_attempt_is_two_statements(
    world: World, strategy: str | None
) -> None:
    if strategy is not None:
        rows = [{"when": {"amount": "> 5000"}, "accounts": ["north"]}, {"accounts": ["bank"]}]
        await world.rule(strategy=strategy, rows=rows)
    counting = Counting(world.engine.database)
    engine = Engine(
        database=counting,
        transport=world.transport,
        accounts=Accounts(database=counting, seal=world.engine.seal, channels={"bank": BANK}),
        seal=world.engine.seal,
        public_url="https://qiao.invalid",
        now=world.clock,
    )
    counts = []
    for _ in range(20):
        await order_and_attempt(engine, world.scope, world.order(), world.method())
        counts.append(len(counting.asked))
        counting.asked.clear()
    # What is held is looked up once a second, and where rules ask for statistics a job is wanted
    # once in five: all others are two, whatever the machine does meanwhile.
    assert sorted(counts)[len(counts) // 2] == 2
