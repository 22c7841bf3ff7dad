"""Customers who agreed to be charged at the bank in memory, for tests of subscriptions."""

from dataclasses import replace
from datetime import date, time
from zoneinfo import ZoneInfo

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit
from qiao.engine.agreement_work import agreement_now
from qiao.engine.agreements import AgreementOrder, request_agreement
from qiao.engine.notifications import receive
from qiao.engine.payments import list_payments
from qiao.engine.records import Agreement, Payment, Period, Subscription
from qiao.engine.subscription_work import subscription_now
from qiao.engine.subscriptions import (
    SubscriptionOrder,
    create_subscription,
    periods_of,
)
from qiao.testing.world import World

SHANGHAI = ZoneInfo("Asia/Shanghai")


def today(world: World) -> date:
    return world.clock().astimezone(SHANGHAI).date()


def from_noon(world: World) -> World:
    """Its clock begins at noon in China: no day ends while a test looks at it."""
    now = world.clock().astimezone(SHANGHAI)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    world.clock.pass_by(seconds=(noon - now).total_seconds() % 86_400)
    return world


async def signed(
    world: World, *, unit: PeriodUnit = PeriodUnit.DAY, count: int = 30, first: date | None = None
) -> Agreement:
    order = AgreementOrder(
        number=f"member-{len(world.bank.mandates)}",
        channel="bank",
        product=Product.QR,
        max_amount=Money(3000, "CNY"),
        period_unit=unit,
        period_count=count,
        first_charge_on=first or today(world),
        display_name="member",
    )
    agreement = (await request_agreement(world.engine, world.scope, order)).agreement
    world.bank.sign_mandate(agreement.reference)
    notice = world.bank.mandate_notice(agreement.reference)
    await receive(world.engine, agreement.merchant_id, world.account_id, notice)
    return await agreement_now(world.engine, agreement.merchant_id, agreement.agreement_id)


def order(agreement: Agreement, **more: object) -> SubscriptionOrder:
    asked = SubscriptionOrder(
        number=f"sub-{agreement.number}",
        agreement_id=agreement.agreement_id,
        amount=Money(2500, "CNY"),
        description="lessons",
        charge_time=time(0, 0),
    )
    return replace(asked, **more)  # type: ignore[arg-type]  # a test names the fields


async def subscribed(world: World, **more: object) -> Subscription:
    made = await create_subscription(world.engine, world.scope, order(await signed(world), **more))
    return made.subscription


async def now(world: World, subscription: Subscription) -> Subscription:
    return await subscription_now(
        world.engine, subscription.merchant_id, subscription.subscription_id
    )


async def periods(world: World, subscription: Subscription) -> list[Period]:
    return list(reversed(await periods_of(world.engine, subscription)))


async def states(world: World, subscription: Subscription) -> list[str]:
    return [str(one.state) for one in await periods(world, subscription)]


async def pass_days(world: World, days: int) -> None:
    """Day after day, as a worker that never rests."""
    for _ in range(days):
        world.clock.pass_by(days=1)
        await world.work()


async def payments(world: World) -> list[Payment]:
    return list(reversed(await list_payments(world.engine, world.scope)))


def charges(world: World) -> int:
    return sum(len(one.charges) for one in world.bank.mandates.values())


async def events(world: World) -> list[str]:
    rows = await world.engine.database.fetch(
        "SELECT type FROM event WHERE type LIKE 'subscription.%' ORDER BY event_id"
    )
    return [row["type"].removeprefix("subscription.") for row in rows]
