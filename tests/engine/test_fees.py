"""Fees: what is charged and what a channel keeps; booked with the payment, returned in part."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.engine.audit import PLATFORM, SERVER, list_entries
from qiao.engine.captures import capture
from qiao.engine.closing import close
from qiao.engine.errors import Conflict
from qiao.engine.ledger import balances, prove
from qiao.engine.merchants import add_merchant
from qiao.engine.notifications import receive
from qiao.engine.ordering import order_and_attempt
from qiao.engine.organisations import add_app
from qiao.engine.price_books import price_versions, save_prices
from qiao.engine.pricing import read_prices
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.store.database import Database
from qiao.testing.world import ACCOUNT_ID, World

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"
FEES = st.builds(
    Fee,
    basis_points=st.integers(0, 10_000),
    fixed_minor=st.integers(0, 50),
    min_minor=st.integers(0, 50),
    max_minor=st.none() | st.integers(50, 10_000),
    returned=st.booleans(),
)


async def charge(world: World, *lines: dict[str, Any], scope: Scope | None = None) -> None:
    await save_prices(world.engine, scope or world.scope, read_prices({"prices": list(lines)}))


async def books(world: World, scope: Scope | None = None) -> dict[str, int]:
    found = await balances(world.engine, scope or world.scope)
    proof = await prove(world.engine.database)
    assert not proof.mistakes
    return {one.account: one.balance_minor for one in found if one.balance_minor}


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(fee=FEES, parts=st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
async def test_the_database_counts_as_the_domain_does(
    database: Database, fee: Fee, parts: list[int]
) -> None:
    captured, refunded, back = sum(parts), 0, 0
    minor = await database.fetch_value("SELECT fee_of($1, $2)", fee.document(), captured)
    assert minor == fee.of(captured)
    for part in parts:
        back += await database.fetch_value(
            "SELECT fee_returned($1, $2, $3, $4, $5)",
            fee.document(),
            minor,
            captured,
            refunded,
            part,
        )
        refunded += part
        assert back == fee.returned_minor(minor, captured, refunded)
        assert 0 <= back <= minor
    assert back == (minor if fee.returned else 0)


async def test_without_prices_and_costs_nothing_is_booked(world: World) -> None:
    await world.paid(1000)
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}


async def test_price_and_cost_are_booked_with_the_payment(world: World) -> None:
    await charge(world, {"basis_points": 60, "returned": True})
    await world.rule(fees=[{"account": "bank", "basis_points": 38, "fixed": 1}])
    payment = await world.paid(1000)
    [attempt] = await world.attempts(payment)
    assert (attempt.fee_minor, attempt.channel_fee_minor) == (6, 5)
    assert await books(world) == {
        RECEIVABLE: 995,
        "channel_fees": 5,
        "merchant_payable": 994,
        "platform_fees": 6,
    }


async def test_refunds_in_parts_give_back_the_whole_fee(world: World) -> None:
    await charge(world, {"basis_points": 100, "returned": True})
    await world.rule(fees=[{"account": "bank", "basis_points": 50}])  # is kept
    payment = await world.paid(1001)
    for minor in (333, 333, 335):
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=minor)
    given_back = [one.fee_returned_minor for one in await world.refunds(payment)]
    assert sorted(given_back) == [3, 3, 4]
    assert [one.channel_fee_returned_minor for one in await world.refunds(payment)] == [0, 0, 0]
    assert await books(world) == {RECEIVABLE: -5, "channel_fees": 5}


async def test_a_fee_that_is_kept_is_owed_after_a_refund(world: World) -> None:
    await charge(world, {"fixed": 30})
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id)
    assert await books(world) == {"merchant_payable": -30, "platform_fees": 30}


async def test_the_fee_is_of_what_was_captured(world: World) -> None:
    await charge(world, {"basis_points": 1000})
    payment = await world.authorized(1000)
    assert "platform_fees" not in await books(world)
    await capture(world.engine, world.scope, payment.payment_id, amount_minor=700)
    assert (await books(world))["platform_fees"] == 70


async def test_surplus_is_charged_nothing(world: World) -> None:
    await charge(world, {"basis_points": 1000})
    payment = await world.accept(1000)
    tried = await world.attempt(payment)
    await close(world.engine, world.scope, payment.payment_id)
    world.bank.pay(tried.reference)
    notice = world.bank.payment_notice(tried.reference)
    await receive(world.engine, world.scope.merchant_id, world.account_id, notice)
    await world.work()
    assert await books(world) == {}


async def test_an_attempt_keeps_the_price_at_which_it_started(world: World) -> None:
    await charge(world, {"fixed": 10})
    done = await order_and_attempt(world.engine, world.scope, world.order(1000), world.method())
    await charge(world, {"fixed": 20})
    world.bank.pay(done.attempt.reference)
    notice = world.bank.payment_notice(done.attempt.reference)
    await receive(world.engine, world.scope.merchant_id, world.account_id, notice)
    assert (await books(world))["platform_fees"] == 10
    await world.paid(1000)
    assert (await books(world))["platform_fees"] == 30
    versions = await price_versions(world.engine, world.scope)
    assert [one.version for one in versions] == [2, 1]


async def test_the_first_line_that_fits_counts(world: World) -> None:
    app = await add_app(world.engine, world.scope.merchant_id, "the till")
    await charge(
        world,
        {"app": app.app_id, "fixed": 1},
        {"channel": "bank", "product": "code", "fixed": 2},
        {"currency": "USD", "fixed": 4},
        {"fixed": 8},
    )
    of_app = Scope(merchant_id=world.scope.merchant_id, live=False, app_id=app.app_id)
    for scope, code in ((of_app, "284561"), (world.scope, "284561"), (world.scope, None)):
        done = await order_and_attempt(world.engine, scope, world.order(500), world.method(code))
        price = (done.attempt.price or {})["fixed"]
        assert price == (1 if scope is of_app else 2 if code else 8)
    assert (await books(world))["platform_fees"] == 3


async def test_the_platforms_prices_are_of_those_without_their_own(world: World) -> None:
    platform = Scope(merchant_id=PLATFORM, live=False)
    await charge(world, {"fixed": 7}, scope=platform)
    await world.paid(1000)
    assert (await books(world))["platform_fees"] == 7
    await charge(world)
    await world.paid(1000)
    assert (await books(world))["platform_fees"] == 7
    await save_prices(world.engine, world.scope, read_prices({"inherit": True}))
    await world.paid(1000)
    assert (await books(world))["platform_fees"] == 14
    entry, *_ = await list_entries(world.engine.database, SERVER)
    assert entry.content.action == "prices.saved"
    with pytest.raises(InvalidInput, match="nobody to inherit from"):
        await save_prices(world.engine, platform, read_prices({"inherit": True}))


async def test_two_operators_do_not_overwrite_each_other(world: World) -> None:
    first = await save_prices(world.engine, world.scope, read_prices({}), replaces=0)
    assert first.version == 1
    with pytest.raises(Conflict, match="changed meanwhile"):
        await save_prices(world.engine, world.scope, read_prices({}), replaces=0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"prices": [{"basis_points": 10_001}]}, "prices[0].basis_points"),
        ({"prices": [{"fixed": 1.5}]}, "prices[0].fixed"),
        ({"prices": [{}, {"min": 5, "max": 4}]}, "prices[1]"),
        ({"prices": [{"percent": 1}]}, "prices[0]"),
        ({"prices": [{}], "inherit": True}, "inherit"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(given: object, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_prices(given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("line", "field"),
    [({"channel": "bnak"}, "prices[0].channel"), ({"app": "app_1"}, "prices[0].app")],
)
async def test_what_is_not_there_cannot_be_priced(
    world: World, line: dict[str, Any], field: str
) -> None:
    await add_merchant(world.engine, "Another", merchant_id="mer_2")
    with pytest.raises(InvalidInput) as refused:
        await charge(world, line)
    assert refused.value.field == field


@pytest.mark.parametrize("column", ["fee_minor", "channel_fee_minor"])
async def test_the_proof_finds_a_fee_that_is_not_as_agreed(
    world: World, database: Database, column: str
) -> None:
    await charge(world, {"fixed": 3})
    await world.rule(fees=[{"account": "bank", "fixed": 3}])
    await world.paid(1000)
    await database.execute(f"UPDATE attempt SET {column} = 4")
    kinds = {one.kind for one in (await prove(database)).mistakes}
    assert kinds == {"wrong_entries", "wrong_fees"}
