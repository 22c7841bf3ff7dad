"""A merchant's world in a simulation: Qiao's processes, the bank, the shop, the network."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse, Operation
from qiao.crypto.sealing import Seal
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Accounts
from qiao.engine.jobs import handlers
from qiao.engine.notifications import receive
from qiao.engine.runtime import Engine, Scope
from qiao.store.clock import DatabaseClock
from qiao.store.errors import StoreUnavailable
from qiao.store.outbox import Worker
from qiao.testing.bank import BANK, Bank
from qiao.testing.world import ACCOUNT_ID
from qiao.transport.drive import AnswerLost, ConnectFailed, exchange
from tests.simulation.store import Died, Server, SimulatedDatabase, Trouble

Result = TypeVar("Result")
BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
SEAL = Seal([Seal.new_key()])
TELLS = (1.0, 20.0, 90.0)
"""After how many seconds the bank tells again what was not acknowledged."""


class Gone(Exception):
    """No answer: the process died, or the database did not answer. It may have happened."""


@dataclass
class Network:
    """What happens between Qiao and the bank, besides nothing, with its probability."""

    not_connected: float = 0.0
    request_lost: float = 0.0
    answer_lost: float = 0.0
    twice: float = 0.0
    """A network that sends a request again by itself."""
    late: float = 0.0
    """The bank works on it long after we have given up waiting."""


@dataclass
class Transport:
    """One process's way to the bank and the shop."""

    world: "SimulatedWorld"
    dead: bool = False

    async def run(self, operation: Operation[Result]) -> Result | NotSent | Unknown:
        driven = exchange(operation)
        try:
            request = next(driven)
            while True:
                try:
                    response = await self._send(request)
                except (ConnectFailed, AnswerLost) as error:
                    request = driven.throw(error)
                else:
                    request = driven.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _send(self, request: HttpRequest) -> HttpResponse:
        await self._travel()
        if request.url.startswith("https://bank.invalid/"):
            response = await self._ask_bank(request)
        else:
            response = self.world.shop_answers(request)
        await self._travel()
        return response

    async def _ask_bank(self, request: HttpRequest) -> HttpResponse:
        world, network = self.world, self.world.network
        if request.url.split("/")[-2] in world.branches_down or world.hits(network.not_connected):
            raise ConnectFailed("refused")
        if world.hits(network.request_lost):
            await self._wait_in_vain(request)
        if world.hits(network.late):
            delay = world.chance.uniform(20, 300)
            asyncio.get_running_loop().call_later(delay, world.bank.answer, request)
            await self._wait_in_vain(request)
        response = world.bank.answer(request)
        if world.hits(network.twice):
            await asyncio.sleep(world.chance.uniform(0.1, 3))
            response = world.bank.answer(request)
        if world.hits(network.answer_lost):
            await self._wait_in_vain(request)
        return response

    async def _wait_in_vain(self, request: HttpRequest) -> None:
        await asyncio.sleep(request.timeout_seconds)
        self._check()
        raise AnswerLost("no answer in time")

    async def _travel(self) -> None:
        self._check()
        await asyncio.sleep(self.world.chance.uniform(0.005, 0.5))
        self._check()

    def _check(self) -> None:
        if self.dead:
            raise Died


class Process:
    """A server and worker: what it has begun ends with it, and another one takes its place.

    Its machine's wall clock may say what it likes: nothing here reads it.
    """

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        # Not a set: its order would be that of addresses in memory.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    async def start(self) -> None:
        """As a new process does: what it needs of the database, it asks until it gets it."""
        world = self._world
        self._database = SimulatedDatabase(
            server=world.server, trouble=world.trouble, now=world.now
        )
        self._transport = Transport(world)
        clock = await self._clock()
        self.engine = Engine(
            database=self._database,
            transport=self._transport,
            accounts=Accounts(database=self._database, seal=SEAL, channels={"bank": BANK}),
            seal=SEAL,
            public_url="https://qiao.invalid",
            now=clock,
            random=world.chance.randbytes,
        )
        worker = Worker(
            self._database, handlers(self.engine), poll_seconds=world.poll_seconds, concurrency=4
        )
        self.engine.wake.call(worker.wake)
        self._begin(worker.run(asyncio.Event()))

    async def _clock(self) -> DatabaseClock:
        while True:
            try:
                return await DatabaseClock.read(
                    self._database, monotonic=asyncio.get_running_loop().time
                )
            except StoreUnavailable:
                await asyncio.sleep(1)

    async def call(self, work: Callable[[Engine], Coroutine[Any, Any, Result]]) -> Result:
        """Have it do something. Raises Gone when it dies over it, or has no database."""
        task = self._begin(work(self.engine))
        await asyncio.wait({task})
        if task.cancelled() or isinstance(task.exception(), Died):
            raise Gone
        try:
            return task.result()
        except StoreUnavailable:
            raise Gone from None

    async def die(self) -> None:
        """At once: nothing that it was doing goes on, not even what would clean up."""
        self._database.dead = self._transport.dead = True
        # What has just ended is told to who waits for it, a refusal too.
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task


@dataclass
class SimulatedWorld:
    """Everything that there is. ``chance`` is the one source of all that is not determined."""

    server: Server
    seed: int
    scope: Scope
    chance: random.Random = field(init=False)
    bank: Bank = field(default_factory=Bank)
    network: Network = field(default_factory=Network)
    routed: bool = False
    """With two accounts at the bank, and rules that fail over from one to the other."""
    branches_down: frozenset[str] = frozenset()
    """Branches of the bank that nobody can connect to."""
    receivers: dict[str, str] = field(default_factory=dict)
    """The ids of who may get shares, by their names at the bank."""
    processes: list[Process] = field(default_factory=list)
    webhooks: dict[str, set[bytes]] = field(default_factory=dict)
    shop_fails: float = 0.0
    notices_lost: float = 0.0
    poll_seconds: float = 5.0
    clock_error: timedelta = timedelta()
    """How far the database's clock is off, as after a standby has taken over."""
    trouble: Trouble = field(init=False)
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.trouble = Trouble(chance=self.chance)

    def now(self) -> datetime:
        """The database's time."""
        passed = timedelta(seconds=asyncio.get_running_loop().time())
        return BEGINNING + passed + self.clock_error

    def hits(self, probability: float) -> bool:
        return self.chance.random() < probability

    def process(self) -> Process:
        return self.chance.choice(self.processes)

    def shop_answers(self, request: HttpRequest) -> HttpResponse:
        if self.hits(self.shop_fails):
            return HttpResponse(status=500)
        self.webhooks.setdefault(request.headers["webhook-id"], set()).add(request.body)
        return HttpResponse(status=200)

    def tell(self, message: Callable[[], HttpMessage]) -> None:
        """The bank tells something in the background, late, twice, or never."""
        self.background(self._tell(message))

    async def _tell(self, message: Callable[[], HttpMessage]) -> None:
        notice = message()
        for pause in TELLS:
            await asyncio.sleep(self.chance.uniform(0, pause))
            if self.hits(self.notices_lost):
                continue
            if await self.notify(notice) and not self.hits(0.2):
                return

    async def notify(self, notice: HttpMessage) -> bool:
        """Whether some process acknowledged it."""
        merchant_id = self.scope.merchant_id
        told = msgspec.json.decode(notice.body)
        match told["about"]:
            case "mandate":  # at the first account, whoever charges it
                account_id = ACCOUNT_ID
            case "dispute":
                account_id = self.account_of(self.bank.disputes[told["number"]]["payment"])
            case _:
                account_id = self.account_of(told["reference"])
        try:
            reply = await self.process().call(
                lambda engine: receive(engine, merchant_id, account_id, notice)
            )
        except Gone:
            return False
        return reply.status == 200

    def account_of(self, number: str) -> str:
        """Where the bank tells of an order or its capture: at the account that asked for it."""
        return self.bank.order_of(number).notify_url.rpartition("/")[2]

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self.tasks.pop)
