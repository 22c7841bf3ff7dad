"""An independent model of money: what must be true at the end of a simulated life."""

from collections import Counter
from dataclasses import dataclass, field

from qiao.domain.fees import Fee
from qiao.engine.captures import captures_of
from qiao.engine.disputes import list_disputes
from qiao.engine.ledger import balances, prove
from qiao.engine.payments import attempts_of, list_payments, refunds_of
from qiao.engine.records import Payment
from qiao.engine.share_records import PartState
from qiao.engine.shares import list_shares, show_in_full
from qiao.engine.subscriptions import list_subscriptions, periods_of
from qiao.engine.transfers import list_transfers
from qiao.testing.vault import Order
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID
from tests.simulation.actors import Payer, Told
from tests.simulation.subscribers import Subscriber
from tests.simulation.world import SimulatedWorld

FINAL = frozenset({"paid", "closed"})
SUBSCRIPTION_FINAL = frozenset({"completed", "cancelled"})
COST = Fee(basis_points=2000, returned=True)
CHECKED_ABOVE_MINOR = 2
"""Transfers of more need a second person."""


async def judge_payments(world: SimulatedWorld, orders: list[Told]) -> list[tuple[object, ...]]:
    engine, scope = world.processes[0].engine, world.scope
    payments = {one.payment_id: one for one in await list_payments(engine, scope, limit=100)}
    assert not (await prove(engine.database)).mistakes
    shared = await _shared(world)
    events = await engine.database.fetch(
        "SELECT event_id, type, payment_id, data FROM event WHERE merchant_id = $1"
        " ORDER BY event_id",
        scope.merchant_id,
    )
    for payment in payments.values():
        assert payment.state in FINAL
        assert payment.refunded_minor <= payment.captured_minor <= payment.amount_minor
        captures = await captures_of(engine, payment)
        assert all(one.state in ("succeeded", "failed") for one in captures)
        assert len([one for one in captures if one.state == "succeeded"]) <= 1
        counts = Counter(row["type"] for row in events if row["payment_id"] == payment.payment_id)
        assert counts["payment.created"] == 1
        assert counts["payment.paid"] == (payment.state == "paid")
        assert counts["payment.closed"] == (payment.state == "closed")
        attempts, refunds = await attempts_of(engine, payment), await refunds_of(engine, payment)
        known = [one.reference for one in attempts]
        taken = [o.capture for o in world.bank.orders.values() if o.capture]
        assert {
            (one.reference, one.amount_minor) for one in captures if one.state == "succeeded"
        } == {one for one in taken if one[0] in {capture.reference for capture in captures}}
        at_bank = [world.bank.orders[one] for one in known if one in world.bank.orders]
        kept = sum(order.left for order in at_bank if order.state == "paid")
        gone = payment.refunded_minor + shared[payment.payment_id]
        assert kept == payment.captured_minor - gone
        given = {name: minor for order in at_bank for name, minor in order.refunds.items()}
        done = {one.reference: one.amount_minor for one in refunds if one.state == "succeeded"}
        assert given == done
        assert all(one.state in ("succeeded", "failed") for one in refunds)
    for told in orders:
        await _judge_promises(world, told, payments)
    assert set(world.webhooks) == {row["event_id"] for row in events}
    assert all(len(bodies) == 1 for bodies in world.webhooks.values())
    assert all(one.state != "held" for one in world.bank.orders.values())
    books = {one.account: one.balance_minor for one in await balances(engine, scope)}
    paid = {name: one for name, one in world.bank.orders.items() if one.state == "paid"}
    transfers = await list_transfers(engine, scope, limit=100)
    out = [one for one in transfers if one.state == "succeeded"]
    total, costs = 0, await _costs(world, payments)
    disputed = await _disputed(world)
    for account_id in (ACCOUNT_ID, SECOND_ACCOUNT_ID):
        here = sum(one.left for name, one in paid.items() if world.account_of(name) == account_id)
        here -= sum(one.amount_minor for one in out if one.account_id == account_id)
        cost = costs if account_id == ACCOUNT_ID else 0
        here -= disputed.lost[account_id]
        receivable = here - cost - disputed.in_dispute[account_id]
        assert books.get(f"channel_receivable:{account_id}", 0) == receivable
        total += here
    assert books.get("channel_fees", 0) == costs
    assert books.get("merchant_payable", 0) == total
    assert books.get("chargebacks", 0) == disputed.in_dispute.total()
    assert not books.get("transfers_in_transit")
    assert not books.get("shares_in_transit")
    return [(row["type"], row["data"].get("amount")) for row in events]


@dataclass
class Taken:
    """What the bank took back because of disputes, by account: for good, and for now."""

    lost: Counter[str] = field(default_factory=Counter)
    in_dispute: Counter[str] = field(default_factory=Counter)


async def _disputed(world: SimulatedWorld) -> Taken:
    """By the bank's own books; ours know each dispute, and how it stands."""
    found = await list_disputes(world.processes[0].engine, world.scope, limit=100)
    known = {one.number: one for one in found}
    assert known.keys() == world.bank.disputes.keys()
    taken = Taken()
    for number, one in world.bank.disputes.items():
        assert known[number].state == one["state"]
        account_id = world.account_of(one["payment"])
        (taken.lost if one["state"] == "lost" else taken.in_dispute)[account_id] += one["withdrawn"]
    return taken


async def _shared(world: SimulatedWorld) -> Counter[str]:
    """What receivers have of each payment by our books, which is what they have at the bank."""
    engine, scope = world.processes[0].engine, world.scope
    names = {receiver_id: name for name, receiver_id in world.receivers.items()}
    by_payment, by_receiver = Counter[str](), Counter[str]()
    for listed in await list_shares(engine, scope, limit=100):
        found = await show_in_full(engine, scope, listed.share.share_id)
        assert found.share.state in ("succeeded", "partly", "failed")
        assert all(one.state in ("succeeded", "failed") for one in found.returns)
        for part in found.parts:
            assert not part.returning_minor
            assert part.state is PartState.SUCCEEDED or not part.returned_minor
            if part.state is PartState.SUCCEEDED:
                kept = part.amount_minor - part.returned_minor
                by_payment[found.share.payment_id] += kept
                by_receiver[names[part.receiver_id]] += kept
    at_bank = Counter[str]()
    for order in world.bank.orders.values():
        for receiver, minor in _received(order):
            at_bank[receiver] += minor
    assert +by_receiver == +at_bank
    return by_payment


def _received(order: Order) -> list[tuple[str, int]]:
    """Who got how much of it at the bank, and gave how much back."""
    parts = [part for sharing in order.shares.values() for part in sharing]
    got = [(receiver, minor) for receiver, minor, state in parts if state == "paid"]
    back = [(whose.partition("/")[2], -minor) for whose, minor in order.returns.values()]
    return got + back


async def judge_subscriptions(world: SimulatedWorld, subscribers: list[Subscriber]) -> None:
    """No period is charged twice, and every charge that the customer did not get back pays one."""
    engine, scope = world.processes[0].engine, world.scope
    found = {one.subscription_id: one for one in await list_subscriptions(engine, scope, limit=100)}
    paid: Counter[int] = Counter()
    for subscription in found.values():
        assert subscription.state in SUBSCRIPTION_FINAL
        periods = await periods_of(engine, subscription)
        assert len({one.number for one in periods}) == len(periods)
        assert len({one.payment_id for one in periods if one.payment_id}) <= len(periods)
        paid[subscription.amount_minor] += sum(one.state == "paid" for one in periods)
    kept: Counter[int] = Counter()
    for mandate in world.bank.mandates.values():
        for reference in mandate.charges:
            order = world.bank.orders[reference]
            assert order.amount <= mandate.max_minor
            kept[order.amount] += order.left == order.amount
    assert +kept == +paid
    for subscriber in subscribers:
        assert subscriber.subscribed <= found.keys()


async def _costs(world: SimulatedWorld, payments: dict[str, Payment]) -> int:
    """What the first account keeps of the payments that it took."""
    kept = 0
    for payment in payments.values():
        attempts = await attempts_of(world.processes[0].engine, payment)
        [account] = [one.account_id for one in attempts if one.state == "succeeded"] or [""]
        if world.routed and account == ACCOUNT_ID:
            whole = COST.of(payment.captured_minor)
            kept += whole - COST.returned_minor(
                whole, payment.captured_minor, payment.refunded_minor
            )
    return kept


async def judge_transfers(world: SimulatedWorld, payers: list[Payer]) -> None:
    """Each is at the bank at most once, by two people, and what was told of it has stayed true."""
    found = await list_transfers(world.processes[0].engine, world.scope, limit=100)
    transfers = {one.transfer_id: one for one in found}
    known = {one.reference: one for one in found}
    assert set(world.bank.payouts) <= set(known)
    for reference, payout in world.bank.payouts.items():
        transfer = known[reference]
        assert payout.amount == transfer.amount_minor
        assert transfer.state == ("succeeded" if payout.state == "paid" else "failed")
        if transfer.amount_minor > CHECKED_ABOVE_MINOR:
            assert (transfer.requested_by, transfer.decided_by) == ("maker", "checker")
    for transfer in found:
        assert transfer.state in ("succeeded", "failed", "rejected")
        assert (transfer.state == "succeeded") <= (transfer.reference in world.bank.payouts)
    for payer in payers:
        for transfer_id, state in payer.told.items():
            if state in ("succeeded", "failed"):
                assert transfers[transfer_id].state == state


async def _judge_promises(world: SimulatedWorld, told: Told, payments: dict[str, Payment]) -> None:
    """What was acknowledged is there, and what was final has stayed so."""
    if told.payment_id is None:
        return
    payment = payments[told.payment_id]
    assert payment.amount_minor == told.amount
    assert FINAL.intersection(told.states) <= {payment.state}
    captures = await captures_of(world.processes[0].engine, payment)
    amounts = {one.capture_id: one.amount_minor for one in captures}
    assert told.captures.items() <= amounts.items()
    refunds = {one.refund_id: one for one in await refunds_of(world.processes[0].engine, payment)}
    assert {name: refunds[name].amount_minor for name in told.refunds} == told.refunds
    assert all(refunds[name].state == "succeeded" for name in told.refunds_done)
