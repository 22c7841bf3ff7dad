"""A live platform for tests that break it: processes, customers, a shop; and what must be true."""

import asyncio
import hashlib
import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_engine
from qiao.crypto.sealing import Seal
from qiao.engine.jobs import handlers
from qiao.engine.ledger import prove
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.engine.webhooks import add_endpoint
from qiao.simulators.alipay import Simulator, new_credentials
from qiao.simulators.alipay.book import State
from qiao.store.database import Database, open_database
from qiao.store.outbox import Worker
from qiao.testing.servers import free_port
from qiao.testing.world import Clock
from tests.crash.relay import reachable

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
REFUNDED_MINOR = 300
LEFT = "SELECT count(*) FROM job WHERE merchant_id <> 'server'"
"""The server's own come again for ever."""


class Process:
    """A server or worker that may be killed and started again."""

    def __init__(
        self, *arguments: str, environment: dict[str, str], inside: tuple[str, ...] = ()
    ) -> None:
        self._command = (*inside, *QIAO, *arguments)
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self._running.wait()

    def send(self, what: signal.Signals) -> None:
        """To a process that is dead already, nothing."""
        if self.lives():
            self._running.send_signal(what)

    def lives(self) -> bool:
        return self._running.returncode is None

    def resident_kilobytes(self) -> int:
        """Its memory now, as the kernel counts it."""
        status = Path(f"/proc/{self._running.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process


class Shop:
    """Receives webhooks; of each event it keeps the digest of what came first."""

    def __init__(self) -> None:
        self.digests: dict[str, bytes] = {}
        self.contradicted: set[str] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        event_id = request.headers["webhook-id"]
        digest = hashlib.sha256(await request.read()).digest()[:8]
        if self.digests.setdefault(event_id, digest) != digest:
            self.contradicted.add(event_id)
        return web.Response(status=204)

    @asynccontextmanager
    async def open(self, host: str = "127.0.0.1") -> AsyncIterator["Shop"]:
        application = web.Application()
        application.router.add_post("/", self.take)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        self.url = f"http://{host}:{runner.addresses[0][1]}/"
        try:
            yield self
        finally:
            await runner.cleanup()


class Customer:
    """Sends requests again until they are answered, under the same key."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, key: str, simulator: Simulator
    ) -> None:
        self._session = session
        self._url, self._key, self._simulator = url, key, simulator
        self.turned_away: Counter[int] = Counter()
        """How often by each status, before it was answered."""

    async def ask(self, path: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self._key}", "idempotency-key": key}
        while True:
            try:
                async with self._session.post(
                    self._url + path, json=body, headers=headers
                ) as answer:
                    if answer.status < 500:
                        return answer.status, await answer.json()
                    self.turned_away[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                pass  # the server is dead just now
            await asyncio.sleep(0.1)

    async def buy(self, number: int) -> None:
        """By payment code, or by QR code; every third gives a part back. About every fifth the
        channel is asked. Every tenth is left, and closed by the shop."""
        body: dict[str, Any] = {
            "order_id": f"order-{number}",
            "amount": 1000 + number % 1000,
            "description": "tea",
            "method": {"channel": "alipay", "product": "qr"},
        }
        left = number % 10 == 4
        if number % 2:
            code = self._simulator.book.new_code()
            body["method"] = {"channel": "alipay", "product": "code", "auth_code": code}
        status, payment = await self.ask("/v1/payments", body, f"pay-{number}")
        if status == 409:  # an attempt that a dead server sent may still bring money
            return
        assert status in (200, 201), payment
        address = f"/v1/payments/{payment['id']}"
        if number % 5 == 1:
            status, told = await self.ask(f"{address}/query", {}, f"query-{number}")
            assert status == 200, told
        if left:
            status, told = await self.ask(f"{address}/close", {}, f"close-{number}")
            assert status in (200, 202, 409), told
            return
        await self._scan(payment)
        if number % 3 == 0:
            body = {"amount": REFUNDED_MINOR}
            status, told = await self.ask(f"{address}/refunds", body, f"refund-{number}")
            assert status in (201, 409), told  # 409: not paid yet

    async def _scan(self, payment: dict[str, Any]) -> None:
        for attempt in payment["attempts"]:
            action = attempt["action"] or {}
            if action.get("type") == "qr_code":
                async with self._session.post(f"{action['content']}/approve") as answer:
                    assert answer.status == 200


@dataclass(kw_only=True)
class Live:
    """A platform of a server and a worker, with its channel, a shop and customers."""

    config: Config
    environment: dict[str, str]
    engine: Engine
    simulator: Simulator
    shop: Shop
    customer: Customer
    server: Process
    worker: Process
    bought: int = 0

    async def buy_while(
        self, doing: Coroutine[Any, Any, None], *, at_least: int, at_once: int = 16
    ) -> None:
        """Customers buy until it is done, and so often at least."""
        done = asyncio.create_task(doing)
        numbers = itertools.count(self.bought)
        enough = self.bought + at_least

        async def go_on_buying() -> None:
            for number in numbers:
                if number >= enough and done.done():
                    return
                self.bought += 1
                await self.customer.buy(number)

        await asyncio.gather(*(go_on_buying() for _ in range(at_once)))
        await done

    async def end(self, *, paid_at_least: float = 0.8) -> tuple[int, int]:
        """Let everything come to its end, and check it. How many payments and events there are."""
        assert self.customer.turned_away.keys() <= {503}
        await nothing_is_sending(self.engine)
        await self.server.kill()
        await self.worker.kill()
        await work_until_quiet(self.engine)
        url = str(self.config.database_url)
        async with open_database(url, min_size=1, max_size=2, patient=True) as database:
            return await check(database, self.simulator, self.shop, paid_at_least=paid_at_least)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Where each listens, and of which networks they are where these are not public; ``inside`` is
    the command that starts a process where it belongs."""

    server: str = "127.0.0.1"
    channel: str = "127.0.0.1"
    shop: str = "127.0.0.1"
    networks: str = "127.0.0.0/8"
    inside: tuple[str, ...] = ()


@asynccontextmanager
async def live(
    home: Path,
    database_url: str,
    *,
    hosts: Hosts = Hosts(),
    of_server: dict[str, str] | None = None,
    of_worker: dict[str, str] | None = None,
) -> AsyncIterator[Live]:
    """Started, and killed at the end. The environments may be another's in part."""
    config, environment = settings(home, database_url, hosts)
    simulator = Simulator(credentials=new_credentials(), time_scale=60)
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(Shop().open(hosts.shop))
        channel_url = await stack.enter_async_context(simulator.running())
        if hosts.channel != Hosts.channel:
            channel_url = await stack.enter_async_context(reachable(channel_url, hosts.channel))
        engine = await stack.enter_async_context(open_engine(config))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        key = await prepare(engine, simulator, shop, channel_url=channel_url)
        server = Process(
            "serve",
            "--no-worker",
            environment=environment | (of_server or {}),
            inside=hosts.inside,
        )
        worker = Process("worker", environment=environment | (of_worker or {}), inside=hosts.inside)
        for process in (server, worker):
            await process.start()
            stack.push_async_callback(process.kill)
        yield Live(
            config=config,
            environment=environment,
            engine=engine,
            simulator=simulator,
            shop=shop,
            customer=Customer(session, config.base_url, key, simulator),
            server=server,
            worker=worker,
        )


def settings(
    home: Path, database_url: str, hosts: Hosts = Hosts()
) -> tuple[Config, dict[str, str]]:
    """A configuration, and the environment that gives a process the same one."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    port, seal_key = free_port(), Seal.new_key()
    environment = {
        **kept,
        "QIAO_HOME": str(home),
        "QIAO_DATABASE_URL": database_url,
        "QIAO_SEAL_KEYS": seal_key,
        "QIAO_HOST": hosts.server,
        "QIAO_PORT": str(port),
        "QIAO_WEBHOOK_NETWORKS": hosts.networks,
    }
    return load_config(environment), environment


async def prepare(
    engine: Engine,
    simulator: Simulator,
    shop: Shop | None = None,
    *,
    channel_url: str | None = None,
) -> str:
    """A merchant with an account, and an endpoint for the shop; gives the API key."""
    await add_merchant(engine, "Tea house", merchant_id=SCOPE.merchant_id)
    await engine.accounts.put(
        merchant_id=SCOPE.merchant_id,
        account_id="acc_00000000000000000000000000",
        live=False,
        channel="alipay",
        name="alipay",
        settings=simulator.credentials.settings(
            "ordinary", base_url=channel_url or simulator.base_url
        ),
    )
    if shop is not None:
        await add_endpoint(engine, SCOPE, shop.url)
    return await issue_api_key(engine, SCOPE)


async def nothing_is_sending(engine: Engine) -> None:
    """Until the worker has taken up what the dead had begun."""
    async with asyncio.timeout(120):
        while await engine.database.fetch_value(
            "SELECT EXISTS (SELECT FROM attempt WHERE state = 'sending')"
            " OR EXISTS (SELECT FROM refund WHERE state IN ('requested', 'sending'))"
        ):
            await asyncio.sleep(0.2)


async def work_until_quiet(engine: Engine) -> None:
    """Go on with a clock that is moved, until no job is left.

    A number that a dead process never sent is closed only once the channel has had its time to
    know it, which is minutes; an order that nobody paid closes when it expires.
    """
    clock = Clock()
    engine = replace(engine, now=clock)
    worker = Worker(engine.database, handlers(engine), now=clock)
    for _ in range(100):
        while await worker.run_due():
            pass
        if not await engine.database.fetch_value(LEFT):
            return
        clock.pass_by(minutes=5)
    raise AssertionError("there is no end to the jobs")


async def money_is_where_it_belongs(
    database: Database, simulator: Simulator
) -> list[asyncpg.Record]:
    """What the channel keeps of each order is what the books say, which are right. The payments."""
    payments = await database.fetch(
        "SELECT payment_id, order_id, state, captured_minor, refunded_minor FROM payment"
    )
    attempts = await database.fetch("SELECT reference, payment_id FROM attempt")
    known = {row["reference"]: row["payment_id"] for row in attempts}
    kept = dict.fromkeys((row["payment_id"] for row in payments), 0)
    for trade in simulator.book.trades.values():
        if trade.state in (State.SUCCESS, State.CLOSED) and trade.paid_at:
            kept[known[trade.out_trade_no]] += trade.fen - trade.refunded
    for row in payments:
        assert kept[row["payment_id"]] == row["captured_minor"] - row["refunded_minor"]
    assert not (await prove(database)).mistakes
    return payments


async def check(
    database: Database, simulator: Simulator, shop: Shop, *, paid_at_least: float = 0.8
) -> tuple[int, int]:
    """Every fen at the channel is in the books, once, and everything was told. How many payments
    and events there are. Where fewer are paid than that part, it was no trial."""
    payments = await money_is_where_it_belongs(database, simulator)
    assert len(payments) == len({row["order_id"] for row in payments})
    for row in payments:
        assert row["state"] == ("paid" if row["captured_minor"] else "closed")
    paid = sum(row["state"] == "paid" for row in payments)
    assert paid > len(payments) * paid_at_least
    told_paid = await database.fetch_row(
        "SELECT count(*), count(DISTINCT payment_id) AS payments FROM event"
        " WHERE type = 'payment.paid'"
    )
    assert told_paid is not None
    assert told_paid["count"] == told_paid["payments"] == paid
    events = {row["event_id"] for row in await database.fetch("SELECT event_id FROM event")}
    assert set(shop.digests) == events
    assert not shop.contradicted
    return len(payments), len(events)
