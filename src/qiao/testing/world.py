"""An engine on a real database, over the bank in memory, with a clock that tests move."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from qiao.channels.requests import Product
from qiao.crypto.sealing import Seal
from qiao.domain.money import Money
from qiao.engine.accounts import Accounts
from qiao.engine.attempts import Method, attempt
from qiao.engine.jobs import handlers
from qiao.engine.merchants import add_merchant
from qiao.engine.payments import Order, accept, attempts_of, payment_now, refunds_of
from qiao.engine.records import Attempt, CaptureMode, Payment, Refund
from qiao.engine.routing.books import save
from qiao.engine.routing.rules import read_rules
from qiao.engine.routing.state import Saved
from qiao.engine.runtime import Engine, Scope
from qiao.store.database import Database
from qiao.store.outbox import Worker
from qiao.testing.bank import BANK, Bank, BankTransport, Fault

SCOPE = Scope(merchant_id="mer_00000000000000000000000001", live=False)
ACCOUNT_ID = "acc_00000000000000000000000001"
SECOND_ACCOUNT_ID = "acc_00000000000000000000000002"


@dataclass
class Clock:
    """The present, moved forward."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pass_by(self, **units: float) -> None:
        self.ahead += timedelta(**units)


@dataclass
class World:
    """What a test of the engine holds in its hands."""

    engine: Engine
    bank: Bank
    transport: BankTransport
    clock: Clock
    scope: Scope = SCOPE
    account_id: str = ACCOUNT_ID
    orders: int = field(default=0)

    def order(self, minor: int = 1000, **more: object) -> Order:
        self.orders += 1
        return Order(
            order_id=f"order-{self.orders}",
            amount=Money(minor, "CNY"),
            description="tea",
            **more,  # type: ignore[arg-type]  # a test names the order's own fields
        )

    def method(self, code: str | None = None) -> Method:
        """By that payment code, or by a QR code."""
        product = Product.CODE if code else Product.QR
        return Method(channel="bank", product=product, auth_code=code)

    async def open_second_account(self) -> None:
        """At the bank's branch in the north; the first one is at the main branch."""
        await self.engine.accounts.put(
            merchant_id=self.scope.merchant_id,
            account_id=SECOND_ACCOUNT_ID,
            live=False,
            channel="bank",
            name="north",
            settings={"key": self.bank.key, "branch": "north"},
            priority=1,
        )

    async def rule(self, **rules: object) -> Saved:
        """Save routing rules, as they are written in a file."""
        return await save(self.engine, self.scope, read_rules(rules))

    def notified_at(self, number: str) -> str:
        """The account to which the bank tells of an order or its capture."""
        return self.bank.order_of(number).notify_url.rpartition("/")[2]

    async def accept(self, minor: int = 1000, **more: object) -> Payment:
        return (await accept(self.engine, self.scope, self.order(minor, **more))).payment

    async def authorized(self, minor: int = 1000) -> Payment:
        """A payment whose amount is held by a payment code."""
        payment = await self.accept(minor, capture=CaptureMode.MANUAL)
        await self.attempt(payment, code="284561")
        return await self.now(payment)

    async def attempt(
        self, payment: Payment, *faults: Fault | None, code: str | None = None
    ) -> Attempt:
        self.transport.faults[:] = faults
        return await attempt(self.engine, self.scope, payment.payment_id, self.method(code))

    async def paid(self, minor: int = 1000, **more: object) -> Payment:
        payment = await self.accept(minor, **more)
        await self.attempt(payment, code="284561")
        return await self.now(payment)

    async def now(self, payment: Payment) -> Payment:
        return await payment_now(self.engine, payment.merchant_id, payment.payment_id)

    async def attempts(self, payment: Payment) -> list[Attempt]:
        return await attempts_of(self.engine, payment)

    async def refunds(self, payment: Payment) -> list[Refund]:
        return await refunds_of(self.engine, payment)

    async def events(self, payment: Payment) -> list[str]:
        rows = await self.engine.database.fetch(
            "SELECT type FROM event WHERE payment_id = $1 ORDER BY event_id", payment.payment_id
        )
        return [row["type"] for row in rows]

    async def work(self) -> None:
        """Run every job that is due now, and what follows from it."""
        worker = Worker(self.engine.database, handlers(self.engine), now=self.clock)
        while await worker.run_due():
            pass

    async def work_until_quiet(self, **step: float) -> None:
        """Let time pass until no job is left."""
        for _ in range(200):
            await self.work()
            left = await self.engine.database.fetch_value(
                "SELECT count(*) FROM job WHERE merchant_id = $1", self.scope.merchant_id
            )
            if not left:
                return
            self.clock.pass_by(**(step or {"minutes": 10}))
        raise AssertionError("there is no end to the jobs")


async def make_world(
    database: Database,
    scope: Scope = SCOPE,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> World:
    """A merchant with one account at the bank; several may live in one database."""
    bank, clock = Bank(), Clock()
    transport = BankTransport(bank)
    seal = Seal([Seal.new_key()])
    engine = Engine(
        database=database,
        transport=transport,
        accounts=Accounts(database=database, seal=seal, channels={"bank": BANK}),
        seal=seal,
        public_url="https://qiao.invalid",
        now=clock,
        random=random,
    )
    await add_merchant(engine, "Tea house", merchant_id=scope.merchant_id)
    await engine.accounts.put(
        merchant_id=scope.merchant_id,
        account_id=ACCOUNT_ID,
        live=False,
        channel="bank",
        name="bank",
        settings={"key": bank.key},
    )
    return World(engine=engine, bank=bank, transport=transport, clock=clock, scope=scope)
