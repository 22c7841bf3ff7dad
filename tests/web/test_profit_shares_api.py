"""Profit sharing over HTTP: by the bank in memory, and end to end at both simulated wallets."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from yarl import URL

from qiao.engine.key_policy import KeyPolicy
from qiao.engine.ledger import prove
from qiao.engine.merchants import issue_api_key
from qiao.store.database import Database
from qiao.testing.vault import REFUSED_PAYEE
from qiao.testing.world import World
from tests.web.live import Live, live

METHOD = {"channel": "bank", "product": "code", "auth_code": "284561"}
ORDER = {
    "order_id": "o-1",
    "amount": 1000,
    "description": "tea",
    "profit_sharing": True,
    "method": METHOD,
}


async def receiver(api: httpx.AsyncClient, number: str, **more: object) -> str:
    body = {"number": number, "channel": "bank", "receiver_type": "person", "receiver": number}
    answer = await api.post("/v1/profit-shares/receivers", json={**body, **more})
    assert (answer.status_code, answer.json()["state"]) == (201, "bound")
    return str(answer.json()["id"])


async def test_a_payment_is_divided_and_comes_back(api: httpx.AsyncClient) -> None:
    anna, nobody = await receiver(api, "anna", name="Anna"), await receiver(api, REFUSED_PAYEE)
    paid = (await api.post("/v1/payments", json=ORDER)).json()
    assert (paid["state"], paid["profit_sharing"]) == ("paid", True)
    path = f"/v1/payments/{paid['id']}/profit-shares"
    shares = [
        {"receiver_id": anna, "amount": 300, "description": "commission"},
        {"receiver_id": nobody, "amount": 200, "description": "commission"},
    ]
    key = {"Idempotency-Key": "s-1"}
    answer = await api.post(path, json={"shares": shares}, headers=key)
    made = answer.json()
    assert (answer.status_code, made["state"], made["arrived"]) == (201, "partly", 300)
    assert [one["state"] for one in made["shares"]] == ["succeeded", "failed"]
    assert (await api.post(path, json={"shares": shares}, headers=key)).json()["id"] == made["id"]
    one = f"/v1/profit-shares/{made['id']}"
    assert (await api.get(one)).json() == made
    listed = (await api.get("/v1/profit-shares", params={"payment_id": paid["id"]})).json()
    assert [shown["id"] for shown in listed["data"]] == [made["id"]]
    refused = await api.post(f"/v1/payments/{paid['id']}/refunds", json={"amount": 1000})
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_shared")
    given = (await api.post(f"{one}/returns", json={"line": 1})).json()
    assert (given["state"], given["amount"]) == ("succeeded", 300)
    assert (await api.get(f"/v1/profit-shares/returns/{given['id']}")).json() == given
    assert (await api.get(one)).json()["returns"] == [given]
    rest = (await api.post(f"{path}/release")).json()
    assert (rest["state"], rest["amount"], rest["shares"]) == ("succeeded", 0, [])
    late = await api.post(path, json={"shares": shares[:1]})
    assert (late.status_code, late.json()["code"]) == (409, "payment_shares_finished")
    whole = await api.post(f"/v1/payments/{paid['id']}/refunds", json={})
    assert whole.json()["amount"] == 1000
    events = (await api.get("/v1/events", params={"payment_id": paid["id"]})).json()["data"]
    assert [told["type"] for told in reversed(events)] == [
        "payment.created",
        "payment.paid",
        "profit_share.created",
        "profit_share.partly",
        "profit_share.return_created",
        "profit_share.return_succeeded",
        "profit_share.created",
        "profit_share.succeeded",
        "refund.created",
        "refund.succeeded",
    ]
    told = next(told for told in events if told["type"] == "profit_share.partly")["data"]
    times = ("shared_at", "created_at", "returns")
    assert {name: value for name, value in made.items() if name not in times} == {
        name: value for name, value in told.items() if name not in times
    }


async def test_receivers(api: httpx.AsyncClient, live_api: httpx.AsyncClient) -> None:
    anna = await receiver(api, "anna", name="Anna")
    path = f"/v1/profit-shares/receivers/{anna}"
    shown = (await api.get(path)).json()
    assert (shown["receiver"], shown["name"]) == ("anna", "Anna")
    [listed] = (await api.get("/v1/profit-shares/receivers")).json()["data"]
    assert (listed["id"], listed["receiver"], listed["name"]) == (anna, None, None)
    body = {"number": "anna", "channel": "bank", "receiver_type": "person", "receiver": "anna"}
    again = await api.post("/v1/profit-shares/receivers", json={**body, "name": "Anna"})
    assert (again.status_code, again.json()["id"]) == (200, anna)
    assert (await api.post("/v1/profit-shares/receivers", json=body)).status_code == 409
    assert (await api.post(f"{path}/unbind")).json()["state"] == "unbound"
    assert (await live_api.get(path)).status_code == 404


async def test_a_scope_of_its_own(world: World, base_url: str) -> None:
    policy = KeyPolicy.read(scopes=["payments:read", "refunds:write"])
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as reader:
        assert (await reader.get("/v1/profit-shares")).status_code == 200
        for path in ("receivers", "shr_01000000000000000000000000/returns"):
            refused = await reader.post(f"/v1/profit-shares/{path}", json={})
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


RECEIVERS = {
    "alipay": [
        {"receiver_type": "userId", "receiver": "2088102146225136"},
        {"receiver_type": "loginName", "receiver": "anna@example.com"},
    ],
    "wechat": [
        {"receiver_type": "MERCHANT_ID", "receiver": "1900000109", "relation": "PARTNER"},
        {"receiver_type": "MERCHANT_ID", "receiver": "1900000110", "relation": "STORE"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Shop(Live):
    """A client of the platform, and the customer's wallet."""

    async def paid(self, amount: int) -> str:
        method = {"channel": self.channel, "product": "qr"}
        order = {**ORDER, "amount": amount, "method": method}
        payment = (await self.api.post("/v1/payments", json=order)).json()
        wallet = URL(payment["attempts"][0]["action"]["content"]).path
        await self.wallet.get(wallet)
        await self.wallet.post(f"{wallet}/approve")
        path = f"/v1/payments/{payment['id']}"
        await self.until(path, state="paid")
        return path

    async def fault(self, **fault: object) -> None:
        (await self.wallet.post("/_control/faults", json=fault)).raise_for_status()


@pytest_asyncio.fixture(params=["alipay", "wechat"])
async def shop(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Shop]:
    async with live(Shop, database, request.param) as made:
        yield made


async def test_from_the_wallet_to_the_receivers_and_back(shop: Shop, database: Database) -> None:
    """The second receiver's account is restricted; the first answer is lost."""
    ids = []
    for number, given in enumerate(RECEIVERS[shop.channel]):
        body = {"number": f"r-{number}", "channel": shop.channel, "name": "茶园", **given}
        bound = (await shop.api.post("/v1/profit-shares/receivers", json=body)).json()
        assert bound["state"] == "bound", bound
        ids.append(bound["id"])
    path = await shop.paid(100_000)
    shares = [
        {"receiver_id": receiver_id, "amount": amount, "description": "commission"}
        for receiver_id, amount in zip(ids, (10_000, 40_002), strict=True)
    ]
    made = (await shop.api.post(f"{path}/profit-shares", json={"shares": shares})).json()
    assert made["state"] == "pending"
    one = f"/v1/profit-shares/{made['id']}"
    done = await shop.until(one, state="partly", arrived=10_000)
    assert [part["state"] for part in done["shares"]] == ["succeeded", "failed"]
    refused = await shop.api.post(f"{path}/refunds", json={"amount": 90_001})
    assert refused.json()["code"] == "payment_shared"
    back = (await shop.api.post(f"{one}/returns", json={"line": 1, "amount": 4_000})).json()
    await shop.until(f"/v1/profit-shares/returns/{back['id']}", state="succeeded")
    released = (await shop.api.post(f"{path}/profit-shares/release")).json()
    await shop.until(f"/v1/profit-shares/{released['id']}", state="succeeded", amount=0)
    refund = (await shop.api.post(f"{path}/refunds", json={})).json()
    assert refund["amount"] == 94_000
    await shop.until(path, refunded=94_000)
    assert not (await prove(database)).mistakes


async def test_an_answer_that_is_lost(shop: Shop, database: Database) -> None:
    body = {"number": "r", "channel": shop.channel, "name": "茶园", **RECEIVERS[shop.channel][0]}
    bound = (await shop.api.post("/v1/profit-shares/receivers", json=body)).json()
    path = await shop.paid(1000)
    operation = {"alipay": "alipay.trade.order.settle", "wechat": "share"}[shop.channel]
    await shop.fault(kind="lose_answer", operation=operation, times=1)
    share = {"receiver_id": bound["id"], "amount": 300, "description": "commission"}
    made = (await shop.api.post(f"{path}/profit-shares", json={"shares": [share]})).json()
    assert made["state"] == "unknown"
    refused = await shop.api.post(f"{path}/refunds", json={"amount": 701})
    assert refused.json()["code"] == "payment_shared"
    query = (await shop.api.get("/v1/profit-shares", params={"state": "unknown"})).json()["data"]
    assert [one["id"] for one in query] == [made["id"]]
    await shop.until(f"/v1/profit-shares/{made['id']}", state="succeeded", arrived=300)
    assert not (await prove(database)).mistakes
