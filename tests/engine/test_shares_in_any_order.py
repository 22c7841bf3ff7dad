"""Shares, their returns and refunds in any order, with faults: never more than was taken.

After each step the books are proven, and at the end, when every job is done, what each receiver has
at the bank is what the books say that it got.
"""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from qiao.domain.errors import InvalidInput
from qiao.engine.ledger import balances, prove
from qiao.engine.records import Payment
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.engine.share_receivers import ReceiverOrder, bind
from qiao.engine.share_returns import return_share
from qiao.engine.shares import ShareLine, list_shares, release, share, show_in_full
from qiao.store.database import Database, open_database
from qiao.testing.bank import Fault, ProcessDied
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from qiao.testing.world import World, make_world

Result = TypeVar("Result")
FAULTS = st.lists(st.sampled_from([None, None, *Fault]), max_size=3)
RECEIVERS = ("anna", "bert", SLOW_PAYEE, REFUSED_PAYEE)
PARTS = st.dictionaries(st.sampled_from(RECEIVERS), st.integers(1, 6), min_size=1, max_size=3)
FINAL = ("succeeded", "partly", "failed")


class AnyOrder(RuleBasedStateMachine):
    """One merchant, in a database that it shares with the merchants of other examples."""

    runner: asyncio.Runner
    database: Database
    examples = 0

    payments = Bundle("payments")

    @initialize()
    def begin(self) -> None:
        type(self).examples += 1
        scope = Scope(merchant_id=f"mer_{self.examples}", live=False)
        self.world: World = self.run(make_world(self.database, scope))
        self.receivers = {name: self.run(self.bound(name)) for name in RECEIVERS}

    async def bound(self, name: str) -> str:
        order = ReceiverOrder(number=name, channel="bank", receiver_type="person", receiver=name)
        return (await bind(self.world.engine, self.world.scope, order)).receiver.receiver_id

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def attempted(self, work: Coroutine[Any, Any, Any], faults: list[Fault | None]) -> None:
        """Do it; a refusal is well, and our process may die of it."""
        self.world.transport.faults[:] = faults
        try:
            self.run(work)
        except (InvalidInput, ProcessDied):
            pass
        finally:
            self.world.transport.faults.clear()

    @rule(target=payments, minor=st.integers(1, 12))
    def pay(self, minor: int) -> Payment:
        return self.run(self.world.paid(minor, profit_sharing=True))

    @rule(payment=payments, parts=PARTS, finish=st.booleans(), faults=FAULTS)
    def share(
        self, payment: Payment, parts: dict[str, int], finish: bool, faults: list[Fault | None]
    ) -> None:
        lines = [
            ShareLine(receiver_id=self.receivers[name], amount_minor=minor, description="part")
            for name, minor in parts.items()
        ]
        engine, scope = self.world.engine, self.world.scope
        sharing = share(engine, scope, payment.payment_id, lines, finish=finish)
        self.attempted(sharing, faults)

    @rule(payment=payments, faults=FAULTS)
    def release(self, payment: Payment, faults: list[Fault | None]) -> None:
        engine, scope = self.world.engine, self.world.scope
        self.attempted(release(engine, scope, payment.payment_id), faults)

    @rule(payment=payments, minor=st.integers(1, 12), faults=FAULTS)
    def refund(self, payment: Payment, minor: int, faults: list[Fault | None]) -> None:
        engine, scope = self.world.engine, self.world.scope
        giving = refund(engine, scope, payment.payment_id, amount_minor=minor)
        self.attempted(giving, faults)

    @rule(data=st.data(), minor=st.integers(1, 6), faults=FAULTS)
    def give_back(self, data: st.DataObject, minor: int, faults: list[Fault | None]) -> None:
        engine, scope = self.world.engine, self.world.scope
        found = self.run(list_shares(engine, scope, limit=100))
        parts = [(one.share.share_id, part.line) for one in found for part in one.parts]
        if parts:
            share_id, line = data.draw(st.sampled_from(parts))
            giving = return_share(engine, scope, share_id, line, amount_minor=minor)
            self.attempted(giving, faults)

    @rule(refuses=st.booleans())
    def the_bank_has_moods(self, refuses: bool) -> None:
        self.world.bank.refuses = refuses

    @rule()
    def slow_shares_arrive(self) -> None:
        self.world.bank.deliver_shares()

    @rule(seconds=st.sampled_from([5, 40, 700]), faults=FAULTS)
    def time_passes(self, seconds: int, faults: list[Fault | None]) -> None:
        self.world.clock.pass_by(seconds=seconds)
        self.world.transport.faults[:] = faults
        self.run(self.world.work())
        self.world.transport.faults.clear()

    @invariant()
    def nothing_is_broken(self) -> None:
        self.run(self.check())

    async def check(self) -> None:
        assert not (await prove(self.database)).mistakes
        for order in self.world.bank.orders.values():
            assert order.left >= 0
            assert sum(order.refunds.values()) + order.shared <= order.taken

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.end())

    async def end(self) -> None:
        world = self.world
        world.bank.refuses = world.bank.slow = False
        world.bank.deliver_shares()
        await world.work_until_quiet(hours=1)
        await self.check()
        orders = world.bank.orders.values()
        at_bank = dict.fromkeys(RECEIVERS, 0)
        for order in orders:
            for receiver, minor, state in (part for one in order.shares.values() for part in one):
                at_bank[receiver] += minor if state == "paid" else 0
            for whose, minor in order.returns.values():
                at_bank[whose.partition("/")[2]] -= minor
        told = dict.fromkeys(RECEIVERS, 0)
        names = {receiver_id: name for name, receiver_id in self.receivers.items()}
        for one in await list_shares(world.engine, world.scope, limit=100):
            assert one.share.state in FINAL
            found = await show_in_full(world.engine, world.scope, one.share.share_id)
            assert all(given.state in FINAL for given in found.returns)
            for part in found.parts:
                assert (part.state == "succeeded") or not part.returned_minor
                assert not part.returning_minor
                kept = part.amount_minor - part.returned_minor
                told[names[part.receiver_id]] += kept if part.state == "succeeded" else 0
        assert told == at_bank
        found_balances = await balances(world.engine, world.scope)
        books = {one.account: one.balance_minor for one in found_balances}
        left = sum(order.left for order in orders)
        assert books.get(f"channel_receivable:{world.account_id}", 0) == left
        assert books.get("merchant_payable", 0) == left
        assert not books.get("shares_in_transit")
        assert not books.get("refunds_in_transit")


def test_any_order(postgres_url: str) -> None:
    with asyncio.Runner() as runner:
        opening = open_database(postgres_url, min_size=1, max_size=8)
        database = runner.run(opening.__aenter__())
        try:
            machine = type("Machine", (AnyOrder,), {"runner": runner, "database": database})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=int(os.environ.get("QIAO_TEST_EXAMPLES", "40")),
                    stateful_step_count=20,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opening.__aexit__(None, None, None))
