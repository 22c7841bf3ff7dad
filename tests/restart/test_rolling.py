"""Generations of server and worker under load: no request fails, no job is lost or doubled."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from qiao.bootstrap.config import Config
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import inherited, listen
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Scope
from qiao.engine.webhooks import add_endpoint

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
GENERATIONS = 3
BUYERS = 6
BETWEEN = 25
"""Requests that are answered between two steps."""


class Shop:
    """Counts how often each event arrives, after a moment's thought."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        self.events[request.headers["webhook-id"]] += 1
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


class Load:
    """Buyers who order without a pause: some keep their connection, some make one for each."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._headers = url, {"authorization": f"Bearer {key}"}
        self.answered = 0
        self.failures: list[str] = []
        self._stop = False

    async def buy(self, buyer: int) -> None:
        number = 0
        async with self._client() as kept:
            while not self._stop:
                number += 1
                if buyer % 2:
                    await self._order(kept, f"{buyer}-{number}")
                else:
                    async with self._client() as fresh:
                        await self._order(fresh, f"{buyer}-{number}")

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url, headers=self._headers, trust_env=False, timeout=60
        )

    async def _order(self, client: httpx.AsyncClient, order_id: str) -> None:
        body = {"order_id": order_id, "amount": 100, "description": "tea"}
        try:
            answer = await client.post("/v1/payments", json=body)
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        if answer.status_code == 201:
            self.answered += 1
        else:
            self.failures.append(answer.text)

    def stop(self) -> None:
        self._stop = True

    async def go_on(self) -> None:
        """Until some more were answered."""
        enough = self.answered + BETWEEN
        await until(lambda: self.answered > enough)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


async def start(
    *arguments: str, environment: dict[str, str], pass_fds: tuple[int, ...] = ()
) -> asyncio.subprocess.Process:
    """Once it says that it serves or works."""
    process = await asyncio.create_subprocess_exec(
        *QIAO, *arguments, env=environment, pass_fds=pass_fds, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60)
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_no_request_fails_and_no_job_is_lost_or_doubled(
    tmp_path: Path, postgres_url: str, shop: Shop
) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    seal_key = Seal.new_key()
    environment = {
        **kept,
        "QIAO_HOME": str(tmp_path),
        "QIAO_DATABASE_URL": postgres_url,
        "QIAO_SEAL_KEYS": seal_key,
    }
    config = Config(home=str(tmp_path), database_url=postgres_url, seal_keys=seal_key)
    async with open_engine(config, max_connections=4) as engine:
        await add_merchant(engine, "Tea house", merchant_id=SCOPE.merchant_id)
        await add_endpoint(engine, SCOPE, shop.url)
        key = await issue_api_key(engine, SCOPE)
        with listen("127.0.0.1", 0) as listener:
            descriptor = listener.fileno()
            arguments = ("serve", "--no-worker", "--json", "--fd", str(descriptor))
            handed = (descriptor,)
            server = await start(*arguments, environment=environment, pass_fds=handed)
            worker = await start("worker", environment=environment)
            load = Load(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
            buyers = [asyncio.ensure_future(load.buy(number)) for number in range(BUYERS)]
            for _ in range(GENERATIONS - 1):
                await load.go_on()
                new_server = await start(*arguments, environment=environment, pass_fds=handed)
                new_worker = await start("worker", environment=environment)
                await asyncio.gather(end(server), end(worker))
                server, worker = new_server, new_worker
            await load.go_on()
            load.stop()
            await asyncio.gather(*buyers)
            assert load.failures == []
            await until(lambda: len(shop.events) == load.answered)
            await asyncio.gather(end(server), end(worker))
        assert set(shop.events.values()) == {1}
        assert await engine.database.fetch_value("SELECT count(*) FROM payment") == load.answered
        left = await engine.database.fetch_value(
            "SELECT count(*) FROM job WHERE kind = 'deliver_webhook' OR leased_until IS NOT NULL"
        )
        assert left == 0


def test_several_may_listen_on_a_port_only_when_all_say_so() -> None:
    with listen("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        listen("127.0.0.1", port, reuse_port=True).close()
        with pytest.raises(InvalidInput):
            listen("127.0.0.1", port)


def test_only_a_listening_socket_is_taken_over() -> None:
    with socket.socket() as other, pytest.raises(InvalidInput) as refused:
        inherited(other.fileno())
    assert refused.value.field == "fd"
    with pytest.raises(InvalidInput):
        inherited(987_654)
