"""Start everything that the demonstration needs, and stop it in the right order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from qiao.bootstrap.config import Config
from qiao.bootstrap.engine import open_engine
from qiao.bootstrap.serving import listen, serving, working
from qiao.demo.shop import Shop
from qiao.domain.errors import InvalidInput
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.engine.webhooks import add_endpoint, endpoints, remove_endpoint
from qiao.simulators import alipay, wechat
from qiao.simulators.sandbox import HOST, open_alipay, open_wechat, simulate

MERCHANT: Final = "mer_00000000000000000000000000"
ALIPAY_ACCOUNT: Final = "acc_00000000000000000000000000"
WECHAT_ACCOUNT: Final = "acc_00000000000000000000000001"
API_KEY: Final = "sk_test_demo_only_never_for_real_money"
PLATFORM_PORT, SHOP_PORT = 8080, 8081


@dataclass(frozen=True, kw_only=True)
class World:
    """What runs."""

    engine: Engine
    url: str
    shop: Shop
    alipay: alipay.Simulator
    wechat: wechat.Simulator
    home: str


@asynccontextmanager
async def running(given: Config, tell: Callable[[str], None]) -> AsyncIterator[World]:
    """The platform with its worker, simulated Alipay and WeChat Pay, and the shop.

    They keep apart from everything else, in ``demo`` under the configured home.
    """
    home, listener = Path(given.home) / "demo", _listen(PLATFORM_PORT)
    config = Config(
        home=str(home),
        database_url=given.database_url,
        host=HOST,
        port=listener.getsockname()[1],
    )
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(config))
        folder = home / "sandbox"
        first, second = open_alipay(folder), open_wechat(folder)
        await stack.enter_async_context(simulate(folder, "alipay", first))
        await stack.enter_async_context(simulate(folder, "wechat", second))
        await _prepare(engine, first, second)
        url = await stack.enter_async_context(serving(engine, listener))
        shop = Shop(api_url=url, api_key=API_KEY, tell=tell)
        await stack.enter_async_context(_serve_shop(shop))
        await _subscribe(engine, shop)
        await stack.enter_async_context(working(engine))
        yield World(engine=engine, url=url, shop=shop, alipay=first, wechat=second, home=str(home))


def _listen(port: int) -> socket.socket:
    try:
        return listen(HOST, port)
    except InvalidInput:
        return listen(HOST, 0)


async def _prepare(engine: Engine, first: alipay.Simulator, second: wechat.Simulator) -> None:
    scope = Scope(merchant_id=MERCHANT, live=False)
    await add_merchant(engine, "茶馆 Tea House", merchant_id=MERCHANT)
    await issue_api_key(engine, scope, key=API_KEY)
    accounts: dict[str, tuple[str, Mapping[str, object]]] = {
        "alipay": (ALIPAY_ACCOUNT, first.credentials.settings("ordinary", base_url=first.base_url)),
        "wechat": (
            WECHAT_ACCOUNT,
            second.credentials.settings("ordinary", base_url=second.base_url),
        ),
    }
    for priority, (channel, (account_id, settings)) in enumerate(accounts.items()):
        await engine.accounts.put(
            merchant_id=MERCHANT,
            account_id=account_id,
            live=False,
            channel=channel,
            name=f"simulated {channel}",
            settings=settings,
            priority=priority,
        )


async def _subscribe(engine: Engine, shop: Shop) -> None:
    """The shop's webhook, and no longer the one of the last start."""
    scope = Scope(merchant_id=MERCHANT, live=False)
    for old in await endpoints(engine, scope):
        await remove_endpoint(engine, scope, old.endpoint_id)
    _, shop.webhook_secret = await add_endpoint(engine, scope, f"{shop.url}/webhook")


@asynccontextmanager
async def _serve_shop(shop: Shop) -> AsyncIterator[None]:
    runner = web.AppRunner(shop.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, _listen(SHOP_PORT)).start()
        shop.url = f"http://{HOST}:{runner.addresses[0][1]}"
        yield
    finally:
        await asyncio.shield(runner.cleanup())
