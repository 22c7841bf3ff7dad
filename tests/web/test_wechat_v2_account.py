"""A merchant on WeChat Pay's API v2, through the public doors, with server and worker running."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest_asyncio

from qiao.simulators.wechat import Simulator
from qiao.store.database import Database
from tests.web.live import ACCOUNT_ID, SCOPE, Live, live


@dataclass(frozen=True, kw_only=True)
class Shop(Live):
    """A client of the platform, and the customer's wallet."""

    simulator: Simulator


def on_v2(simulator: Simulator) -> Mapping[str, object]:
    """The ordinary merchant's settings, of one who is still on API v2."""
    return simulator.credentials.v2_settings(
        "ordinary", base_url=simulator.base_url, secure_url=simulator.secure_url
    )


@pytest_asyncio.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    async with live(Shop, database, "wechat", on_v2) as made:
        yield made


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
