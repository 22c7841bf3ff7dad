"""Authorizations over HTTP: hold, capture, void; what the customer sees meanwhile."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from qiao.testing.world import World

CODE = {"channel": "bank", "product": "code", "auth_code": "284561"}
ORDER = {"order_id": "o-1", "amount": 1000, "description": "tea", "capture": "manual"}


@pytest_asyncio.fixture
async def held(api: httpx.AsyncClient) -> AsyncIterator[dict[str, object]]:
    answer = await api.post("/v1/payments", json={**ORDER, "method": CODE})
    assert answer.status_code == 201
    yield answer.json()


async def test_hold_and_capture(api: httpx.AsyncClient, held: dict[str, object]) -> None:
    assert (held["state"], held["authorized"], held["captured"]) == ("authorized", 1000, 0)
    path = f"/v1/payments/{held['id']}"
    headers = {"idempotency-key": "c-1"}
    answers = [
        await api.post(f"{path}/capture", json={"amount": 700}, headers=headers) for _ in range(2)
    ]
    for answer in answers:
        assert answer.status_code == 200
        done = answer.json()
        assert (done["state"], done["captured"]) == ("paid", 700)
        [capture] = done["captures"]
        assert (capture["state"], capture["amount"]) == ("succeeded", 700)
    refused = await api.post(f"{path}/capture", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_not_authorized")
    given = await api.post(f"{path}/refunds", json={})
    assert given.json()["amount"] == 700


async def test_hold_and_void(api: httpx.AsyncClient, held: dict[str, object]) -> None:
    path = f"/v1/payments/{held['id']}"
    too_much = await api.post(f"{path}/capture", json={"amount": 1001})
    assert (too_much.status_code, too_much.json()["code"]) == (409, "capture_exceeds_authorization")
    for _ in range(2):
        answer = await api.post(f"{path}/void")
        assert (answer.status_code, answer.json()["state"]) == (200, "closed")
    events = (await api.get("/v1/events", params={"payment_id": str(held["id"])})).json()["data"]
    assert [one["type"] for one in reversed(events)] == [
        "payment.created",
        "payment.authorized",
        "payment.closed",
    ]
    assert events[1]["data"]["authorized"] == 1000


async def test_to_ask_finds_that_the_hold_is_over(
    world: World, api: httpx.AsyncClient, held: dict[str, object]
) -> None:
    [reference] = world.bank.orders
    world.bank.let_go(reference)
    path = f"/v1/payments/{held['id']}"
    asked = (await api.post(f"{path}/query")).json()
    assert asked["attempts"][0]["state"] == "closed"
    await world.work()
    assert (await api.get(path)).json()["state"] == "closed"


async def test_nothing_to_void(api: httpx.AsyncClient) -> None:
    made = (await api.post("/v1/payments", json={**ORDER, "order_id": "o-2"})).json()
    refused = await api.post(f"/v1/payments/{made['id']}/void")
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_not_authorized")


@pytest.mark.parametrize("capture", ["automatic", "manual"])
async def test_the_cashier_offers_what_can_be_held(api: httpx.AsyncClient, capture: str) -> None:
    made = (await api.post("/v1/payments", json={**ORDER, "capture": capture})).json()
    phone = {"user-agent": "Mozilla/5.0 (iPhone) Mobile"}
    path = made["cashier_url"].removeprefix("https://qiao.invalid")
    shown = (await api.get(path, headers=phone)).text
    assert ("bank:h5" in shown) == (capture == "automatic")
    assert ("bank:qr" in shown) == (capture == "manual")


async def test_the_cashier_tells_that_nothing_was_taken(
    api: httpx.AsyncClient, held: dict[str, object]
) -> None:
    path = str(held["cashier_url"]).removeprefix("https://qiao.invalid")
    shown = (await api.get(path, headers={"accept-language": "en"})).text
    assert "nothing has been taken yet" in shown
