"""Customers of a simulation who agree to be charged, and what becomes of it."""

import asyncio
from datetime import time
from zoneinfo import ZoneInfo

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit
from qiao.engine.agreements import AgreementOrder, end_agreement, request_agreement
from qiao.engine.records import Agreement
from qiao.engine.subscriptions import (
    SubscriptionOrder,
    cancel,
    create_subscription,
    pause,
    resume,
)
from tests.simulation.actors import Asker

SHANGHAI = ZoneInfo("Asia/Shanghai")
MOST_MINOR = 5


class Subscriber(Asker):
    """Agrees, is charged for two days, and may change its mind."""

    async def live(self) -> None:
        self.subscribed: set[str] = set()
        await asyncio.sleep(self._world.chance.uniform(0, 60))
        agreement = await self._agree()
        if agreement is None:
            return
        for _ in range(5):  # until the customer has signed, if they ever do
            await asyncio.sleep(self._world.chance.expovariate(1 / 15))
            if await self._subscribe(agreement):
                break
        for subscription_id in tuple(self.subscribed):
            await self._change_its_mind(agreement, subscription_id)

    async def _agree(self) -> Agreement | None:
        world = self._world
        order = AgreementOrder(
            number=f"member-{self._number}",
            channel="bank",
            product=Product.QR,
            max_amount=Money(MOST_MINOR, "CNY"),
            period_unit=PeriodUnit.DAY,
            period_count=1,
            first_charge_on=world.now().astimezone(SHANGHAI).date(),
            display_name="member",
            expires_in_seconds=600,
        )
        made = await self._ask(
            "agree", lambda engine, _: request_agreement(engine, world.scope, order)
        )
        if made is None:
            return None
        if world.hits(0.85):
            world.background(self._sign(made.agreement.reference))
        return made.agreement

    async def _sign(self, reference: str) -> None:
        """The customer does, if the bank knows of it by then."""
        world = self._world
        await asyncio.sleep(world.chance.uniform(0, 60))
        if reference in world.bank.mandates:
            world.bank.sign_mandate(reference)
            world.tell(lambda: world.bank.mandate_notice(reference))

    async def _subscribe(self, agreement: Agreement) -> bool:
        world = self._world
        order = SubscriptionOrder(
            number=f"lessons-{self._number}",
            agreement_id=agreement.agreement_id,
            amount=Money(world.chance.randint(1, MOST_MINOR), "CNY"),
            description="lessons",
            charge_time=time(0, 0),
            periods=2,
        )
        made = await self._ask(
            "subscribe", lambda engine, _: create_subscription(engine, world.scope, order)
        )
        if made is not None:
            self.subscribed.add(made.subscription.subscription_id)
        return made is not None

    async def _change_its_mind(self, agreement: Agreement, number: str) -> None:
        scope, chance = self._world.scope, self._world.chance
        await asyncio.sleep(chance.uniform(0, 60))
        match chance.choice(("stay", "stay", "pause", "cancel", "end")):
            case "pause":
                await self._ask("pause", lambda engine, _: pause(engine, scope, number))
                await asyncio.sleep(chance.uniform(0, 60))
                await self._ask("resume", lambda engine, _: resume(engine, scope, number))
            case "cancel":
                await self._ask("cancel", lambda engine, _: cancel(engine, scope, number))
            case "end":
                agreement_id = agreement.agreement_id
                await self._ask("end", lambda engine, _: end_agreement(engine, scope, agreement_id))
