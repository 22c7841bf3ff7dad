"""Limits of payments: what is over is refused with nothing written, and no two pass together."""

import asyncio
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.attempts import attempt
from qiao.engine.audit import list_entries
from qiao.engine.errors import Conflict, Missing
from qiao.engine.ordering import order_and_attempt
from qiao.engine.organisations import add_app
from qiao.engine.payment_limits import LimitKind, limits, put_limit, remove_limit
from qiao.engine.payments import accept
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.testing.world import World

KEY = IdempotencyKey(key="one", body_digest=b"body")


async def limit(
    world: World, kind: LimitKind, maximum: int, scope: Scope | None = None, **more: str
) -> str:
    found = await put_limit(
        world.engine, scope or world.scope, kind, maximum, **{"currency": "CNY", **more}
    )
    return found.limit_id


async def count(world: World, table: str) -> int:
    found: int = await world.engine.database.fetch_value(f"SELECT count(*) FROM {table}")
    return found


async def used(world: World) -> list[int]:
    return [one.used_today for one in await limits(world.engine, world.scope.merchant_id)]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_payments_amount(world: World, at_once: bool) -> None:
    limit_id = await limit(world, LimitKind.AMOUNT, 1000)

    async def pay(minor: int) -> object:
        if at_once:
            method = world.method()
            return await order_and_attempt(
                world.engine, world.scope, world.order(minor), method, key=KEY
            )
        return await accept(world.engine, world.scope, world.order(minor), key=KEY)

    with pytest.raises(Conflict) as refused:
        await pay(1001)
    assert (refused.value.code, refused.value.field) == ("limit_exceeded", "amount")
    assert limit_id in str(refused.value)
    assert "at most 1000 CNY (minor units) a payment" in str(refused.value)
    assert [await count(world, table) for table in ("payment", "idempotency_key", "job")] == [0] * 3
    await pay(1000)
    assert await count(world, "payment") == 1


@pytest.mark.parametrize(
    ("kind", "maximum", "left"),
    [(LimitKind.DAILY_AMOUNT, 2500, 500), (LimitKind.DAILY_COUNT, 2, None)],
)
async def test_a_days_sum_and_number(
    world: World, kind: LimitKind, maximum: int, left: int | None
) -> None:
    limit_id = await limit(world, kind, maximum, time_zone="Asia/Shanghai")
    for _ in range(2):
        await world.accept(1000)
    with pytest.raises(Conflict) as refused:
        await world.accept(1000)
    told = str(refused.value)
    assert limit_id in told
    midnight = datetime.fromisoformat(told.partition("it resets at ")[2].split()[0])
    assert midnight.astimezone(ZoneInfo("Asia/Shanghai")).time().isoformat() == "00:00:00"
    assert midnight > world.engine.now()
    if left is not None:
        await world.accept(left)
    # The next day begins with nothing used.
    await world.engine.database.execute("UPDATE limit_use SET day = day - 1")
    await world.accept(1000)
    assert await used(world) == [1000 if left else 1]


async def test_the_same_order_again_counts_once_and_is_never_refused(world: World) -> None:
    await limit(world, LimitKind.DAILY_COUNT, 1)
    order = world.order()
    first = await accept(world.engine, world.scope, order, key=KEY)
    for key in (KEY, None):
        again = await accept(world.engine, world.scope, order, key=key)
        assert (again.payment, again.created) == (first.payment, False)
    assert await used(world) == [1]


async def test_no_two_pass_together(world: World) -> None:
    await limit(world, LimitKind.DAILY_AMOUNT, 7000)
    await limit(world, LimitKind.DAILY_COUNT, 100)
    await limit(world, LimitKind.DAILY_AMOUNT, 5000, channel="bank")
    done = await asyncio.gather(
        *(
            order_and_attempt(world.engine, world.scope, world.order(1000), world.method())
            for _ in range(20)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in done) == 5
    assert {one.code for one in done if isinstance(one, Conflict)} == {"limit_exceeded"}
    assert (await count(world, "payment"), await count(world, "attempt")) == (7, 5)
    assert sorted(await used(world)) == [7, 5000, 7000]


async def test_a_channels_limit_refuses_the_attempt_and_not_the_order(world: World) -> None:
    await limit(world, LimitKind.AMOUNT, 999, channel="bank")
    with pytest.raises(Conflict) as refused:
        await order_and_attempt(world.engine, world.scope, world.order(1000), world.method())
    assert (refused.value.code, refused.value.field) == ("limit_exceeded", "method.channel")
    assert "through bank" in str(refused.value)
    assert (await count(world, "payment"), await count(world, "attempt")) == (1, 0)
    assert world.transport.sent == []
    payment = await world.accept(999)
    started = await attempt(world.engine, world.scope, payment.payment_id, world.method())
    assert started.state == "pending"


async def test_whose_limit_it_is(world: World) -> None:
    mine = world.scope
    till, other = [
        replace(mine, app_id=(await add_app(world.engine, mine.merchant_id, name)).app_id)
        for name in ("Till 7", "Till 8")
    ]
    await limit(world, LimitKind.DAILY_COUNT, 1, scope=till)
    await limit(world, LimitKind.DAILY_COUNT, 3)
    await limit(world, LimitKind.AMOUNT, 0, scope=replace(mine, live=True))
    await limit(world, LimitKind.AMOUNT, 0, currency="USD")
    await accept(world.engine, till, world.order())
    with pytest.raises(Conflict) as refused:
        await accept(world.engine, till, world.order())
    assert f"app {till.app_id}" in str(refused.value)
    await accept(world.engine, other, world.order())
    await accept(world.engine, mine, world.order())
    with pytest.raises(Conflict) as refused:
        await accept(world.engine, other, world.order())
    assert "the merchant may take" in str(refused.value)


async def test_limits_are_changed_and_removed_and_the_log_tells(world: World) -> None:
    first = await limit(world, LimitKind.DAILY_COUNT, 1)
    await world.accept()
    assert await limit(world, LimitKind.DAILY_COUNT, 2) == first
    assert await used(world) == [1]
    await world.accept()
    with pytest.raises(Conflict):
        await world.accept()
    await remove_limit(world.engine, world.scope, first)
    await world.accept()
    assert await limits(world.engine, world.scope.merchant_id) == []
    with pytest.raises(Missing):
        await remove_limit(world.engine, world.scope, first)
    told = await list_entries(world.engine.database, world.scope.merchant_id, limit=3)
    actions = [(one.content.action, one.content.subject_id) for one in told]
    assert actions == [("limit.removed", first), ("limit.set", first), ("limit.set", first)]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"maximum": -1}, "maximum"),
        ({"maximum": 10**20}, "maximum"),
        ({"currency": "YUAN"}, "currency"),
        ({"channel": "none"}, "channel"),
        ({"time_zone": "Asia/Nowhere"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
    ],
)
async def test_what_is_no_limit(world: World, more: dict[str, object], field: str) -> None:
    values = {"maximum": 1, "currency": "CNY", **more}
    with pytest.raises(InvalidInput) as refused:
        await put_limit(
            world.engine,
            world.scope,
            LimitKind.AMOUNT,
            **values,  # type: ignore[arg-type]
        )
    assert refused.value.field == field
    assert await limits(world.engine, world.scope.merchant_id) == []
