"""Simulators to judge, and the programs that talk to them with other people's SDKs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio

from qiao.channels.requests import Context
from qiao.simulators import alipay, wechat
from qiao.transport.asynchronous import AsyncTransport
from tests.interop.harness import OpenSdk, Sdk, Shop, running, shop

TIME_SCALE = 100.0


@pytest.fixture(scope="session")
def alipay_credentials() -> alipay.Credentials:
    return alipay.new_credentials()


@pytest.fixture(scope="session")
def wechat_credentials() -> wechat.Credentials:
    return wechat.new_credentials()


@pytest_asyncio.fixture
async def open_sdk() -> AsyncIterator[OpenSdk]:
    """Starts programs, and ends them with the test."""
    async with AsyncExitStack() as stack:

        async def start(program: str) -> Sdk:
            return await stack.enter_async_context(running(program))

        yield start


@pytest_asyncio.fixture
async def alipay_simulator(
    alipay_credentials: alipay.Credentials,
) -> AsyncIterator[alipay.Simulator]:
    simulator = alipay.Simulator(credentials=alipay_credentials, time_scale=TIME_SCALE)
    async with simulator.running():
        yield simulator


@pytest_asyncio.fixture
async def alipay_http(alipay_simulator: alipay.Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(alipay_simulator.base_url) as session:
        yield session


@pytest_asyncio.fixture
async def alipay_shop() -> AsyncIterator[Shop]:
    async with shop(b"success") as opened:
        yield opened


@pytest_asyncio.fixture
async def wechat_simulator(
    wechat_credentials: wechat.Credentials,
) -> AsyncIterator[wechat.Simulator]:
    simulator = wechat.Simulator(credentials=wechat_credentials, time_scale=TIME_SCALE)
    async with simulator.running():
        yield simulator


@pytest_asyncio.fixture
async def wechat_http(wechat_simulator: wechat.Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(wechat_simulator.base_url) as session:
        yield session


@pytest_asyncio.fixture
async def wechat_shop() -> AsyncIterator[Shop]:
    async with shop(b"") as opened:
        yield opened


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[AsyncTransport]:
    async with AsyncTransport() as transport:
        yield transport


@pytest.fixture
def context() -> Context:
    """A moment and a nonce that stand still, so that two signers must agree."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Context(now=lambda: now, nonce=lambda: "5a" * 16)
