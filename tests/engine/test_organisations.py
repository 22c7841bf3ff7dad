"""Who is paid: organisations, merchants and apps; what is suspended takes no new payments."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.actors import Actor
from qiao.engine.attempts import attempt
from qiao.engine.audit import check, list_entries
from qiao.engine.errors import Conflict, Missing
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.ordering import order_and_attempt
from qiao.engine.organisations import (
    Status,
    add_app,
    add_organisation,
    apps,
    change_app,
    change_merchant,
    change_organisation,
    merchants,
    organisations,
    show_app,
    show_merchant,
    show_organisation,
)
from qiao.engine.payments import accept, show
from qiao.engine.refunds import refund
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.engine.webhooks import add_endpoint, deliveries
from qiao.store.database import Database
from qiao.testing.world import World, make_world

OPERATOR = Actor(kind="command", id="me")
MERCHANT_ID = "mer_00000000000000000000000009"
KEY = IdempotencyKey(key="one", body_digest=b"body")


async def owned(world: World) -> tuple[str, Scope]:
    """An organisation that owns the world's merchant, and the scope of an app of it."""
    engine, merchant_id = world.engine, world.scope.merchant_id
    organisation = await add_organisation(engine, "Tea group")
    await change_merchant(engine, merchant_id, organisation_id=organisation.organisation_id)
    app = await add_app(engine, merchant_id, "Till 7")
    return organisation.organisation_id, replace(world.scope, app_id=app.app_id)


async def test_they_are_added_renamed_and_listed(world: World) -> None:
    engine = world.engine
    organisation = await add_organisation(engine, "Tea group", actor=OPERATOR)
    organisation_id = organisation.organisation_id
    await add_merchant(engine, "Tea shop", merchant_id=MERCHANT_ID, organisation_id=organisation_id)
    app = await add_app(engine, MERCHANT_ID, "Till 7")
    renamed = await change_organisation(engine, organisation_id, name="茶")
    assert (renamed.name, renamed.status) == ("茶", "active")
    assert await organisations(engine) == [renamed]
    assert await show_organisation(engine, organisation_id) == renamed
    owned = await show_merchant(engine, MERCHANT_ID)
    assert (owned.name, owned.organisation_id) == ("Tea shop", organisation_id)
    assert await merchants(engine, organisation_id=organisation_id) == [owned]
    assert {one.merchant_id for one in await merchants(engine)} == {
        MERCHANT_ID,
        world.scope.merchant_id,
    }
    assert await apps(engine, MERCHANT_ID) == [app]
    app = await change_app(engine, MERCHANT_ID, app.app_id, name="Till 8")
    assert (await show_app(engine, MERCHANT_ID, app.app_id)).name == "Till 8"
    assert (await change_merchant(engine, MERCHANT_ID, name="Tea")).name == "Tea"


NOBODY = "0" * 26
REFUSED: dict[str, tuple[Callable[[World], Awaitable[object]], str]] = {
    "no name": (lambda w: add_organisation(w.engine, ""), "name"),
    "long name": (lambda w: add_organisation(w.engine, "x" * 65), "name"),
    "no such organisation": (
        lambda w: change_organisation(w.engine, f"org_{NOBODY}", name="x"),
        "organisation_id",
    ),
    "no organisation's id": (lambda w: show_organisation(w.engine, "mer_1"), "organisation_id"),
    "merchant of nobody": (
        lambda w: add_merchant(w.engine, "x", organisation_id=f"org_{NOBODY}"),
        "organisation_id",
    ),
    "merchant to nobody": (
        lambda w: change_merchant(w.engine, w.scope.merchant_id, organisation_id=f"org_{NOBODY}"),
        "organisation_id",
    ),
    "no such merchant": (lambda w: show_merchant(w.engine, f"mer_{NOBODY}"), "merchant_id"),
    "app of nobody": (lambda w: add_app(w.engine, f"mer_{NOBODY}", "x"), "merchant_id"),
    "no such app": (
        lambda w: change_app(w.engine, w.scope.merchant_id, f"app_{NOBODY}", name="x"),
        "app_id",
    ),
    "key of no app": (
        lambda w: issue_api_key(w.engine, replace(w.scope, app_id=f"app_{NOBODY}")),
        "app_id",
    ),
    "account of no app": (
        lambda w: w.engine.accounts.put(
            merchant_id=w.scope.merchant_id,
            account_id="acc_00000000000000000000000009",
            live=False,
            channel="bank",
            name="another",
            settings={"key": w.bank.key},
            app_id=f"app_{NOBODY}",
        ),
        "app_id",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_changes_nothing(world: World, name: str) -> None:
    do, field = REFUSED[name]
    with pytest.raises(InvalidInput) as refused:
        await do(world)
    assert refused.value.field == field
    assert await organisations(world.engine) == []
    assert len(await merchants(world.engine)) == 1


async def test_another_merchants_app_is_nobodys(world: World, database: Database) -> None:
    other = await make_world(database, Scope(merchant_id=MERCHANT_ID, live=False))
    app = await add_app(other.engine, MERCHANT_ID, "Till 7")
    with pytest.raises(Missing):
        await issue_api_key(world.engine, replace(world.scope, app_id=app.app_id))


async def suspend(world: World, kind: str, status: Status, scope: Scope, owner: str) -> None:
    assert scope.app_id is not None
    match kind:
        case "organisation":
            await change_organisation(world.engine, owner, status=status)
        case "merchant":
            await change_merchant(world.engine, scope.merchant_id, status=status)
        case _:
            await change_app(world.engine, scope.merchant_id, scope.app_id, status=status)


@pytest.mark.parametrize("kind", ["organisation", "merchant", "app"])
async def test_what_is_suspended_takes_no_new_payments_and_ends_what_it_began(
    world: World, kind: str
) -> None:
    owner, scope = await owned(world)
    engine, method = world.engine, world.method("284561")
    paid = (await order_and_attempt(engine, scope, world.order(), method)).payment
    waiting = await order_and_attempt(engine, scope, world.order(), world.method(), key=KEY)
    known = world.order()
    unpaid = (await accept(engine, scope, known)).payment
    await suspend(world, kind, Status.SUSPENDED, scope, owner)
    count = "SELECT count(*) FROM payment"
    before = await engine.database.fetch_value(count)
    new = IdempotencyKey(key="new", body_digest=b"body")
    for refuse in (
        lambda: accept(engine, scope, world.order(), key=new),
        lambda: order_and_attempt(engine, scope, world.order(), method, key=new),
        lambda: attempt(engine, scope, unpaid.payment_id, method),
        # The cashier's customer brings no key, and so no app; the payment knows its own.
        lambda: attempt(engine, world.scope, unpaid.payment_id, method),
    ):
        with pytest.raises(Conflict) as refused:
            await refuse()
        assert refused.value.code == f"{kind}_suspended"
    assert await engine.database.fetch_value(count) == before
    keys = await engine.database.fetch_value(
        "SELECT count(*) FROM idempotency_key WHERE key LIKE 'new%'"
    )
    assert keys == 0
    # What was begun is shown, asked about, paid and given back.
    assert (await accept(engine, scope, known)).payment == unpaid
    again = await order_and_attempt(engine, scope, world.order(), world.method(), key=KEY)
    assert again.payment.payment_id == waiting.payment.payment_id
    world.bank.pay(waiting.attempt.reference)
    await world.work_until_quiet()
    assert (await show(engine, scope, waiting.payment.payment_id)).state == "paid"
    assert (await refund(engine, scope, paid.payment_id, amount_minor=1)).state == "succeeded"
    if kind == "app":  # other apps, and the merchant without one, go on
        assert (await accept(engine, world.scope, world.order())).created
    await suspend(world, kind, Status.ACTIVE, scope, owner)
    assert (await accept(engine, scope, world.order(), key=new)).created


async def test_a_payment_records_its_app_and_the_event_tells_it(world: World) -> None:
    _, scope = await owned(world)
    for made in (
        (await accept(world.engine, scope, world.order())).payment,
        (await order_and_attempt(world.engine, scope, world.order(), world.method())).payment,
    ):
        assert made.app_id == scope.app_id
        told = await world.engine.database.fetch_value(
            "SELECT data ->> 'app_id' FROM event WHERE payment_id = $1", made.payment_id
        )
        assert told == scope.app_id
    assert (await world.accept()).app_id is None


async def test_an_app_is_paid_through_its_own_account_and_no_other_app_is(world: World) -> None:
    _, scope = await owned(world)
    other = replace(scope, app_id=(await add_app(world.engine, scope.merchant_id, "Till 8")).app_id)
    own = await world.engine.accounts.put(
        merchant_id=scope.merchant_id,
        account_id="acc_00000000000000000000000009",
        live=False,
        channel="bank",
        name="of till 7",
        settings={"key": world.bank.key},
        priority=9,
        app_id=scope.app_id,
    )
    for who, account_id in (
        (scope, own),
        (other, world.account_id),
        (world.scope, world.account_id),
    ):
        at_once = await order_and_attempt(world.engine, who, world.order(), world.method())
        accepted = (await accept(world.engine, who, world.order())).payment
        # As the cashier does, which knows the merchant and the mode only.
        later = await attempt(world.engine, world.scope, accepted.payment_id, world.method())
        assert [at_once.attempt.account_id, later.account_id] == [account_id] * 2
    await world.engine.accounts.enable(scope.merchant_id, own, enabled=False)
    done = await order_and_attempt(world.engine, scope, world.order(), world.method())
    assert done.attempt.account_id == world.account_id


async def test_an_apps_endpoint_is_told_of_its_payments_only(world: World) -> None:
    _, scope = await owned(world)
    of_app, _ = await add_endpoint(world.engine, scope, "https://till.invalid/")
    of_all, _ = await add_endpoint(world.engine, world.scope, "https://shop.invalid/")
    assert (of_app.app_id, of_all.app_id) == (scope.app_id, None)
    await accept(world.engine, scope, world.order())
    await world.accept()
    told = [
        len(await deliveries(world.engine, world.scope, endpoint.endpoint_id))
        for endpoint in (of_app, of_all)
    ]
    assert told == [1, 2]


async def test_each_change_stands_in_the_audit_log_once(world: World) -> None:
    engine, merchant_id = world.engine, world.scope.merchant_id
    owner, scope = await owned(world)
    assert scope.app_id is not None
    for _ in range(2):  # what is so already is no change
        await change_organisation(engine, owner, status=Status.SUSPENDED, actor=OPERATOR)
        await change_merchant(engine, merchant_id, status=Status.SUSPENDED, actor=OPERATOR)
        await change_app(engine, merchant_id, scope.app_id, name="Till 8", actor=OPERATOR)
        await engine.accounts.enable(merchant_id, world.account_id, enabled=False, actor=OPERATOR)
    await change_merchant(engine, merchant_id, status=Status.ACTIVE, name="茶", actor=OPERATOR)
    found = {
        chain: [
            (one.content.action, one.content.fields)
            for one in reversed(await list_entries(engine.database, chain))
        ]
        for chain in (owner, merchant_id)
    }
    assert found[owner] == [
        ("organisation.added", []),
        ("organisation.suspended", ["status"]),
    ]
    assert found[merchant_id][2:] == [
        ("merchant.changed", ["organisation_id"]),
        ("app.added", []),
        ("merchant.suspended", ["status"]),
        ("app.changed", ["name"]),
        ("account.disabled", ["enabled"]),
        ("merchant.resumed", ["name", "status"]),
    ]
    assert list((await check(engine.database)).broken) == []
