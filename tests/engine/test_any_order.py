"""Whatever happens in whatever order, the books agree with the bank in the end.

Orders, attempts, holds and captures, refunds, closings, transfers by two people, notifications
twice and in any order, lost requests and answers, our process dying in the middle, time passing:
after each step what may never be broken holds, and at the end, when every job is done, every fen
at the bank is accounted for.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.attempts import Method, attempt
from qiao.engine.captures import capture, captures_of, void
from qiao.engine.closing import close
from qiao.engine.ledger import balances, prove
from qiao.engine.notifications import receive
from qiao.engine.ordering import order_and_attempt
from qiao.engine.payments import list_payments, show_order
from qiao.engine.price_books import save_prices
from qiao.engine.pricing import read_prices
from qiao.engine.records import CaptureMode, Payment
from qiao.engine.refunds import refund
from qiao.engine.routing.declines import ACCOUNTS_FAULT
from qiao.engine.runtime import Scope
from qiao.engine.transfers import (
    Policy,
    TransferOrder,
    approve,
    list_transfers,
    put_policy,
    reject,
    request_transfer,
)
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Database, open_database
from qiao.testing.bank import Fault, ProcessDied
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID, World, make_world

Result = TypeVar("Result")
FAULTS = st.lists(st.sampled_from([None, None, *Fault]), max_size=3)
FINAL = ("paid", "closed")
MODES = st.sampled_from(CaptureMode)
PAYEES = st.sampled_from(["anna", SLOW_PAYEE, REFUSED_PAYEE])
PRICE = {"basis_points": 3000, "fixed": 1, "returned": True}
CHECKED_ABOVE_MINOR = 3
"""Transfers above this need a second person."""
DECLINES = (None, "account_misconfigured", "rate_limited", "insufficient_funds")
RULES: dict[str, Any] = {
    "strategy": "bandit",
    "explore_percent": 50,
    "attempts": 3,
    "rows": [
        {"when": {"amount": "> 3"}, "accounts": ["north", "bank"]},
        {"accounts": ["bank", "north"]},
    ],
    # No sum of the steps of time_passes, so that real milliseconds do not matter.
    "breaker": {"min_attempts": 2, "open_seconds": 97, "window_seconds": 63},
}


class AnyOrder(RuleBasedStateMachine):
    """One merchant, in a database that it shares with the merchants of other examples."""

    runner: asyncio.Runner
    database: Database
    examples = 0
    routed = False
    """With two accounts, rules that fail over, and breakers that turn easily."""

    payments = Bundle("payments")
    notices = Bundle("notices")

    @initialize()
    def begin(self) -> None:
        type(self).examples += 1
        scope = Scope(merchant_id=f"mer_{self.examples:026}", live=False)
        chance = random.Random(0)
        self.world: World = self.runner.run(
            make_world(self.database, scope, random=chance.randbytes)
        )
        self.finals: dict[str, str] = {}
        self.transfers = 0
        policy = Policy(check_above_minor=CHECKED_ABOVE_MINOR)
        self.run(put_policy(self.world.engine, scope, "CNY", policy))
        prices = read_prices({"prices": [PRICE]})
        self.run(save_prices(self.world.engine, scope, prices))
        if self.routed:
            self.run(self.begin_routing())
        self.run(add_endpoint(self.world.engine, scope, "https://shop.invalid/"))

    async def begin_routing(self) -> None:
        await self.world.open_second_account()
        await self.world.rule(**RULES)

    def method(self, code: str | None) -> Method:
        """Any channel, where rules choose."""
        return replace(self.world.method(code), channel="auto" if self.routed else "bank")

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        # What is held for a second of real time would make an example depend on the machine.
        self.world.engine.routing.forget(self.world.scope.merchant_id)
        return self.runner.run(work)

    def attempted(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do it; a refusal is well, and our process may die of it."""
        try:
            self.run(work)
        except (InvalidInput, ProcessDied):
            pass
        finally:
            self.world.transport.faults.clear()

    @rule(target=payments, minor=st.integers(1, 5), mode=MODES)
    def accept(self, minor: int, mode: CaptureMode) -> Payment:
        return self.run(self.world.accept(minor, capture=mode))

    @rule(
        target=payments,
        minor=st.integers(1, 5),
        code=st.sampled_from([None, "284561", "000000"]),
        mode=MODES,
        faults=FAULTS,
    )
    def order(
        self, minor: int, code: str | None, mode: CaptureMode, faults: list[Fault | None]
    ) -> Payment:
        self.world.transport.faults[:] = faults
        order, method = self.world.order(minor, capture=mode), self.method(code)
        scope = self.world.scope
        self.attempted(order_and_attempt(self.world.engine, scope, order, method))
        return self.run(show_order(self.world.engine, scope, order.order_id))

    @rule(payment=payments, code=st.sampled_from([None, "284561", "000000"]), faults=FAULTS)
    def attempt(self, payment: Payment, code: str | None, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        engine, scope = self.world.engine, self.world.scope
        self.attempted(attempt(engine, scope, payment.payment_id, self.method(code)))

    @precondition(lambda self: self.routed)
    @rule(branches=st.sets(st.sampled_from(["main", "north"])))
    def branches_go_down(self, branches: set[str]) -> None:
        self.world.transport.down = branches

    @precondition(lambda self: self.routed)
    @rule(branch=st.sampled_from(["main", "north"]), code=st.sampled_from(DECLINES))
    def branch_declines(self, branch: str, code: str | None) -> None:
        self.world.bank.declining.pop(branch, None)
        if code is not None:
            self.world.bank.declining[branch] = code

    @rule(payment=payments, faults=FAULTS)
    def close(self, payment: Payment, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        self.attempted(close(self.world.engine, self.world.scope, payment.payment_id))

    @rule(payment=payments, minor=st.integers(1, 5), faults=FAULTS)
    def refund(self, payment: Payment, minor: int, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        self.attempted(
            refund(self.world.engine, self.world.scope, payment.payment_id, amount_minor=minor)
        )

    @rule(payment=payments, minor=st.integers(1, 6), faults=FAULTS)
    def capture(self, payment: Payment, minor: int, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        self.attempted(
            capture(self.world.engine, self.world.scope, payment.payment_id, amount_minor=minor)
        )

    @rule(payment=payments, faults=FAULTS)
    def void(self, payment: Payment, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        self.attempted(void(self.world.engine, self.world.scope, payment.payment_id))

    @rule(data=st.data())
    def the_hold_ends(self, data: st.DataObject) -> None:
        orders = sorted(self.world.bank.orders)
        if orders:
            self.world.bank.let_go(data.draw(st.sampled_from(orders)))

    @rule(minor=st.integers(1, 5), payee=PAYEES, again=st.booleans(), faults=FAULTS)
    def transfer(self, minor: int, payee: str, again: bool, faults: list[Fault | None]) -> None:
        self.world.transport.faults[:] = faults
        self.transfers += not again
        order = TransferOrder(
            number=f"t-{self.transfers}",
            channel="bank",
            amount=Money(minor, "CNY"),
            payee=payee,
            description="wages",
        )
        self.attempted(request_transfer(self.world.engine, self.by("maker"), order))

    @rule(data=st.data(), who=st.sampled_from(["maker", "checker"]), faults=FAULTS)
    def decide(self, data: st.DataObject, who: str, faults: list[Fault | None]) -> None:
        waiting = self.run(list_transfers(self.world.engine, self.world.scope, limit=100))
        if waiting:
            one = data.draw(st.sampled_from(waiting)).transfer_id
            how = approve if data.draw(st.booleans()) else reject
            self.world.transport.faults[:] = faults
            self.attempted(how(self.world.engine, self.by(who), one))

    @rule(data=st.data(), state=st.sampled_from(["paid", "returned"]))
    def a_slow_transfer_ends(self, data: st.DataObject, state: str) -> None:
        payouts = sorted(self.world.bank.payouts)
        if payouts:
            self.world.bank.arrive(data.draw(st.sampled_from(payouts)), state)

    def by(self, actor: str) -> Scope:
        return replace(self.world.scope, actor=Actor(kind="operator", id=actor))

    @rule(data=st.data())
    def customer_pays(self, data: st.DataObject) -> None:
        orders = sorted(self.world.bank.orders)
        if orders:
            self.world.bank.pay(data.draw(st.sampled_from(orders)))

    @rule(target=notices, data=st.data())
    def bank_writes(self, data: st.DataObject) -> Any:
        orders = sorted(self.world.bank.orders)
        if not orders:
            return multiple()
        return self.world.bank.payment_notice(data.draw(st.sampled_from(orders)))

    @rule(notice=notices)
    def notified(self, notice: Any) -> None:
        self.run(self.tell(notice))

    @rule(notice=consumes(notices))
    def notified_twice_at_once(self, notice: Any) -> None:
        async def both() -> None:
            await asyncio.gather(self.tell(notice), self.tell(notice))

        self.run(both())

    @rule(seconds=st.sampled_from([5, 40, 700, 2000]), faults=FAULTS)
    def time_passes(self, seconds: int, faults: list[Fault | None]) -> None:
        self.world.clock.pass_by(seconds=seconds)
        self.world.transport.faults[:] = faults
        self.run(self.world.work())
        self.world.transport.faults.clear()

    async def tell(self, notice: Any) -> None:
        world = self.world
        told = msgspec.json.decode(notice.body)
        account_id = world.notified_at(told["reference"])
        reply = await receive(world.engine, world.scope.merchant_id, account_id, notice)
        assert reply.status == 200

    @invariant()
    def nothing_is_broken(self) -> None:
        self.run(self.check())

    async def check(self) -> None:
        world = self.world
        assert not (await prove(self.database)).mistakes
        for payment in await list_payments(world.engine, world.scope, limit=100):
            assert payment.refunded_minor <= payment.captured_minor <= payment.amount_minor
            captures = await captures_of(world.engine, payment)
            assert len([one for one in captures if one.state != "failed"]) <= 1
            if payment.capture is CaptureMode.MANUAL:
                assert payment.captured_minor <= payment.authorized_minor
            else:
                assert not captures
                assert payment.state != "authorized"
            before = self.finals.get(payment.payment_id)
            assert before in (None, payment.state)
            if payment.state in FINAL:
                self.finals[payment.payment_id] = payment.state
            events = Counter(await world.events(payment))
            assert events["payment.paid"] == (payment.state == "paid")
            attempts = await world.attempts(payment)
            kept = [one for one in attempts if one.state == "succeeded"]
            assert len(kept) == (payment.state == "paid")
            by_id = {one.attempt_id: one for one in attempts}
            for one in attempts:
                if one.replaces is not None:  # what was replaced was dead, and by no customer
                    dead = by_id[one.replaces]
                    assert dead.account_id != one.account_id
                    assert dead.state in ("not_sent", "surplus") or (
                        dead.state == "declined" and dead.code in ACCOUNTS_FAULT
                    )
            refunds = await world.refunds(payment)
            for tried in attempts:
                reserved = sum(
                    one.amount_minor
                    for one in refunds
                    if one.attempt_id == tried.attempt_id and one.state != "failed"
                )
                assert reserved == tried.reserved_minor <= tried.captured_minor
        for transfer in await list_transfers(world.engine, world.scope, limit=100):
            assert transfer.decided_by != transfer.requested_by or transfer.state == "rejected"
            gone = transfer.reference in world.bank.payouts
            assert not (gone and transfer.state in ("requested", "rejected"))
            if transfer.amount_minor > CHECKED_ABOVE_MINOR and gone:
                assert transfer.decided_by == "checker"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.end())

    async def end(self) -> None:
        world = self.world
        world.transport.down.clear()
        for reference, order in world.bank.orders.items():
            if order.state in ("paid", "held"):
                await self.tell(world.bank.payment_notice(reference))
        for transfer in await list_transfers(world.engine, world.scope, limit=100):
            if transfer.state == "requested":
                await reject(world.engine, self.by("checker"), transfer.transfer_id)
        world.bank.slow = False
        for reference in world.bank.payouts:
            world.bank.arrive(reference)
        await world.work_until_quiet(hours=1)
        await self.check()
        for payment in await list_payments(world.engine, world.scope, limit=100):
            assert payment.state in FINAL
            references = [one.reference for one in await world.attempts(payment)]
            orders = [world.bank.orders[one] for one in references if one in world.bank.orders]
            at_bank = sum(order.left for order in orders if order.state == "paid")
            assert at_bank == payment.captured_minor - payment.refunded_minor
        await self.check_webhooks()
        assert all(one.state in ("paid", "closed", "waiting") for one in world.bank.orders.values())
        transfers = await list_transfers(world.engine, world.scope, limit=100)
        done = {one.reference: one.amount_minor for one in transfers if one.state == "succeeded"}
        paid_out = {
            name: one.amount for name, one in world.bank.payouts.items() if one.state == "paid"
        }
        assert done == paid_out
        assert all(one.state in ("succeeded", "failed", "rejected") for one in transfers)
        at_bank = sum(one.left for one in world.bank.orders.values() if one.state == "paid")
        at_bank -= sum(paid_out.values())
        books = {
            one.account: one.balance_minor for one in await balances(world.engine, world.scope)
        }
        for account_id in (ACCOUNT_ID, SECOND_ACCOUNT_ID):
            at_account = sum(
                one.left
                for reference, one in world.bank.orders.items()
                if one.state == "paid" and world.notified_at(reference) == account_id
            )
            at_account -= sum(
                one.amount_minor
                for one in transfers
                if one.state == "succeeded" and one.account_id == account_id
            )
            assert books.get(f"channel_receivable:{account_id}", 0) == at_account
        charged = await self.charged()
        assert books.get("merchant_payable", 0) == at_bank - charged
        assert books.get("platform_fees", 0) == charged
        assert not books.get("refunds_in_transit")
        assert not books.get("transfers_in_transit")
        assert not books.get("surplus")

    async def charged(self) -> int:
        """What is kept of the fees, after what went back with refunds."""
        fee, kept = read_prices({"prices": [PRICE]}).prices[0].fee, 0
        for payment in await list_payments(self.world.engine, self.world.scope, limit=100):
            if (captured := payment.captured_minor) > 0:
                whole = fee.of(captured)
                kept += whole - fee.returned_minor(whole, captured, payment.refunded_minor)
        return kept

    async def check_webhooks(self) -> None:
        rows = await self.database.fetch(
            "SELECT event_id FROM event WHERE merchant_id = $1", self.world.scope.merchant_id
        )
        inbox = self.world.transport.shop.inbox
        told = {(request.headers["webhook-id"], request.body) for request in inbox}
        assert sorted(event_id for event_id, _ in told) == sorted(row["event_id"] for row in rows)


@pytest.mark.parametrize("routed", [False, True], ids=["one_account", "routed"])
def test_any_order(postgres_url: str, routed: bool) -> None:
    with asyncio.Runner() as runner:
        opening = open_database(postgres_url, min_size=1, max_size=8)
        database = runner.run(opening.__aenter__())
        try:
            known = {"runner": runner, "database": database, "routed": routed}
            machine = type("Machine", (AnyOrder,), known)
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=int(os.environ.get("QIAO_TEST_EXAMPLES", "60")),
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opening.__aexit__(None, None, None))
