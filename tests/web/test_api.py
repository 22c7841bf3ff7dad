"""The REST door: a payment from order to refund, and every refusal with its code."""

import json
from typing import Any

import httpx
import pytest

from qiao.testing.bank import Fault
from qiao.testing.world import World

ORDER: dict[str, Any] = {"order_id": "a-1", "amount": 1000, "description": "tea"}
QR = {"channel": "bank", "product": "qr"}
CODE = {"channel": "bank", "product": "code", "auth_code": "284561"}


async def test_a_payment_from_order_to_refund(world: World, api: httpx.AsyncClient) -> None:
    made = await api.post("/v1/payments", json=ORDER)
    assert made.status_code == 201, made.text
    payment = made.json()
    assert (payment["state"], payment["amount"], payment["live"]) == ("open", 1000, False)
    assert payment["cashier_url"].startswith(
        f"https://qiao.invalid/cashier/{world.scope.merchant_id}/"
    )
    again = await api.post("/v1/payments", json=ORDER)
    assert (again.status_code, again.json()["id"]) == (200, payment["id"])

    address = f"/v1/payments/{payment['id']}"
    tried = await api.post(f"{address}/attempts", json=QR)
    assert (tried.status_code, tried.json()["state"]) == (201, "pending")
    assert tried.json()["action"]["type"] == "qr_code"
    reference = tried.json()["reference"]
    world.bank.pay(reference)
    notice = world.bank.payment_notice(reference)
    told = await api.post(
        f"/notify/{world.scope.merchant_id}/{world.account_id}",
        content=notice.body,
        headers=dict(notice.headers),
    )
    assert (told.status_code, told.content) == (200, b"yes")
    shown = (await api.get(address)).json()
    assert (shown["state"], shown["captured"]) == ("paid", 1000)
    assert shown["attempts"][0]["state"] == "succeeded"

    back = await api.post(f"{address}/refunds", json={"amount": 400, "reason": "cold"})
    assert (back.status_code, back.json()["state"]) == (201, "succeeded")
    assert (await api.get(f"/v1/refunds/{back.json()['id']}")).json() == back.json()
    rest = await api.post(f"{address}/refunds", json={})
    assert rest.json()["amount"] == 600
    assert (await api.get(address)).json()["refunded"] == 1000
    events = (await api.get("/v1/events", params={"payment_id": payment["id"]})).json()
    assert [one["type"] for one in events["data"]][::-1] == [
        "payment.created",
        "payment.paid",
        "refund.created",
        "refund.succeeded",
        "refund.created",
        "refund.succeeded",
    ]


async def test_events_are_followed_oldest_first(api: httpx.AsyncClient) -> None:
    made = []
    for number in range(5):
        body = {"order_id": f"o-{number}", "amount": 1000, "description": "tea"}
        made.append((await api.post("/v1/payments", json=body)).json()["id"])
    after, seen = f"evt_{'0' * 26}", []
    while True:
        page = (await api.get("/v1/events", params={"after": after, "limit": 2})).json()
        seen += [one["payment_id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    assert seen == made
    one = {"after": f"evt_{'0' * 26}", "payment_id": made[2]}
    of_one = (await api.get("/v1/events", params=one)).json()["data"]
    assert [event["payment_id"] for event in of_one] == [made[2]]
    both = await api.get("/v1/events", params={"after": after, "before": after})
    assert (both.status_code, both.json()["field"]) == (400, "after")
    wrong = await api.get("/v1/events", params={"after": made[0]})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "after")


async def test_accepted_and_attempted_at_once(api: httpx.AsyncClient) -> None:
    made = await api.post("/v1/payments", json={**ORDER, "method": CODE})
    assert made.json()["state"] == "paid"
    assert made.json()["attempts"][0]["state"] == "succeeded"


async def test_query_and_close(world: World, api: httpx.AsyncClient) -> None:
    first = (await api.post("/v1/payments", json={**ORDER, "method": QR})).json()
    world.bank.pay(first["attempts"][0]["reference"])
    asked = await api.post(f"/v1/payments/{first['id']}/query")
    assert (asked.status_code, asked.json()["state"]) == (200, "paid")
    second = (
        await api.post("/v1/payments", json={**ORDER, "order_id": "a-2", "method": QR})
    ).json()
    closed = await api.post(f"/v1/payments/{second['id']}/close")
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")


async def test_the_same_key_does_nothing_twice(world: World, api: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "k-1"}
    body = {**ORDER, "method": CODE}
    first = await api.post("/v1/payments", json=body, headers=headers)
    again = await api.post("/v1/payments", json=body, headers=headers)
    assert again.json()["attempts"] == first.json()["attempts"]
    assert world.transport.sent == ["create"]
    other = await api.post("/v1/payments", json={**body, "amount": 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    address = f"/v1/payments/{first.json()['id']}/refunds"
    key = {"idempotency-key": "k-2"}
    given = [await api.post(address, json={"amount": 10}, headers=key) for _ in range(2)]
    assert given[0].json() == given[1].json()
    assert (await api.get(f"/v1/payments/{first.json()['id']}")).json()["refunded"] == 10


async def test_a_lost_answer_is_said_to_be_unknown(world: World, api: httpx.AsyncClient) -> None:
    world.transport.faults[:] = [Fault.ANSWER_LOST]
    made = await api.post("/v1/payments", json={**ORDER, "method": CODE})
    assert made.status_code == 201
    assert made.json()["state"] == "open"
    assert made.json()["attempts"][0]["state"] == "unknown"


async def test_pages(api: httpx.AsyncClient) -> None:
    for number in range(3):
        await api.post("/v1/payments", json={**ORDER, "order_id": f"p-{number}"})
    first = (await api.get("/v1/payments", params={"limit": 2})).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    before = first["data"][-1]["id"]
    rest = (await api.get("/v1/payments", params={"limit": 2, "before": before})).json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)


async def test_webhook_endpoints(world: World, api: httpx.AsyncClient) -> None:
    made = await api.post("/v1/webhook_endpoints", json={"url": "https://shop.invalid/hook"})
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    listed = (await api.get("/v1/webhook_endpoints")).json()["data"]
    assert [(one["id"], one["secret"]) for one in listed] == [(made.json()["id"], None)]
    await api.post("/v1/payments", json=ORDER)
    await world.work()
    address = f"/v1/webhook_endpoints/{made.json()['id']}"
    [delivery] = (await api.get(f"{address}/deliveries")).json()["data"]
    assert (delivery["type"], delivery["state"]) == ("payment.created", "delivered")
    again = await api.post(f"{address}/deliveries/{delivery['event_id']}/replay")
    assert again.status_code == 202
    await world.work()
    inbox = world.transport.shop.inbox
    assert inbox[0].body == inbox[1].body
    assert (await api.delete(address)).status_code == 204
    assert (await api.delete(address)).json()["code"] == "not_found"


async def test_channels(api: httpx.AsyncClient, live_api: httpx.AsyncClient) -> None:
    [channel] = (await api.get("/v1/channels")).json()["data"]
    assert (channel["id"], channel["products"]) == ("bank", ["code", "h5", "qr"])
    assert (await live_api.get("/v1/channels")).json()["data"] == []


class TestSimpleDoor:
    async def test_pay_and_order(self, world: World, api: httpx.AsyncClient) -> None:
        body = {"order_id": "s-1", "amount": 5, "pay_method": "bank"}
        paying = await api.post("/pay", json=body)
        assert paying.status_code == 200, paying.text
        assert paying.json()["action"]["type"] == "qr_code"
        again = await api.post("/pay", json=body)
        assert again.json() == paying.json()
        [reference] = world.bank.orders
        world.bank.pay(reference)
        await api.post(f"/v1/payments/{paying.json()['payment_id']}/query")
        order = (await api.get("/order", params={"order_id": "s-1"})).json()
        assert (order["state"], order["amount"]) == ("paid", 5)
        assert (await api.post("/pay", json=body)).json()["state"] == "paid"

    async def test_an_unknown_method(self, api: httpx.AsyncClient) -> None:
        body = {"order_id": "s-1", "amount": 5, "pay_method": "pigeon"}
        refused = await api.post("/pay", json=body)
        assert refused.status_code == 400
        told = refused.json()
        assert told["error"] == "Invalid pay method"
        assert (told["field"], told["code"]) == ("pay_method", "invalid_input")
        missing = await api.get("/order", params={"order_id": "s-1"})
        assert missing.status_code == 404


BAD_BODIES = {
    "nothing": (b"", "malformed_body", "body"),
    "not json": (b"{", "malformed_body", "body"),
    "not utf-8": (b'{"order_id": "\xff"}', "malformed_body", "body"),
    "a list": (b"[]", "invalid_input", "body"),
    "deep": (b"[" * 30_000, "malformed_body", "body"),
    "float": ({"amount": 10.0}, "float_refused", "body"),
    "exponent": (b'{"order_id":"a","amount":1e3,"description":"t"}', "float_refused", "body"),
    "nan": (b'{"order_id":"a","amount":NaN,"description":"t"}', "float_refused", "body"),
    "text": ({"amount": "10"}, "invalid_input", "amount"),
    "bool": ({"amount": True}, "invalid_input", "amount"),
    "null": ({"amount": None}, "invalid_input", "amount"),
    "zero": ({"amount": 0}, "invalid_input", "amount"),
    "negative": ({"amount": -1}, "invalid_input", "amount"),
    "too much": ({"amount": 2**53}, "invalid_input", "amount"),
    "far too much": ({"amount": 10**40}, "invalid_input", "amount"),
    "no order": (b'{"amount":1,"description":"t"}', "invalid_input", "order_id"),
    "unknown field": ({"colour": "red"}, "invalid_input", "colour"),
    "unknown currency": ({"currency": "XXX"}, "invalid_money", "currency"),
    "small currency": ({"currency": "cny"}, "invalid_input", "currency"),
    "twice": (
        b'{"order_id":"a","amount":1,"amount":2,"description":"t"}',
        "duplicate_key",
        "amount",
    ),
    "twice within": (
        b'{"order_id":"a","amount":1,"description":"t","metadata":{"x":"1","x":"2"}}',
        "duplicate_key",
        "x",
    ),
    "nul": ({"description": "a\0b"}, "invalid_input", "description"),
    "surrogate": (
        b'{"order_id":"a","amount":1,"description":"\\ud800"}',
        "invalid_input",
        "description",
    ),
    "number as metadata": ({"metadata": {"a": 1}}, "invalid_input", "metadata[...]"),
    "unknown product": (
        {"method": {"channel": "bank", "product": "pigeon"}},
        "invalid_input",
        "method.product",
    ),
    "method without product": (
        {"method": {"channel": "bank"}},
        "invalid_input",
        "method.product",
    ),
    "bad address": ({"return_url": "javascript:1"}, "invalid_input", "return_url"),
    "too soon": ({"expires_in": 1}, "invalid_input", "expires_in"),
}


@pytest.mark.parametrize(("body", "code", "field"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_bad_bodies(
    world: World, api: httpx.AsyncClient, body: Any, code: str, field: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps({**ORDER, **body}).encode()
    refused = await api.post(
        "/v1/payments", content=content, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 400, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    told = refused.json()
    assert (told["code"], told["field"]) == (code, field)
    assert told["type"] == f"urn:qiao:problem:{code}"
    assert told["remedy"]
    assert await world.engine.database.fetch_value("SELECT count(*) FROM payment") == 0


async def test_other_refusals(world: World, api: httpx.AsyncClient) -> None:
    large = await api.post("/v1/payments", content=b"x" * 70_000)
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    nowhere = await api.get("/v1/nothing")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    method = await api.put("/v1/payments", json=ORDER)
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    foreign = await api.get("/v1/payments/pay_00000000000000000000000001")
    assert (foreign.status_code, foreign.json()["field"]) == (404, "payment_id")
    wrong = await api.get("/v1/payments/ref_00000000000000000000000001")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_id")
    key = await api.post("/v1/payments", json=ORDER, headers={"idempotency-key": "a b"})
    assert key.status_code == 400
    page = await api.get("/v1/payments", params={"limit": 1000})
    assert page.status_code == 400


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer sk_test_nobody", "Basic eDp5"])
async def test_who_asks_must_be_known(base_url: str, header: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        for path in ("/v1/payments", "/order?order_id=1"):
            refused = await client.get(path, headers={"authorization": header})
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"


async def test_modes_do_not_mix(api: httpx.AsyncClient, live_api: httpx.AsyncClient) -> None:
    payment = (await api.post("/v1/payments", json=ORDER)).json()
    assert (await live_api.get(f"/v1/payments/{payment['id']}")).status_code == 404
    assert (await live_api.get("/v1/payments")).json()["data"] == []
    assert (await live_api.post(f"/v1/payments/{payment['id']}/close")).status_code == 404
    same = await live_api.post("/v1/payments", json=ORDER)
    assert (same.status_code, same.json()["live"]) == (201, True)


async def test_notifications_to_nobody(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        assert (await client.post("/notify/mer_x/acc_x", content=b"x")).status_code == 404
        large = await client.post("/notify/mer_x/acc_x", content=b"x" * 300_000)
        assert large.status_code == 413


async def test_the_reference_needs_nothing_else(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        page = await client.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert "<script" not in page.text
        assert "/v1/payments/{payment_id}/refunds" in page.text
        style = await client.get("/docs/reference.css")
        assert style.headers["content-type"] == "text/css; charset=utf-8"


async def test_openapi_names_everything(base_url: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        document = (await client.get("/v1/openapi.json")).json()
        assert (await client.get("/health")).json() == {"status": "ok"}
    assert document["openapi"].startswith("3.1")
    assert {"/v1/payments", "/pay", "/order", "/v1/events"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary") or operation.get("description"), (path, method)
            assert {"400", "401", "503"} <= set(operation["responses"]), (path, method)
