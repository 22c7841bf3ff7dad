"""Who acts in a simulation: customers with their merchant, and those who break things."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.attempts import Method, attempt
from qiao.engine.captures import capture, void
from qiao.engine.closing import close
from qiao.engine.payments import Order, accept, payment_now
from qiao.engine.records import Attempt, Capture, CaptureMode, Payment, Refund, Transfer
from qiao.engine.refunds import refund
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.share_records import ProfitShare, ShareReturn
from qiao.engine.share_returns import return_share
from qiao.engine.shares import ShareLine, share
from qiao.engine.transfers import TransferOrder, approve, request_transfer
from qiao.testing.vault import REFUSED_PAYEE, SLOW_PAYEE
from tests.simulation.world import Gone, Network, SimulatedWorld

Result = TypeVar("Result")
CODES = (None, None, "284561", "284561", "000000")
"""How a customer pays: by QR, by payment code, by a code that the bank declines."""
RECEIVERS = ("anna", SLOW_PAYEE, REFUSED_PAYEE)
"""Who may get shares: at once, later, never."""


@dataclass
class Told:
    """What Qiao has acknowledged of one order. It may never take any of it back."""

    amount: int
    payment_id: str | None = None
    states: list[str] = field(default_factory=list)
    refunds: dict[str, int] = field(default_factory=dict)
    """The amount of every refund that was acknowledged, by its id."""
    captures: dict[str, int] = field(default_factory=dict)
    """The amount of every capture that was acknowledged, by its id."""
    refunds_done: set[str] = field(default_factory=set)


class Asker:
    """Somebody who asks again until there is an answer."""

    def __init__(self, world: SimulatedWorld, number: int) -> None:
        self._world, self._number = world, number

    async def live(self) -> None:
        """What this one wants in its life."""
        raise NotImplementedError

    async def _ask(
        self, name: str, work: Callable[[Engine, IdempotencyKey], Coroutine[Any, Any, Result]]
    ) -> Result | None:
        """Ask until there is an answer; None for a refusal, or when patience ends."""
        key = IdempotencyKey(key=f"{self._number}-{name}", body_digest=name.encode())
        for _ in range(6):
            try:
                return await self._world.process().call(lambda engine: work(engine, key))
            except Gone:
                await asyncio.sleep(self._world.chance.uniform(0.5, 5))
            except InvalidInput:
                return None
        return None


class Payer(Asker):
    """A merchant who pays somebody out, by two people: one who asks, and one who lets it go."""

    async def live(self) -> None:
        world, chance = self._world, self._world.chance
        self.told: dict[str, str] = {}
        self.amount = chance.randint(1, 5)
        await asyncio.sleep(chance.uniform(0, 90))
        order = TransferOrder(
            number=f"transfer-{self._number}",
            channel="bank",
            amount=Money(self.amount, "CNY"),
            payee=chance.choice(("anna", SLOW_PAYEE, REFUSED_PAYEE)),
            description="wages",
        )
        maker, checker = (
            replace(world.scope, actor=Actor(kind="operator", id=name))
            for name in ("maker", "checker")
        )
        asked = await self._ask(
            "transfer", lambda engine, key: request_transfer(engine, maker, order, key=key)
        )
        if asked is None:
            return
        self._note(asked.transfer)
        await asyncio.sleep(chance.uniform(0, 30))
        number = asked.transfer.transfer_id
        approved = await self._ask("approve", lambda engine, _: approve(engine, checker, number))
        if approved is not None:
            self._note(approved)

    def _note(self, transfer: Transfer) -> None:
        self.told[transfer.transfer_id] = transfer.state


class Buyer(Asker):
    """One order from beginning to end."""

    def __init__(self, world: SimulatedWorld, number: int) -> None:
        super().__init__(world, number)
        self.told = Told(amount=world.chance.randint(1, 5))
        self._mode = world.chance.choice((*CaptureMode, CaptureMode.AUTOMATIC))
        self._shares = self._mode is CaptureMode.AUTOMATIC and world.hits(0.5)

    async def live(self) -> None:
        world, chance = self._world, self._world.chance
        await asyncio.sleep(chance.uniform(0, 60))
        payment = await self._accept()
        if payment is None:
            return
        for _ in range(chance.randint(1, 3)):
            code = chance.choice(CODES)
            tried = await self._attempt(code)
            if tried is not None and world.hits(0.8):
                self._later(self._pay(tried), 60)
            await asyncio.sleep(chance.expovariate(1 / 20))
        if self._mode is CaptureMode.MANUAL:
            for number in range(chance.choice((0, 1, 1, 2))):
                self._later(self._capture(number), 40)
            if world.hits(0.3):
                self._later(self._void(), 60)
        if world.hits(0.25):
            await self._close()
        for number in range(chance.choice((0, 0, 1, 2, 3))):
            self._later(self._refund(number), 40)
        for number in range(chance.choice((0, 1, 2)) if self._shares else 0):
            self._later(self._share(number), 40)
        await asyncio.sleep(chance.uniform(0, 90))
        await self._look()

    def _later(self, work: Coroutine[Any, Any, object], seconds: float) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._world.chance.uniform(0, seconds))
            await work

        self._world.background(wait())

    async def _pay(self, tried: Attempt) -> None:
        """The customer pays, if the bank knows the order: also what is closed, or paid already."""
        world = self._world
        if tried.reference in world.bank.orders:
            world.bank.pay(tried.reference)
            world.tell(lambda: world.bank.payment_notice(tried.reference))

    async def _accept(self) -> Payment | None:
        order = Order(
            order_id=f"order-{self._number}",
            amount=Money(self.told.amount, "CNY"),
            description="tea",
            expires_in_seconds=self._world.chance.choice((60, 120, 600)),
            capture=self._mode,
            profit_sharing=self._shares,
        )
        made = await self._ask(
            "accept", lambda engine, key: accept(engine, self._world.scope, order, key=key)
        )
        if made is None:
            return None
        self.told.payment_id = made.payment.payment_id
        self.told.states.append(made.payment.state)
        return made.payment

    async def _attempt(self, code: str | None) -> Attempt | None:
        product = Product.CODE if code else Product.QR
        channel = "auto" if self._world.routed else "bank"
        method = Method(channel=channel, product=product, auth_code=code)
        name = f"attempt-{self._world.chance.random()}"
        return await self._ask(
            name,
            lambda engine, key: attempt(
                engine, self._world.scope, str(self.told.payment_id), method, key=key
            ),
        )

    async def _close(self) -> None:
        payment_id = str(self.told.payment_id)
        closed = await self._ask(
            "close", lambda engine, _: close(engine, self._world.scope, payment_id)
        )
        if closed is not None:
            self.told.states.append(closed.state)

    async def _capture(self, number: int) -> None:
        payment_id, minor = str(self.told.payment_id), self._world.chance.randint(1, 6)

        async def ask(engine: Engine, key: IdempotencyKey) -> Capture:
            scope = self._world.scope
            return await capture(engine, scope, payment_id, amount_minor=minor, key=key)

        taken = await self._ask(f"capture-{number}", ask)
        if taken is not None:
            self.told.captures[taken.capture_id] = minor
            if taken.state == "succeeded":
                self.told.states.append("paid")

    async def _void(self) -> None:
        payment_id = str(self.told.payment_id)
        gone = await self._ask(
            "void", lambda engine, _: void(engine, self._world.scope, payment_id)
        )
        if gone is not None:
            self.told.states.append(gone.state)

    async def _refund(self, number: int) -> None:
        payment_id, minor = str(self.told.payment_id), self._world.chance.randint(1, 3)

        async def ask(engine: Engine, key: IdempotencyKey) -> Refund:
            scope = self._world.scope
            return await refund(engine, scope, payment_id, amount_minor=minor, key=key)

        given = await self._ask(f"refund-{number}", ask)
        if given is not None:
            self.told.refunds[given.refund_id] = minor
            if given.state == "succeeded":
                self.told.refunds_done.add(given.refund_id)

    async def _share(self, number: int) -> None:
        """Some of it goes to others; some of that comes back."""
        world, payment_id = self._world, str(self.told.payment_id)
        lines = [
            ShareLine(
                receiver_id=world.receivers[name],
                amount_minor=world.chance.randint(1, 2),
                description="part",
            )
            for name in world.chance.sample(RECEIVERS, world.chance.randint(1, 2))
        ]
        finish = world.hits(0.2)

        async def ask(engine: Engine, key: IdempotencyKey) -> ProfitShare:
            return await share(engine, world.scope, payment_id, lines, finish=finish, key=key)

        given = await self._ask(f"share-{number}", ask)
        if given is not None and world.hits(0.5):
            await asyncio.sleep(world.chance.uniform(0, 30))
            await self._give_back(given, world.chance.randint(1, len(lines)))

    async def _give_back(self, given: ProfitShare, line: int) -> None:
        minor = self._world.chance.choice((None, 1))

        async def ask(engine: Engine, key: IdempotencyKey) -> ShareReturn:
            return await return_share(
                engine, self._world.scope, given.share_id, line, amount_minor=minor, key=key
            )

        await self._ask(f"return-{given.share_id}", ask)

    async def _look(self) -> None:
        merchant_id, payment_id = self._world.scope.merchant_id, str(self.told.payment_id)
        seen = await self._ask(
            "look", lambda engine, _: payment_now(engine, merchant_id, payment_id)
        )
        if seen is not None:
            self.told.states.append(seen.state)


async def break_things(world: SimulatedWorld, seconds: float) -> None:
    """For so long: processes die, the database's clock jumps, it is away, the network changes."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(world.chance.uniform(1, 20))
        match world.chance.choice(("die", "die", "clock", "database", "network", "calm")):
            case "die":
                victim = world.process()
                await victim.die()
                await asyncio.sleep(world.chance.uniform(0, 10))
                await victim.start()
            case "clock":
                world.clock_error = timedelta(seconds=world.chance.uniform(-30, 30))
            case "database":
                world.trouble.down = True
                await asyncio.sleep(world.chance.uniform(0.1, 8))
                world.trouble.down = False
            case "network":
                world.network = Network(
                    **{name: world.chance.choice((0, 0, 0.1, 0.3)) for name in NETWORK}
                )
                if world.routed:
                    world.branches_down = frozenset(world.chance.choice(BRANCHES))
                    world.bank.declining = dict(world.chance.choice(REFUSING))
                world.bank.poor = world.hits(0.3)
                world.shop_fails = world.chance.choice((0, 0.5))
                world.notices_lost = world.chance.choice((0, 0.3, 1))
            case _:
                calm(world)
                world.trouble.statement_lost = world.chance.choice((0, 0.01, 0.05))
                world.trouble.answer_lost = world.chance.choice((0, 0.01, 0.05))


NETWORK = tuple(Network.__dataclass_fields__)
BRANCHES = ((), ("main",), ("north",), ("main", "north"))
REFUSING: tuple[dict[str, str], ...] = (
    {},
    {"main": "account_misconfigured"},
    {"north": "insufficient_funds"},
)


def calm(world: SimulatedWorld) -> None:
    """Nothing goes wrong from now on."""
    world.network = Network()
    world.branches_down = frozenset()
    world.bank.declining, world.bank.poor = {}, False
    world.shop_fails = world.notices_lost = 0.0
    world.trouble.down = False
    world.trouble.statement_lost = world.trouble.answer_lost = 0.0


def by(scope: Scope, name: str) -> Scope:
    """The same scope, asked by that person."""
    return replace(scope, actor=Actor(kind="operator", id=name))
