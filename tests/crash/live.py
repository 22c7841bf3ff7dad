"""A live platform for tests that break it: processes, customers, a shop; and what must be true."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from qiao.bootstrap.config import Config
from qiao.crypto.sealing import Seal
from qiao.engine.jobs import handlers
from qiao.engine.ledger import prove
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.engine.webhooks import add_endpoint
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.book import State
from qiao.store.database import Database
from qiao.store.outbox import Worker
from qiao.testing.servers import free_port
from qiao.testing.world import Clock

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
REFUNDED_MINOR = 300
LEFT = "SELECT count(*) FROM job WHERE merchant_id <> 'server'"
"""The server's own come again for ever."""


class Process:
    """A server or worker that may be killed and started again."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self._arguments, self._environment = arguments, environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *QIAO,
            *self._arguments,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    def resident_kilobytes(self) -> int:
        """Its memory now, as the kernel counts it."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0])


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
    async def open(self) -> AsyncIterator["Shop"]:
        application = web.Application()
        application.router.add_post("/", self.take)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
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

    async def ask(self, path: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self._key}", "idempotency-key": key}
        while True:
            try:
                async with self._session.post(
                    self._url + path, json=body, headers=headers
                ) as answer:
                    if answer.status < 500:
                        return answer.status, await answer.json()
            except (aiohttp.ClientError, TimeoutError):
                pass  # the server is dead just now
            await asyncio.sleep(0.1)

    async def buy(self, number: int) -> None:
        """By payment code, or by QR code; every third gives a part back."""
        body: dict[str, Any] = {
            "order_id": f"order-{number}",
            "amount": 1000 + number % 1000,
            "description": "tea",
            "method": {"channel": "alipay", "product": "qr"},
        }
        if number % 2:
            code = self._simulator.book.new_code()
            body["method"] = {"channel": "alipay", "product": "code", "auth_code": code}
        status, payment = await self.ask("/v1/payments", body, f"pay-{number}")
        if status == 409:  # an attempt that a dead server sent may still bring money
            return
        assert status in (200, 201), payment
        await self._scan(payment)
        if number % 3 == 0:
            path = f"/v1/payments/{payment['id']}/refunds"
            status, told = await self.ask(path, {"amount": REFUNDED_MINOR}, f"refund-{number}")
            assert status in (201, 409), told  # 409: not paid yet

    async def _scan(self, payment: dict[str, Any]) -> None:
        for attempt in payment["attempts"]:
            action = attempt["action"] or {}
            if action.get("type") == "qr_code":
                async with self._session.post(f"{action['content']}/approve") as answer:
                    assert answer.status == 200


def settings(home: Path, database_url: str) -> tuple[Config, dict[str, str]]:
    """A configuration, and the environment that gives a process the same one."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    port, seal_key = free_port(), Seal.new_key()
    environment = {
        **kept,
        "QIAO_HOME": str(home),
        "QIAO_DATABASE_URL": database_url,
        "QIAO_SEAL_KEYS": seal_key,
        "QIAO_PORT": str(port),
    }
    return Config(
        home=str(home), database_url=database_url, seal_keys=seal_key, port=port
    ), environment


async def prepare(engine: Engine, simulator: Simulator, shop: Shop | None = None) -> str:
    """A merchant with an account, and an endpoint for the shop; gives the API key."""
    await add_merchant(engine, "Tea house", merchant_id=SCOPE.merchant_id)
    await engine.accounts.put(
        merchant_id=SCOPE.merchant_id,
        account_id="acc_00000000000000000000000000",
        live=False,
        channel="alipay",
        name="alipay",
        settings=simulator.credentials.settings("ordinary", base_url=simulator.base_url),
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


async def check(database: Database, simulator: Simulator, shop: Shop) -> tuple[int, int]:
    """Every fen at the channel is in the books, once, and everything was told. How many payments
    and events there are."""
    payments = await money_is_where_it_belongs(database, simulator)
    assert len(payments) == len({row["order_id"] for row in payments})
    for row in payments:
        assert row["state"] == ("paid" if row["captured_minor"] else "closed")
    paid = sum(row["state"] == "paid" for row in payments)
    assert paid > len(payments) * 0.8
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
