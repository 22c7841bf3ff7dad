"""The primary database dies under load, again and again: nothing acknowledged is lost, and the
service comes back by itself once the standby is promoted.

QIAO_TEST_FAILOVERS says how often (once without it); ``pytest -s`` shows how long each took.
"""

import asyncio
import os
import random
import signal
import socket
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from qiao.bootstrap.config import Config
from qiao.bootstrap.engine import open_engine
from qiao.domain.errors import QiaoError
from qiao.engine.ledger import prove
from qiao.engine.runtime import Engine
from qiao.simulators.alipay import Simulator, new_credentials
from qiao.store.connecting import Connector
from qiao.store.database import open_database
from qiao.store.errors import StoreUnavailable
from qiao.store.migrate import migrate, status
from qiao.testing.servers import Pair, until
from tests.crash.live import (
    QIAO,
    money_is_where_it_belongs,
    nothing_is_sending,
    prepare,
    settings,
    work_until_quiet,
)

FAILOVERS = int(os.environ.get("QIAO_TEST_FAILOVERS", "1"))
CUSTOMERS = 8
PATIENCE_SECONDS = 300
LATER = {"open": ("open", "paid", "closed"), "paid": ("paid",)}
REFUND_LATER = {"requested": 0, "sending": 1, "pending": 2, "unknown": 2, "succeeded": 3}


@dataclass
class Answers:
    """What the service acknowledged, and when it last answered well."""

    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: asyncio.Condition = field(default_factory=asyncio.Condition)
    begun_last: float = 0.0
    turned_away: int = 0

    async def take(self, answer: dict[str, Any], begun: float) -> None:
        (self.payments if answer["object"] == "payment" else self.refunds)[answer["id"]] = answer
        async with self.written:
            self.begun_last = max(begun, self.begun_last)
            self.written.notify_all()

    async def first_begun_after(self, moment: float) -> float:
        """When the first request was answered well that was sent after the moment."""
        async with self.written:
            await self.written.wait_for(lambda: self.begun_last > moment)
            return time.monotonic()


class Customer:
    """Buys and gives back without end; asks again under the same key until it is answered."""

    def __init__(self, number: int, url: str, key: str, bank: Simulator, answers: Answers) -> None:
        self._number, self._url, self._key = number, url, key
        self._bank, self._answers = bank, answers

    async def buy_until(self, stop: asyncio.Event) -> None:
        count = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            while not stop.is_set():
                count += 1
                await self._buy(session, f"{self._number}-{count}", gives_back=count % 3 == 0)

    async def _buy(self, session: aiohttp.ClientSession, name: str, *, gives_back: bool) -> None:
        code = self._bank.book.new_code()
        body: dict[str, Any] = {
            "order_id": f"order-{name}",
            "amount": 1000,
            "description": "tea",
            "method": {"channel": "alipay", "product": "code", "auth_code": code},
        }
        payment = await self._ask(session, "/v1/payments", body, f"pay-{name}")
        if payment and payment["state"] == "paid" and gives_back:
            path = f"/v1/payments/{payment['id']}/refunds"
            await self._ask(session, path, {"amount": 300}, f"refund-{name}")

    async def _ask(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, Any], key: str
    ) -> dict[str, Any] | None:
        headers = {"authorization": f"Bearer {self._key}", "idempotency-key": key}
        while True:
            begun = time.monotonic()
            try:
                async with session.post(self._url + path, json=body, headers=headers) as answer:
                    told: dict[str, Any] = await answer.json()
                    if answer.status < 300:
                        await self._answers.take(told, begun)
                        return told
                    if answer.status < 500:
                        assert answer.status == 409, told  # an attempt whose end is not known
                        return None
                    assert answer.status == 503, told
            except (aiohttp.ClientError, TimeoutError):
                pass
            self._answers.turned_away += 1
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(credentials=new_credentials(), time_scale=60)
    async with simulator.running():
        yield simulator


@dataclass
class Platform:
    """``qiao serve`` and ``qiao worker`` on the pair, and the engine that looks at it."""

    config: Config
    engine: Engine
    key: str
    processes: list[asyncio.subprocess.Process]

    async def end(self) -> None:
        for process in self.processes:
            assert process.returncode is None, "it did not survive the failover"
            process.send_signal(signal.SIGTERM)
        codes = [await process.wait() for process in self.processes]
        self.processes.clear()
        assert codes == [0, 0]


@pytest_asyncio.fixture
async def platform(pair: Pair, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Platform]:
    config, environment = settings(tmp_path, pair.url)
    environment["QIAO_LOG"] = "error"
    async with open_engine(config) as engine:
        key = await prepare(engine, simulator)
        processes = [
            await asyncio.create_subprocess_exec(
                *QIAO, *arguments, env=environment, stdout=asyncio.subprocess.DEVNULL
            )
            for arguments in (("serve", "--no-worker"), ("worker",))
        ]
        try:
            yield Platform(config=config, engine=engine, key=key, processes=processes)
        finally:
            for process in processes:
                process.kill()
                await process.wait()


async def test_the_primary_dies_under_load(
    pair: Pair, platform: Platform, simulator: Simulator
) -> None:
    answers, stop = Answers(), asyncio.Event()
    url = platform.config.base_url
    took: list[float] = []
    async with asyncio.timeout(PATIENCE_SECONDS * FAILOVERS), asyncio.TaskGroup() as group:
        for number in range(CUSTOMERS):
            customer = Customer(number, url, platform.key, simulator, answers)
            group.create_task(customer.buy_until(stop))
        for number in range(FAILOVERS):
            await answers.first_begun_after(time.monotonic())
            await asyncio.sleep(random.uniform(0.5, 2))  # anywhere in the middle of the work
            killed = time.monotonic()
            await asyncio.to_thread(pair.primary.kill)
            serves = group.create_task(answers.first_begun_after(time.monotonic()))
            await asyncio.to_thread(pair.fail_over)
            promoted = time.monotonic()
            took.append(await serves - killed)
            print(
                f"failover {number + 1}: promoted after {promoted - killed:.2f} s,"
                f" serves after {took[-1]:.2f} s; {len(answers.payments)} payments acknowledged"
            )
            await asyncio.to_thread(pair.repair)
        stop.set()
    await nothing_is_sending(platform.engine)
    await platform.end()
    lost = await lost_answers(platform.engine, answers)
    print(
        f"{FAILOVERS} failovers: serves again after {min(took):.2f} (fastest)"
        f" / {statistics.median(took):.2f} (median) / {max(took):.2f} s (slowest);"
        f" {len(answers.payments)} payments and {len(answers.refunds)} refunds acknowledged,"
        f" {answers.turned_away} requests turned away, {len(lost)} answers lost"
    )
    assert lost == []
    assert (await prove(platform.engine.database)).mistakes == []
    await work_until_quiet(platform.engine)
    await money_is_where_it_belongs(platform.engine.database, simulator)


async def lost_answers(engine: Engine, answers: Answers) -> list[str]:
    """Ids of what was acknowledged and is not there, or not as far as was said."""
    payments = {
        row["payment_id"]: row for row in await engine.database.fetch("SELECT * FROM payment")
    }
    refunds = {row["refund_id"]: row for row in await engine.database.fetch("SELECT * FROM refund")}
    lost = []
    for identifier, told in answers.payments.items():
        row = payments.get(identifier)
        if (
            row is None
            or row["state"] not in LATER[told["state"]]
            or row["captured_minor"] < told["captured"]
            or row["refunded_minor"] < told["refunded"]
        ):
            lost.append(identifier)
    for identifier, told in answers.refunds.items():
        row = refunds.get(identifier)
        if row is None or REFUND_LATER[row["state"]] < REFUND_LATER[told["state"]]:
            lost.append(identifier)
    return lost


async def test_what_a_fenced_primary_committed_alone_is_gone_once_it_follows(pair: Pair) -> None:
    """It comes back before anybody stopped it: it acknowledges nothing, and pg_rewind mends it."""
    await migrate(pair.url)
    insert = "INSERT INTO merchant (merchant_id, name) VALUES ('{}', 'Tea house')"
    single = f"postgresql://qiao@127.0.0.1:{pair.primary.port}/qiao"
    pair.primary.kill()
    pair.fail_over()
    old, new = pair.standby, pair.primary
    old.start(waits_for=new.name)  # nobody told it
    async with open_database(single, min_size=1, max_size=1) as stray:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await stray.execute(insert.format("stray"))
    old.kill()
    async with open_database(pair.url) as database:
        await database.execute(insert.format("kept"))
        pair.repair()
        query = "SELECT string_agg(merchant_id, ' ') FROM merchant"
        assert await database.fetch_value(query) == "kept"
    find = ["psql", "-XAtq", "-d", old.address.replace("dbname=postgres", "dbname=qiao"), "-c"]
    until(lambda: old.run(*find, query) == "kept")


async def test_several_hosts_are_searched_for_the_primary(pair: Pair) -> None:
    """Wherever it stands in the list; standbys alone are an outage and no mistake of ours."""
    assert await migrate(pair.url)
    standby, primary = pair.standby.port, pair.primary.port
    for hosts in (f"127.0.0.1:{standby},127.0.0.1:{primary}", f"127.0.0.1:{primary}"):
        url = f"postgresql://qiao@{hosts}/qiao?target_session_attrs=read-write"
        assert (await status(url)).is_current
        async with open_database(url, min_size=1) as database:
            assert await database.fetch_value("SELECT pg_is_in_recovery()") is False
    # A machine that vanishes sends no reset: the kernel has to give it up.
    connection: Any = await Connector(pair.url)()
    connected = connection._transport.get_extra_info("socket")
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8000
    await connection.close()
    url = f"postgresql://qiao@127.0.0.1:{standby}/qiao?target_session_attrs=read-write"
    with pytest.raises(StoreUnavailable, match="TargetServerAttributeNotMatched"):
        async with open_database(url, min_size=1):
            pass


async def test_a_pool_leaves_a_primary_that_was_demoted_under_it(pair: Pair) -> None:
    """It still answers, but takes no writes: one error for all of the pool, then the new one."""
    await migrate(pair.url)
    insert = "INSERT INTO job (merchant_id, kind, subject_id) VALUES ('m', 'k', $1)"
    async with open_database(pair.url, min_size=8, max_size=8) as database:
        old = pair.primary
        # What fencing by hand does: sessions that are there stay, and may only read.
        old.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        old.ask("SELECT pg_reload_conf()")
        pair.standby.promote()
        errors: list[QiaoError] = []

        async def write_until_it_is_taken(name: str) -> None:
            while True:
                try:
                    await database.execute(insert, name)
                except StoreUnavailable as error:
                    errors.append(error)
                else:
                    return

        await write_until_it_is_taken("first")
        for number in range(16):
            await write_until_it_is_taken(f"later-{number}")
        assert len(errors) <= 1
        assert await database.fetch_value("SELECT count(*) FROM job") == 17
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'qiao'"
    assert old.ask(count) == "0"
