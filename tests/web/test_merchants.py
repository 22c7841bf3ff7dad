"""Apps, suspended merchants and limits, as the doors show them."""

from dataclasses import replace

import httpx
import pytest

from qiao.engine.merchants import issue_api_key
from qiao.engine.organisations import Status, add_app, change_app, change_merchant
from qiao.engine.payment_limits import LimitKind, put_limit
from qiao.testing.world import World
from qiao.web.app import create_app

ORDER = {"order_id": "o-1", "amount": 1000, "description": "tea"}
QR = {"channel": "bank", "product": "qr"}


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "framework"])
async def test_what_an_app_may_take(world: World, quick: bool) -> None:
    merchant_id = world.scope.merchant_id
    app_id = (await add_app(world.engine, merchant_id, "Till 7")).app_id
    scope = replace(world.scope, app_id=app_id)
    key = await issue_api_key(world.engine, scope)
    await put_limit(world.engine, scope, LimitKind.DAILY_AMOUNT, 2500, currency="CNY")
    transport = httpx.ASGITransport(create_app(world.engine, quick=quick))  # type: ignore[arg-type]
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://qiao", headers=headers
    ) as api:
        first = await api.post("/v1/payments", json=ORDER)
        assert (first.status_code, first.json()["app_id"]) == (201, app_id)
        second = await api.post("/v1/payments", json={**ORDER, "order_id": "o-2", "method": QR})
        assert (second.status_code, second.json()["app_id"]) == (201, app_id)
        for more in ({}, {"method": QR}):
            over = await api.post("/v1/payments", json={**ORDER, "order_id": "o-3", **more})
            told = over.json()
            assert (over.status_code, told["code"], told["field"]) == (
                409,
                "limit_exceeded",
                "amount",
            )
            assert "it resets at" in told["title"]
        over = await api.post("/pay", json={"order_id": "o-3", "amount": 501, "pay_method": "bank"})
        assert (over.status_code, over.json()["code"]) == (409, "limit_exceeded")
        [endpoint] = [
            (await api.post("/v1/webhook_endpoints", json={"url": "https://till.invalid/"})).json()
        ]
        assert endpoint["app_id"] == app_id

        shown = f"/v1/payments/{first.json()['id']}"
        await change_app(world.engine, merchant_id, app_id, status=Status.SUSPENDED)
        for path, body in (
            ("/v1/payments", {**ORDER, "order_id": "o-4", "amount": 1}),
            ("/v1/payments", {**ORDER, "order_id": "o-4", "amount": 1, "method": QR}),
            (f"{shown}/attempts", QR),
            ("/pay", {"order_id": "o-4", "amount": 1, "pay_method": "bank"}),
        ):
            refused = await api.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (409, "app_suspended"), path
        assert (await api.get(shown)).json()["app_id"] == app_id
        await change_app(world.engine, merchant_id, app_id, status=Status.ACTIVE)
        await change_merchant(world.engine, merchant_id, status=Status.SUSPENDED)
        refused = await api.post(f"{shown}/attempts", json=QR)
        assert refused.json()["code"] == "merchant_suspended"
        assert (await api.post(f"{shown}/close")).json()["state"] == "closed"
