"""Customers of a simulation who dispute what they paid, and what their bank decides."""

import asyncio
from functools import partial
from typing import Any

from qiao.engine.disputes import DisputeRow, answer, list_disputes
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from tests.simulation.actors import Asker


class Disputer(Asker):
    """Disputes two payments; the bank may take the money first, and decides in the end."""

    async def live(self) -> None:
        world, chance = self._world, self._world.chance
        for turn in range(2):
            await asyncio.sleep(chance.uniform(20, 90))
            paid = [one for one in world.bank.orders.items() if one[1].state == "paid"]
            if not paid:
                continue
            name, order = chance.choice(paid)
            reference = order.capture[0] if order.capture else name
            amount = chance.randint(1, order.taken)
            kind = chance.choice(("complaint", "chargeback", "chargeback"))
            taken = amount if kind == "chargeback" and world.hits(0.6) else 0
            number = f"dispute-{self._number}-{turn}"
            self._tell(number, kind=kind, payment=reference, amount=amount, withdrawn=taken)
            world.background(self._go_on(number, kind, amount))
        await self._answer()

    def _tell(self, number: str, **changes: Any) -> None:
        notice = self._world.bank.dispute(number, **changes)
        self._world.tell(lambda: notice)

    async def _go_on(self, number: str, kind: str, amount: int) -> None:
        chance = self._world.chance
        await asyncio.sleep(chance.uniform(0, 60))
        self._tell(number, state="under_review")
        await asyncio.sleep(chance.uniform(0, 60))
        if kind == "complaint":
            self._tell(number, state="closed")
        elif self._world.hits(0.4):
            self._tell(number, state="won", withdrawn=0)
        elif self._world.hits(0.7):
            self._tell(number, state="lost", withdrawn=amount)

    async def _answer(self) -> None:
        """What the merchant says to those that it has heard of."""
        scope = self._world.scope
        known = await self._ask("list", lambda engine, _: list_disputes(engine, scope))
        for one in known or ():
            number = one.dispute_id
            await self._ask(f"answer-{number}", partial(_answer, scope, number))


async def _answer(scope: Scope, number: str, engine: Engine, _: IdempotencyKey) -> DisputeRow:
    return await answer(engine, scope, number, "sorry", how="reply")
