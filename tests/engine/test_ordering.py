"""An order and its attempt in one request: the quick way does what the ordinary one does."""

import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.errors import Conflict
from qiao.engine.ordering import order_and_attempt
from qiao.engine.runtime import IdempotencyKey
from qiao.store.database import Database
from qiao.testing.bank import DECLINED_CODE, Bank, Fault, ProcessDied
from qiao.testing.world import World

KEY = IdempotencyKey(key="one", body_digest=b"body")
CHANGES = (
    "UPDATE channel_account SET enabled = false",
    "UPDATE channel_account SET updated_at = now()",
)


async def test_an_order_is_attempted(world: World) -> None:
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert (done.created, done.payment.state, done.attempt.state) == (True, "open", "pending")
    assert await world.attempts(done.payment) == [done.attempt]
    assert await world.now(done.payment) == done.payment
    assert await world.events(done.payment) == ["payment.created"]
    await world.work_until_quiet()
    assert (await world.now(done.payment)).state == "closed"


@pytest.mark.parametrize(
    ("code", "fault", "payment", "attempt"),
    [
        ("284561", None, "paid", "succeeded"),
        (DECLINED_CODE, None, "open", "declined"),
        (None, Fault.NOT_CONNECTED, "open", "not_sent"),
        (None, Fault.ANSWER_LOST, "open", "unknown"),
    ],
)
async def test_what_the_channel_says_is_settled(
    world: World, code: str | None, fault: Fault | None, payment: str, attempt: str
) -> None:
    world.transport.faults[:] = [fault]
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method(code))
    assert (done.payment.state, done.attempt.state) == (payment, attempt)
    assert await world.now(done.payment) == done.payment
    assert await world.attempts(done.payment) == [done.attempt]


async def test_it_is_committed_as_sending_before_it_goes_out(world: World) -> None:
    world.transport.faults[:] = [Fault.DIES_BEFORE]
    with pytest.raises(ProcessDied):
        await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert await world.engine.database.fetch_value("SELECT state FROM attempt") == "sending"
    kinds = await world.engine.database.fetch("SELECT kind FROM job ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["close_payment", "query_attempt"]


async def test_the_same_again_gives_the_same(world: World) -> None:
    order, method = world.order(), world.method()
    first = await order_and_attempt(world.engine, world.scope, order, method, key=KEY)
    for key in (KEY, None):
        again = await order_and_attempt(world.engine, world.scope, order, method, key=key)
        assert (again.created, again.payment, again.attempt) == (
            False,
            first.payment,
            first.attempt,
        )
    assert world.transport.sent == ["create"]


async def test_a_key_is_of_one_body(world: World) -> None:
    method = world.method()
    await order_and_attempt(world.engine, world.scope, world.order(), method, key=KEY)
    other = IdempotencyKey(key="one", body_digest=b"other")
    with pytest.raises(Conflict) as refused:
        await order_and_attempt(world.engine, world.scope, world.order(), method, key=other)
    assert refused.value.code == "idempotency_key_reused"
    assert await world.engine.database.fetch_value("SELECT count(*) FROM payment") == 1


async def test_a_refused_method_leaves_the_order(world: World) -> None:
    order = world.order(methods=("other",))
    with pytest.raises(InvalidInput) as refused:
        await order_and_attempt(world.engine, world.scope, order, world.method())
    assert refused.value.field == "method.channel"
    assert await world.engine.database.fetch_value("SELECT state FROM payment") == "open"
    assert world.transport.sent == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("at_once", [True, False])
async def test_nothing_starts_on_an_account_that_another_process_changed(
    world: World, database: Database, change: str, at_once: bool
) -> None:
    """This process still holds the account as it was."""
    await world.attempt(await world.accept())
    await database.execute(change)
    disabled = "enabled" in change
    try:
        if at_once:
            await order_and_attempt(world.engine, world.scope, world.order(), world.method())
        else:
            await world.attempt(await world.accept())
    except InvalidInput as error:
        assert disabled
        assert error.field == "method.channel"
    else:
        assert not disabled
    assert world.transport.sent == ["create"] * (1 if disabled else 2)


async def test_a_new_key_of_an_account_signs_at_once(world: World, database: Database) -> None:
    """Put by another process: what was signed with the old key does not go out."""
    await world.attempt(await world.accept())
    bank = Bank(key="another")
    elsewhere = type(world.engine.accounts)(
        database=database, seal=world.engine.seal, channels=world.engine.accounts.channels
    )
    await elsewhere.put(
        merchant_id=world.scope.merchant_id,
        account_id=world.account_id,
        live=False,
        channel="bank",
        name="bank",
        settings={"key": bank.key},
    )
    world.transport.bank = bank
    done = await order_and_attempt(world.engine, world.scope, world.order(), world.method())
    assert done.attempt.state == "pending"
