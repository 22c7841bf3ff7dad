"""Profit shares: within what was taken, each receiver by itself, asked about, and returned."""

import asyncio
from typing import Any

import pytest

from qiao.domain.errors import InvalidId, InvalidInput
from qiao.engine.errors import Conflict, Missing
from qiao.engine.ledger import balances, prove
from qiao.engine.records import CaptureMode, Payment
from qiao.engine.refunds import refund
from qiao.engine.runtime import IdempotencyKey, Scope
from qiao.engine.share_receivers import ReceiverOrder, bind, show_receiver, unbind, who_it_is
from qiao.engine.share_records import ProfitShare, Receiver, ShareReturn
from qiao.engine.share_returns import return_share, show_return
from qiao.engine.shares import ShareLine, list_shares, release, share, show_in_full, show_share
from qiao.testing.bank import Fault, ProcessDied
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from qiao.testing.world import ACCOUNT_ID, World

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"


def receiver_order(name: str, **changes: Any) -> ReceiverOrder:
    values = {
        "number": name,
        "channel": "bank",
        "receiver_type": "person",
        "receiver": name,
        "name": "Anna",
    }
    return ReceiverOrder(**(values | changes))


async def bound(world: World, number: str) -> Receiver:
    done = (await bind(world.engine, world.scope, receiver_order(number))).receiver
    assert done.state == "bound"
    return done


async def paid(world: World, minor: int = 1000) -> Payment:
    return await world.paid(minor, profit_sharing=True)


async def give(
    world: World,
    payment: Payment,
    parts: dict[str, int],
    *faults: Fault,
    finish: bool = False,
    key: IdempotencyKey | None = None,
) -> ProfitShare:
    lines = [
        ShareLine(
            receiver_id=(await bound(world, name)).receiver_id,
            amount_minor=minor,
            description="commission",
        )
        for name, minor in parts.items()
    ]
    world.transport.faults[:] = faults
    return await share(world.engine, world.scope, payment.payment_id, lines, finish=finish, key=key)


async def back(
    world: World, shared: ProfitShare, *faults: Fault, line: int = 1, minor: int | None = None
) -> ShareReturn:
    world.transport.faults[:] = faults
    return await return_share(world.engine, world.scope, shared.share_id, line, amount_minor=minor)


async def books(world: World) -> dict[str, int]:
    assert not (await prove(world.engine.database)).mistakes
    found = await balances(world.engine, world.scope)
    return {one.account: one.balance_minor for one in found if one.balance_minor}


async def parts(world: World, shared: ProfitShare) -> list[tuple[int, str]]:
    found = await show_in_full(world.engine, world.scope, shared.share_id)
    return [(one.amount_minor, one.state) for one in found.parts]


async def test_two_get_theirs_and_the_rest_stays(world: World) -> None:
    payment = await paid(world)
    done = await give(world, payment, {"anna": 300, "bert": 200})
    assert (done.state, done.arrived_minor) == ("succeeded", 500)
    assert await parts(world, done) == [(300, "succeeded"), (200, "succeeded")]
    assert await books(world) == {RECEIVABLE: 500, "merchant_payable": 500}
    assert await world.events(payment) == [
        "payment.created",
        "payment.paid",
        "profit_share.created",
        "profit_share.succeeded",
    ]
    again = await give(world, payment, {"anna": 500}, finish=True)
    assert again.state == "succeeded"
    assert await books(world) == {}
    [listed, _] = await list_shares(world.engine, world.scope, payment_id=payment.payment_id)
    assert (listed.share, len(listed.parts)) == (again, 1)


async def test_each_receiver_has_an_end_of_its_own(world: World) -> None:
    payment = await paid(world)
    done = await give(world, payment, {"anna": 300, REFUSED_PAYEE: 200})
    assert (done.state, done.arrived_minor) == ("partly", 300)
    found = await show_in_full(world.engine, world.scope, done.share_id)
    assert [(one.state, one.channel_code) for one in found.parts] == [
        ("succeeded", None),
        ("failed", "GONE"),
    ]
    assert await books(world) == {RECEIVABLE: 700, "merchant_payable": 700}
    assert (await refund(world.engine, world.scope, payment.payment_id)).amount_minor == 700


async def test_a_refused_share_gives_its_amount_free(world: World) -> None:
    payment = await paid(world)
    done = await give(world, payment, {REFUSED_PAYEE: 1000}, finish=True)
    assert (done.state, done.code, done.channel_code) == ("failed", "declined", "GONE")
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}
    [order] = world.bank.orders.values()
    order.finished = False
    assert (await give(world, payment, {"anna": 1000})).state == "succeeded"


async def test_a_share_on_its_way_keeps_its_amount(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {SLOW_PAYEE: 300, "anna": 100})
    assert shared.state == "pending"
    assert await books(world) == {
        RECEIVABLE: 1000,
        "merchant_payable": 600,
        "shares_in_transit": 400,
    }
    with pytest.raises(Conflict) as refused:
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=601)
    assert refused.value.code == "payment_shared"
    world.bank.deliver_shares()
    await world.work_until_quiet(seconds=30)
    assert (await show_share(world.engine, world.scope, shared.share_id)).state == "succeeded"
    assert await books(world) == {RECEIVABLE: 600, "merchant_payable": 600}


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.NOT_CONNECTED])
async def test_a_lost_share_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    payment = await paid(world)
    lost = await give(world, payment, {"anna": 300}, fault)
    assert lost.state == ("requested" if fault is Fault.NOT_CONNECTED else "unknown")
    with pytest.raises(Conflict):  # it holds its amount until it is known
        await give(world, payment, {"bert": 701})
    await world.work_until_quiet(seconds=30)
    assert (await show_share(world.engine, world.scope, lost.share_id)).state == "succeeded"
    [order] = world.bank.orders.values()
    assert order.shares == {lost.reference: [["anna", 300, "paid"]]}
    assert (await world.events(payment)).count("profit_share.succeeded") == 1
    assert await books(world) == {RECEIVABLE: 700, "merchant_payable": 700}


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
async def test_our_process_dies_in_the_middle(world: World, fault: Fault) -> None:
    payment = await paid(world)
    with pytest.raises(ProcessDied):
        await give(world, payment, {"anna": 300}, fault)
    [left] = await list_shares(world.engine, world.scope)
    assert left.share.state == "sending"
    world.transport.faults.clear()
    await world.work_until_quiet(minutes=1)
    [done] = await list_shares(world.engine, world.scope)
    assert done.share.state == "succeeded"
    [order] = world.bank.orders.values()
    assert order.shared == 300
    with pytest.raises(ProcessDied):
        await back(world, done.share, fault)
    world.transport.faults.clear()
    await world.work_until_quiet(minutes=1)
    assert order.shared == 0
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}


async def test_a_refusal_of_what_was_told_before_is_looked_into(world: World) -> None:
    payment = await paid(world)
    lost = await give(world, payment, {"anna": 300}, Fault.ANSWER_LOST)
    world.bank.hidden.add(lost.reference)
    world.bank.refuses = True
    world.clock.pass_by(minutes=11)
    await world.work()
    assert (await show_share(world.engine, world.scope, lost.share_id)).state == "succeeded"
    world.bank.refuses = False
    given = await back(world, lost, Fault.ANSWER_LOST)
    world.bank.hidden.add(given.reference)
    world.bank.refuses = True
    world.clock.pass_by(minutes=11)
    await world.work()
    assert (await show_return(world.engine, world.scope, given.return_id)).state == "succeeded"
    assert await books(world) == {RECEIVABLE: 1000, "merchant_payable": 1000}


async def test_what_is_left_is_released_and_nothing_is_shared_any_more(world: World) -> None:
    payment = await paid(world)
    await give(world, payment, {"anna": 300})
    done = await release(world.engine, world.scope, payment.payment_id)
    assert (done.state, done.amount_minor, done.finish) == ("succeeded", 0, True)
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            await give(world, payment, {"anna": 1})
        assert refused.value.code == "payment_shares_finished"
    with pytest.raises(Conflict):
        await release(world.engine, world.scope, payment.payment_id)
    assert await books(world) == {RECEIVABLE: 700, "merchant_payable": 700}


async def test_shared_money_is_refunded_once_it_is_returned(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {"anna": 300, "bert": 200})
    with pytest.raises(Conflict) as refused:
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=600)
    assert (refused.value.code, refused.value.field) == ("payment_shared", "amount")
    assert "returned first" in refused.value.remedy
    returned = await back(world, shared, minor=100)
    assert (returned.state, returned.line) == ("succeeded", 1)
    found = await show_in_full(world.engine, world.scope, shared.share_id)
    assert [(one.returned_minor, one.returning_minor) for one in found.parts] == [(100, 0), (0, 0)]
    assert found.returns == [returned]
    assert await books(world) == {RECEIVABLE: 600, "merchant_payable": 600}
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=600)
    with pytest.raises(Conflict) as refused:
        await refund(world.engine, world.scope, payment.payment_id, amount_minor=401)
    assert refused.value.code == "refund_exceeds_payment"
    await back(world, shared)
    await back(world, shared, line=2)
    await refund(world.engine, world.scope, payment.payment_id)
    assert await books(world) == {}
    with pytest.raises(Conflict) as refused:
        await back(world, shared)
    assert refused.value.code == "return_exceeds_share"


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.NOT_CONNECTED])
async def test_a_lost_return_is_told_again_under_its_number(world: World, fault: Fault) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {"anna": 300})
    lost = await back(world, shared, fault, minor=200)
    assert lost.state == ("requested" if fault is Fault.NOT_CONNECTED else "unknown")
    assert await books(world) == {RECEIVABLE: 700, "merchant_payable": 700}
    with pytest.raises(Conflict):  # it counts until it is known
        await back(world, shared, minor=101)
    await world.work_until_quiet(seconds=30)
    [order] = world.bank.orders.values()
    assert order.returns == {lost.reference: (f"{shared.reference}/anna", 200)}
    assert await books(world) == {RECEIVABLE: 900, "merchant_payable": 900}


async def test_a_refused_return_leaves_the_share_where_it_is(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {"anna": 300})
    world.bank.refuses = True
    failed = await back(world, shared)
    assert (failed.state, failed.code) == ("failed", "refused")
    assert (await world.events(payment))[-2:] == [
        "profit_share.return_created",
        "profit_share.return_failed",
    ]
    world.bank.refuses = False
    assert (await back(world, shared)).amount_minor == 300


async def test_shares_and_refunds_at_once_never_exceed(world: World) -> None:
    payment = await paid(world)
    names = [f"r-{number}" for number in range(12)]
    lines = [
        ShareLine(
            receiver_id=(await bound(world, name)).receiver_id,
            amount_minor=90,
            description="commission",
        )
        for name in names
    ]
    results = await asyncio.gather(
        *(share(world.engine, world.scope, payment.payment_id, [one]) for one in lines),
        *(
            refund(world.engine, world.scope, payment.payment_id, amount_minor=90)
            for _ in range(12)
        ),
        return_exceptions=True,
    )
    done = [one for one in results if not isinstance(one, BaseException)]
    assert len(done) == 1000 // 90
    assert all(isinstance(one, Conflict) for one in results if isinstance(one, BaseException))
    await world.work_until_quiet()
    [order] = world.bank.orders.values()
    assert order.left == 1000 - 11 * 90
    assert (await books(world))["merchant_payable"] == order.left


async def test_returns_at_once_never_exceed(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {"anna": 300})
    results = await asyncio.gather(
        *(back(world, shared, minor=70) for _ in range(10)), return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, ShareReturn)]) == 4
    [order] = world.bank.orders.values()
    assert order.shared == 20
    assert await books(world) == {RECEIVABLE: 980, "merchant_payable": 980}


async def test_many_who_finish_at_once_finish_once(world: World) -> None:
    payment = await paid(world)
    results = await asyncio.gather(
        *(release(world.engine, world.scope, payment.payment_id) for _ in range(6)),
        return_exceptions=True,
    )
    assert len([one for one in results if isinstance(one, ProfitShare)]) == 1


async def test_a_key_gives_the_same(world: World) -> None:
    payment = await paid(world)
    key = IdempotencyKey(key="k", body_digest=b"1")
    first = await give(world, payment, {"anna": 300}, key=key)
    assert await give(world, payment, {"anna": 300}, key=key) == first
    other = IdempotencyKey(key="r", body_digest=b"1")

    async def once() -> ShareReturn:
        return await return_share(world.engine, world.scope, first.share_id, 1, key=other)

    given = await asyncio.gather(*(once() for _ in range(4)))
    assert {one.return_id for one in given} == {given[0].return_id}
    [order] = world.bank.orders.values()
    assert len(order.returns) == 1
    last = IdempotencyKey(key="l", body_digest=b"1")
    released = await asyncio.gather(
        *(release(world.engine, world.scope, payment.payment_id, key=last) for _ in range(6))
    )
    assert len({one.share_id for one in released}) == 1


async def test_what_cannot_be_shared(world: World) -> None:
    plain = await world.paid()
    with pytest.raises(Conflict) as refused:
        await give(world, plain, {"anna": 1})
    assert refused.value.code == "payment_not_shareable"
    unpaid = await world.accept(profit_sharing=True)
    with pytest.raises(Conflict) as refused:
        await give(world, unpaid, {"anna": 1})
    assert refused.value.code == "payment_not_paid"
    payment = await paid(world)
    with pytest.raises(Conflict) as refused:
        await give(world, payment, {"anna": 1001})
    assert refused.value.code == "share_exceeds_payment"
    anna = (await bound(world, "anna")).receiver_id
    line = ShareLine(receiver_id=anna, amount_minor=1, description="x")
    wrong: list[tuple[list[ShareLine], str]] = [
        ([], "shares"),
        ([line, line], "shares"),
        ([ShareLine(receiver_id=anna, amount_minor=0, description="x")], "shares[0].amount"),
        ([ShareLine(receiver_id=anna, amount_minor=1, description="")], "shares[0].description"),
        ([ShareLine(receiver_id="anna", amount_minor=1, description="x")], "shares[0].receiver_id"),
    ]
    for lines, field in wrong:
        with pytest.raises(InvalidInput) as error:
            await share(world.engine, world.scope, payment.payment_id, lines)
        assert error.value.field == field
    await unbind(world.engine, world.scope, anna)
    with pytest.raises(InvalidInput, match="unbound"):
        await share(world.engine, world.scope, payment.payment_id, [line])
    with pytest.raises(InvalidInput) as error:
        await world.accept(profit_sharing=True, capture=CaptureMode.MANUAL)
    assert error.value.field == "profit_sharing"
    assert await books(world) == {RECEIVABLE: 2000, "merchant_payable": 2000}


async def test_receivers_are_bound_and_unbound(world: World) -> None:
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    lost = (await bind(world.engine, world.scope, receiver_order("anna"))).receiver
    assert lost.state == "unknown"
    assert (await bound(world, "anna")).receiver_id == lost.receiver_id
    assert await who_it_is(world.engine, lost) == ("anna", "Anna")
    with pytest.raises(Conflict) as refused:
        await bind(world.engine, world.scope, receiver_order("anna", receiver="bert"))
    assert refused.value.code == "receiver_exists_with_different_content"
    gone = await unbind(world.engine, world.scope, lost.receiver_id)
    assert (gone.state, world.bank.receivers) == ("unbound", set())
    world.bank.refuses = True
    no = (await bind(world.engine, world.scope, receiver_order("anna"))).receiver
    assert (no.state, no.code, no.channel_code) == ("refused", "payee_not_allowed", "NO")
    for changes, field in [
        ({"number": "a b"}, "number"),
        ({"receiver": ""}, "receiver"),
        ({"receiver_type": "ghost"}, "receiver_type"),
        ({"channel": "alipay"}, "channel"),
    ]:
        with pytest.raises(InvalidInput) as error:
            await bind(world.engine, world.scope, receiver_order("new", **changes))
        assert error.value.field == field


async def test_others_see_nothing(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {"anna": 300})
    given = await back(world, shared)
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    with pytest.raises(Missing):
        await show_share(world.engine, live, shared.share_id)
    with pytest.raises(Missing):
        await show_return(world.engine, live, given.return_id)
    anna = await bound(world, "anna")
    with pytest.raises(Missing):
        await show_receiver(world.engine, live, anna.receiver_id)
    with pytest.raises(InvalidId):
        await show_share(world.engine, world.scope, "shr_nonsense")


async def test_an_end_that_does_not_fit_stays_open(world: World) -> None:
    payment = await paid(world)
    shared = await give(world, payment, {SLOW_PAYEE: 300})
    [order] = world.bank.orders.values()
    order.shares[shared.reference] = [[SLOW_PAYEE, 299, "paid"]]
    world.clock.pass_by(minutes=1)
    await world.work()
    assert (await show_share(world.engine, world.scope, shared.share_id)).state == "pending"
    kinds = await world.engine.database.fetch("SELECT kind FROM anomaly")
    assert {row["kind"] for row in kinds} == {"share_other_amount"}
    order.shares[shared.reference] = [[SLOW_PAYEE, 300, "paid"]]
    await world.work_until_quiet(seconds=30)
    assert await books(world) == {RECEIVABLE: 700, "merchant_payable": 700}
