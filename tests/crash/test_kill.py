"""``kill -9`` of server and worker at random moments while 200 payments run: nothing is lost,
nothing happens twice, and every webhook arrives.
"""

import asyncio
import itertools
import os
import random
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from qiao.bootstrap.config import Config
from qiao.bootstrap.engine import open_engine
from qiao.crypto.sealing import Seal
from qiao.engine.jobs import handlers
from qiao.engine.ledger import prove
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.engine.webhooks import add_endpoint
from qiao.simulators.alipay import Simulator, new_credentials
from qiao.simulators.alipay.book import State
from qiao.store.outbox import Worker
from qiao.testing.world import Clock

PAYMENTS = 200
"""At least so many; more, for as long as the killing goes on."""
AT_ONCE = 16
KILLS = int(os.environ.get("QIAO_TEST_KILLS", "8"))
SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
LEFT = "SELECT count(*) FROM job WHERE merchant_id <> 'server'"
"""The server's own come again for ever."""


class Process:
    """A server or worker that is killed and started again."""

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


class Shop:
    """Receives webhooks."""

    def __init__(self) -> None:
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.bodies[request.headers["webhook-id"]].add(await request.read())
        return web.Response(status=204)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    application = web.Application()
    application.router.add_post("/", shop.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield shop
    await runner.cleanup()


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(credentials=new_credentials(), time_scale=60)
    async with simulator.running():
        yield simulator


class Customer:
    """Sends requests again until they are answered, under the same key."""

    def __init__(self, url: str, key: str, simulator: Simulator) -> None:
        self._url, self._key, self._simulator = url, key, simulator

    async def ask(self, path: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self._key}", "idempotency-key": key}
        while True:
            try:
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(self._url + path, json=body, headers=headers) as answer,
                ):
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
            status, told = await self.ask(path, {"amount": 300}, f"refund-{number}")
            assert status in (201, 409), told  # 409: not paid yet

    async def _scan(self, payment: dict[str, Any]) -> None:
        for attempt in payment["attempts"]:
            action = attempt["action"] or {}
            if action.get("type") == "qr_code":
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(f"{action['content']}/approve") as answer,
                ):
                    assert answer.status == 200


@pytest.mark.parametrize("seed", [20261124])
async def test_nothing_is_lost_and_nothing_doubled(
    seed: int, tmp_path: Path, postgres_url: str, simulator: Simulator, shop: Shop
) -> None:
    chance = random.Random(seed)
    port = _free_port()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    seal_key = Seal.new_key()
    environment = {
        **kept,
        "QIAO_HOME": str(tmp_path),
        "QIAO_DATABASE_URL": postgres_url,
        "QIAO_SEAL_KEYS": seal_key,
        "QIAO_PORT": str(port),
    }
    config = Config(home=str(tmp_path), database_url=postgres_url, seal_keys=seal_key, port=port)
    async with open_engine(config) as engine:
        key = await _prepare(engine, simulator, shop)
        server = Process("serve", "--no-worker", environment=environment)
        worker = Process("worker", environment=environment)
        await server.start()
        await worker.start()
        customer = Customer(config.base_url, key, simulator)
        killing = asyncio.create_task(_kill(chance, server, worker))
        numbers = itertools.count()

        async def go_on_buying() -> None:
            for number in numbers:
                if number >= PAYMENTS and killing.done():
                    return
                await customer.buy(number)

        await asyncio.gather(*(go_on_buying() for _ in range(AT_ONCE)))
        await killing
        await _nothing_is_sending(engine)
        await server.kill()
        await worker.kill()
        await _work_until_quiet(engine)
        await _check(engine, simulator, shop)


async def _prepare(engine: Engine, simulator: Simulator, shop: Shop) -> str:
    await add_merchant(engine, "Tea house", merchant_id=SCOPE.merchant_id)
    await engine.accounts.put(
        merchant_id=SCOPE.merchant_id,
        account_id="acc_00000000000000000000000000",
        live=False,
        channel="alipay",
        name="alipay",
        settings=simulator.credentials.settings("ordinary", base_url=simulator.base_url),
    )
    await add_endpoint(engine, SCOPE, shop.url)
    return await issue_api_key(engine, SCOPE)


async def _kill(chance: random.Random, server: Process, worker: Process) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.4, 2.5))
        victim = chance.choice([server, worker])
        await victim.kill()
        await victim.start()


async def _nothing_is_sending(engine: Engine) -> None:
    """Until the worker has taken up what the dead had begun."""
    async with asyncio.timeout(120):
        while await engine.database.fetch_value(
            "SELECT EXISTS (SELECT FROM attempt WHERE state = 'sending')"
            " OR EXISTS (SELECT FROM refund WHERE state IN ('requested', 'sending'))"
        ):
            await asyncio.sleep(0.2)


async def _work_until_quiet(engine: Engine) -> None:
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


async def _check(engine: Engine, simulator: Simulator, shop: Shop) -> None:
    payments = await engine.database.fetch("SELECT * FROM payment")
    assert len(payments) == len({row["order_id"] for row in payments}) >= PAYMENTS
    attempts = await engine.database.fetch("SELECT * FROM attempt")
    known = {row["reference"]: row for row in attempts}
    kept = dict.fromkeys((row["payment_id"] for row in payments), 0)
    for trade in simulator.book.trades.values():
        attempt = known[trade.out_trade_no]
        if trade.state in (State.SUCCESS, State.CLOSED) and trade.paid_at:
            kept[attempt["payment_id"]] += trade.fen - trade.refunded
    for row in payments:
        assert kept[row["payment_id"]] == row["captured_minor"] - row["refunded_minor"]
        assert row["state"] == ("paid" if row["captured_minor"] else "closed")
    assert sum(row["state"] == "paid" for row in payments) > len(payments) * 0.8
    paid_events = await engine.database.fetch(
        "SELECT payment_id FROM event WHERE type = 'payment.paid'"
    )
    assert len(paid_events) == sum(row["state"] == "paid" for row in payments)
    events = {row["event_id"] for row in await engine.database.fetch("SELECT event_id FROM event")}
    assert set(shop.bodies) == events
    assert all(len(bodies) == 1 for bodies in shop.bodies.values())
    assert not (await prove(engine.database)).mistakes
    print(f"{KILLS} kills, {len(payments)} payments, {len(events)} events: nothing lost or doubled")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
