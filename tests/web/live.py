"""An engine over one simulated channel, with server and worker running, and a client of its API."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from qiao.bootstrap.serving import listen, serving, working
from qiao.crypto.sealing import Seal
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.simulators import alipay, wechat
from qiao.store.database import Database
from qiao.transport.asynchronous import AsyncTransport

SCOPE: Final = Scope(merchant_id="mer_00000000000000000000000000", live=False)
ACCOUNT_ID: Final = "acc_00000000000000000000000000"
SIMULATORS: Final = {"alipay": alipay, "wechat": wechat}
Kind = TypeVar("Kind", bound="Live")
Settings = Callable[[Any], Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Live:
    """``api`` speaks with the merchant's key; ``wallet`` is a customer at the simulator."""

    api: httpx.AsyncClient
    wallet: httpx.AsyncClient
    simulator: Any
    channel: str
    engine: Engine

    async def until(self, path: str, **wanted: object) -> dict[str, Any]:
        """What is shown there, as soon as it holds all that is wanted."""
        async with asyncio.timeout(30):
            while True:
                shown: dict[str, Any] = (await self.api.get(path)).json()
                if {name: shown.get(name) for name in wanted} == wanted:
                    return shown
                await asyncio.sleep(0.05)


def ordinary(simulator: Any) -> Mapping[str, object]:
    """The settings of the simulator's ordinary merchant."""
    settings: Mapping[str, object] = simulator.credentials.settings(
        "ordinary", base_url=simulator.base_url
    )
    return settings


@asynccontextmanager
async def live(
    kind: type[Kind], database: Database, channel: str, settings: Settings = ordinary
) -> AsyncIterator[Kind]:
    """A merchant with one account at the channel's simulator."""
    of = SIMULATORS[channel]
    simulator, listener = of.Simulator(credentials=of.new_credentials()), listen("127.0.0.1", 0)
    url, seal = f"http://127.0.0.1:{listener.getsockname()[1]}", Seal([Seal.new_key()])
    async with simulator.running(), AsyncTransport() as transport:
        engine = Engine(
            database=database,
            transport=transport,
            accounts=Accounts(database=database, seal=seal, channels=installed_channels()),
            seal=seal,
            public_url=url,
        )
        await add_merchant(engine, "Tea house", merchant_id=SCOPE.merchant_id)
        await engine.accounts.put(
            merchant_id=SCOPE.merchant_id,
            account_id=ACCOUNT_ID,
            live=False,
            channel=channel,
            name=channel,
            settings=settings(simulator),
        )
        headers = {"authorization": f"Bearer {await issue_api_key(engine, SCOPE)}"}
        async with (
            serving(engine, listener),
            working(engine),
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as api,
            httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as wallet,
        ):
            yield kind(api=api, wallet=wallet, simulator=simulator, channel=channel, engine=engine)
