"""A running simulated WeChat Pay, and Qiao's own channel and transport to talk to it."""

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from qiao.channels.interface import Channel
from qiao.channels.requests import Context, PaymentRequest, Product
from qiao.channels.wechat import WechatV2Channel, channel_type
from qiao.domain.money import Money
from qiao.simulators.wechat import Credentials, Simulator, new_credentials
from qiao.transport.asynchronous import AsyncTransport
from tests.simulators.wechat.v2_shop import OpenV2, Shop

CREDENTIALS = new_credentials()


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    return Credentials.from_json(CREDENTIALS.to_json())


@pytest_asyncio.fixture
async def simulator(credentials: Credentials) -> AsyncIterator[Simulator]:
    simulator = Simulator(credentials=credentials, time_scale=100)
    async with simulator.running():
        yield simulator


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[AsyncTransport]:
    async with AsyncTransport() as transport:
        yield transport


@pytest_asyncio.fixture
async def http(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.base_url) as session:
        yield session


@pytest.fixture
def context() -> Context:
    return Context(now=lambda: datetime.now(UTC), nonce=lambda: secrets.token_hex(16))


@pytest.fixture
def open_channel(simulator: Simulator) -> Callable[[str], Channel]:
    def open_channel(name: str) -> Channel:
        settings = simulator.credentials.settings(name, base_url=simulator.base_url)
        return channel_type.open(channel_type.settings.read(settings))

    return open_channel


@pytest.fixture
def channel(open_channel: Callable[[str], Channel]) -> Channel:
    return open_channel("ordinary")


@pytest.fixture
def order() -> Callable[..., PaymentRequest]:
    def order(reference: str, minor: int = 1250, **more: Any) -> PaymentRequest:
        asked: dict[str, Any] = {
            "product": Product.QR,
            "description": "Green tea, 250 g",
            "notify_url": "http://127.0.0.1:9/notify",
            "client_ip": "203.0.113.7",
            "expires_at": datetime.now(UTC) + timedelta(minutes=30),
            **more,
        }
        return PaymentRequest(reference=reference, amount=Money(minor, "CNY"), **asked)

    return order


@pytest.fixture
def open_v2(simulator: Simulator) -> OpenV2:
    def open_v2(name: str = "ordinary", **more: object) -> WechatV2Channel:
        given = simulator.credentials.v2_settings(
            name, base_url=simulator.base_url, secure_url=simulator.secure_url
        )
        channel = channel_type.open(channel_type.settings.read({**given, **more}))
        assert isinstance(channel, WechatV2Channel)
        return channel

    return open_v2


@pytest.fixture
def v2(open_v2: OpenV2) -> WechatV2Channel:
    return open_v2()


@pytest_asyncio.fixture
async def shop(v2: WechatV2Channel) -> AsyncIterator[Shop]:
    shop = Shop(v2)
    application = web.Application()
    application.router.add_post("/", shop.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield shop
    await runner.cleanup()
