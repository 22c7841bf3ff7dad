"""A merchant on WeChat Pay's API v2, through the public doors, with server and worker running."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio

from qiao.bootstrap.serving import listen, serving, working
from qiao.crypto.sealing import Seal
from qiao.engine.accounts import Accounts, installed_channels
from qiao.engine.merchants import add_merchant, issue_api_key
from qiao.engine.runtime import Engine, Scope
from qiao.simulators.wechat import Simulator, new_credentials
from qiao.store.database import Database
from qiao.transport.asynchronous import AsyncTransport

SCOPE = Scope(merchant_id="mer_00000000000000000000000000", live=False)
ACCOUNT_ID = "acc_00000000000000000000000000"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A client of the platform, and the customer's wallet."""

    api: httpx.AsyncClient
    simulator: Simulator

    async def until(self, path: str, **wanted: object) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                shown: dict[str, Any] = (await self.api.get(path)).json()
                if {name: shown[name] for name in wanted} == wanted:
                    return shown
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    simulator, listener = Simulator(credentials=new_credentials()), listen("127.0.0.1", 0)
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
            channel="wechat",
            name="still on API v2",
            settings=simulator.credentials.v2_settings(
                "ordinary", base_url=simulator.base_url, secure_url=simulator.secure_url
            ),
        )
        key = await issue_api_key(engine, SCOPE)
        async with (
            serving(engine, listener),
            working(engine),
            httpx.AsyncClient(
                base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False
            ) as api,
        ):
            yield Shop(api=api, simulator=simulator)


async def test_a_payment_from_order_to_refund(shop: Shop) -> None:
    order = {"order_id": "a-1", "amount": 1250, "description": "绿茶"}
    method = {"channel": "wechat", "product": "qr"}
    made = (await shop.api.post("/v1/payments", json={**order, "method": method})).json()
    path, (tried,) = f"/v1/payments/{made['id']}", made["attempts"]
    assert (tried["state"], tried["action"]["type"]) == ("pending", "qr_code")
    async with httpx.AsyncClient(trust_env=False) as wallet:
        scanned = await wallet.post(f"{tried['action']['content']}/approve")
    assert "支付成功" in scanned.text
    await shop.until(path, state="paid", captured=1250)
    async with asyncio.timeout(20):  # and WeChat Pay is content with our answer
        while not all(one.accepted for one in shop.simulator.notifier.deliveries):
            await asyncio.sleep(0.05)
    assert [one.answers for one in shop.simulator.notifier.deliveries] == [["200"]]

    back = (await shop.api.post(f"{path}/refunds", json={"amount": 250})).json()
    await shop.until(f"/v1/refunds/{back['id']}", state="succeeded", amount=250)
    assert (await shop.api.get(path)).json()["refunded"] == 250
    (settled,) = shop.simulator.book.orders.values()
    assert settled.refunded == 250


async def test_a_scanned_code_and_a_forged_notification(shop: Shop) -> None:
    code = {"channel": "wechat", "product": "code", "auth_code": shop.simulator.book.new_code()}
    order = {"order_id": "a-1", "amount": 1250, "description": "绿茶", "method": code}
    made = (await shop.api.post("/v1/payments", json=order)).json()
    assert (made["state"], made["attempts"][0]["state"]) == ("paid", "succeeded")
    forged = await shop.api.post(
        f"/notify/{SCOPE.merchant_id}/{ACCOUNT_ID}",
        content=b"<xml><return_code>SUCCESS</return_code></xml>",
    )
    assert b"<return_code><![CDATA[FAIL]]></return_code>" in forged.content
