"""Disputes over HTTP: at the bank in memory, and end to end at both simulated wallets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from yarl import URL

from qiao.engine.dispute_watch import watch_account
from qiao.engine.key_policy import KeyPolicy
from qiao.engine.ledger import prove
from qiao.engine.merchants import issue_api_key
from qiao.engine.notifications import receive
from qiao.store.database import Database
from qiao.testing.world import World
from tests.web.live import ACCOUNT_ID, SCOPE, Live, live

TEXT, PHONE = "茶叶受潮了", "13912345678"


async def dispute(world: World, number: str, **changes: Any) -> None:
    notice = world.bank.dispute(number, **changes)
    await receive(world.engine, world.scope.merchant_id, world.account_id, notice)
    await world.work()


async def test_a_complaint_is_answered(world: World, api: httpx.AsyncClient) -> None:
    await dispute(world, "d-1", amount=1000)
    [listed] = (await api.get("/v1/disputes", params={"state": "needs_response"})).json()["data"]
    assert (listed["number"], listed["object"], "text" in listed) == ("d-1", "dispute", False)
    path = f"/v1/disputes/{listed['id']}"
    shown = (await api.get(path)).json()
    assert shown == {**listed, "text": "broken", "phone": "13800138000"}
    replied = await api.post(f"{path}/reply", json={"text": "sorry"})
    assert (replied.status_code, replied.json()["state"]) == (200, "under_review")
    assert (await api.post(f"{path}/finish", json={"text": "done"})).json()["state"] == "closed"
    assert world.bank.answers == [("d-1", "sorry"), ("d-1", "done")]
    refused = await api.post(f"{path}/reply", json={"text": "sorry"})
    assert (refused.status_code, refused.json()["code"]) == (409, "dispute_answer_refused")
    events = (await api.get("/v1/events")).json()["data"]
    assert [one["type"] for one in events if one["type"].startswith("dispute.")]
    assert "broken" not in str(events)


async def test_what_is_refused(
    world: World, api: httpx.AsyncClient, live_api: httpx.AsyncClient
) -> None:
    await dispute(world, "d-1")
    [listed] = (await api.get("/v1/disputes")).json()["data"]
    path = f"/v1/disputes/{listed['id']}"
    assert (await live_api.get("/v1/disputes")).json()["data"] == []
    assert (await live_api.get(path)).status_code == 404
    assert (await live_api.post(f"{path}/reply", json={"text": "sorry"})).status_code == 404
    for body in ({}, {"text": ""}, {"text": "a" * 201}, {"text": "a", "more": 1}):
        assert (await api.post(f"{path}/reply", json=body)).status_code == 400, body
    assert (await api.get("/v1/disputes", params={"before": "pay_1"})).status_code == 400
    assert world.bank.answers == []


async def test_a_scope_of_its_own(world: World, base_url: str) -> None:
    policy = KeyPolicy.read(scopes=["payments:read", "refunds:write"])
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    headers = {"authorization": f"Bearer {key}"}
    one = "/v1/disputes/dsp_01000000000000000000000000"
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as reader:
        assert (await reader.get("/v1/disputes")).status_code == 200
        asked = [await reader.get(one)]
        asked += [await reader.post(f"{one}/{verb}", json={}) for verb in ("reply", "finish")]
        for refused in asked:
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


@dataclass(frozen=True, kw_only=True)
class Shop(Live):
    """A client of the platform, and a customer who pays and complains."""

    async def disputed(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                found: list[dict[str, Any]] = (await self.api.get("/v1/disputes")).json()["data"]
                if found:
                    return found[0]
                await asyncio.sleep(0.05)

    async def complained(self, *, told: bool) -> str:
        """The payment's id. ``told``: the merchant has registered for notifications."""
        order = {
            "order_id": "o-1",
            "amount": 1000,
            "description": "tea",
            "method": {"channel": self.channel, "product": "qr"},
        }
        payment = (await self.api.post("/v1/payments", json=order)).json()
        [attempt] = payment["attempts"]
        wallet = URL(attempt["action"]["content"]).path
        complain = f"/_control/payments/{attempt['reference']}/complain"
        assert (await self.wallet.post(complain)).status_code == 409  # nothing is paid
        await self.wallet.get(wallet)
        await self.wallet.post(f"{wallet}/approve")
        await self.until(f"/v1/payments/{payment['id']}", state="paid")
        made = await self.wallet.post(complain, json={"text": TEXT, "phone": PHONE, "told": told})
        made.raise_for_status()
        return str(payment["id"])


@pytest_asyncio.fixture(params=["alipay", "wechat"])
async def shop(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Shop]:
    async with live(Shop, database, request.param) as made:
        yield made


async def test_from_the_complaint_to_its_end(shop: Shop, database: Database) -> None:
    payment_id = await shop.complained(told=True)
    listed = await shop.disputed()
    assert (listed["payment_id"], listed["state"]) == (payment_id, "needs_response")
    assert (listed["due_by"] is not None) == (shop.channel == "wechat")
    path = f"/v1/disputes/{listed['id']}"
    shown = (await shop.api.get(path)).json()
    assert (shown["text"], shown["phone"]) == (TEXT, PHONE)
    replied = await shop.api.post(f"{path}/reply", json={"text": "抱歉，马上补寄"})
    assert replied.status_code == 200, replied.text
    finished = await shop.api.post(f"{path}/finish", json={"text": "已补寄"})
    assert finished.status_code == 200, finished.text
    assert finished.json()["state"] in ("closed", "under_review")
    events = str((await shop.api.get("/v1/events", params={"limit": 100})).json())
    assert TEXT not in events
    assert PHONE not in events
    assert not (await prove(database)).mistakes


async def test_a_complaint_that_no_notification_told(shop: Shop) -> None:
    payment_id = await shop.complained(told=False)
    assert (await shop.api.get("/v1/disputes")).json()["data"] == []
    account = await shop.engine.accounts.of_id(SCOPE.merchant_id, ACCOUNT_ID)
    await watch_account(shop.engine, account)
    assert (await shop.disputed())["payment_id"] == payment_id
