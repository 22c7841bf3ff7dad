"""Failover over real HTTP: simulated Alipay and WeChat Pay, and an account at nobody's gateway."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio

from qiao.bootstrap.config import Config
from qiao.demo.world import ALIPAY_ACCOUNT, API_KEY, MERCHANT, WECHAT_ACCOUNT, World, running
from qiao.domain.ids import IdKind
from qiao.engine.accounts import Accounts
from qiao.simulators.kit.faults import Fault, FaultKind

RULES = {
    "rows": [
        {"when": {"amount": ">= 5000"}, "accounts": ["channel:wechat"]},
        {"accounts": ["dead", "channel:wechat"]},
    ]
}


@pytest_asyncio.fixture
async def demo(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    config = Config(home=str(tmp_path / "home"), database_url=postgres_url)
    async with running(config, lambda _: None) as demo:
        accounts: Accounts = demo.engine.accounts
        await accounts.put(
            merchant_id=MERCHANT,
            account_id=demo.engine.new_id(IdKind.CHANNEL_ACCOUNT),
            live=False,
            channel="alipay",
            name="dead",
            settings=demo.alipay.credentials.settings("ordinary", base_url="http://127.0.0.1:9"),
            priority=9,
        )
        yield demo


@pytest_asyncio.fixture
async def api(demo: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(base_url=demo.url, headers=headers, trust_env=False) as client:
        assert (await client.put("/v1/routing", json={"rules": RULES})).status_code == 200
        yield client


async def ordered(api: httpx.AsyncClient, number: int, amount: int) -> dict[str, Any]:
    method = {"channel": "auto", "product": "qr"}
    body = {"order_id": f"f-{number}", "amount": amount, "description": "tea", "method": method}
    made = await api.post("/v1/payments", json=body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = (await api.get(f"/v1/payments/{made.json()['id']}")).json()
    return found


async def test_a_dead_gateway_is_replaced_and_paid_once(
    demo: World, api: httpx.AsyncClient
) -> None:
    payment = await ordered(api, 1, 1200)
    [first] = [one for one in payment["attempts"] if one["replaces"] is None]
    [second] = [one for one in payment["attempts"] if one["replaces"]]
    assert (first["channel"], first["state"]) == ("alipay", "not_sent")
    assert (second["channel"], second["state"]) == ("wechat", "pending")
    assert second["routing"]["candidates"][0]["account"] == WECHAT_ACCOUNT
    control = f"{demo.wechat.base_url}/_control/payments/{second['reference']}/approve"
    async with aiohttp.ClientSession() as session, session.post(control) as answer:
        answer.raise_for_status()
    while payment["state"] != "paid":
        await asyncio.sleep(0.05)
        payment = (await api.post(f"/v1/payments/{payment['id']}/query")).json()
    assert payment["captured"] == 1200
    assert sorted(one["state"] for one in payment["attempts"]) == ["not_sent", "succeeded"]
    balances = (await api.get("/v1/ledger/balances")).json()["data"]
    books = {one["account"]: one["balance"] for one in balances}
    assert books[f"channel_receivable:{WECHAT_ACCOUNT}"] == 1200
    assert f"channel_receivable:{ALIPAY_ACCOUNT}" not in books


@pytest.mark.parametrize("kind", [FaultKind.LOSE_ANSWER, FaultKind.SYSTEM_ERROR_BUT_DONE])
async def test_what_may_have_been_done_is_never_replaced(
    demo: World, api: httpx.AsyncClient, kind: FaultKind
) -> None:
    demo.wechat.faults.add(Fault(kind=kind))
    payment = await ordered(api, 2, 6000)
    [only] = payment["attempts"]
    assert only["channel"] == "wechat"
    assert only["state"] in ("unknown", "pending")  # pending once the worker has asked
