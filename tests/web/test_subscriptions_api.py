"""Agreements and subscriptions over HTTP: asked for, shown, moved, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from qiao.engine.key_policy import KeyPolicy
from qiao.engine.merchants import issue_api_key
from qiao.testing.world import World

FIRST = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
AGREEMENT = {
    "number": "member-17",
    "channel": "bank",
    "max_amount": 3000,
    "period": {"unit": "month", "count": 1},
    "first_charge_on": FIRST,
    "display_name": "会员 17",
}
SUBSCRIPTION = {"number": "s-1", "amount": 2500, "description": "Lessons 课程"}
UNKNOWN = "01000000000000000000000000"


async def active(api: httpx.AsyncClient, world: World) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/v1/agreements", json=AGREEMENT)).json()
    world.bank.sign_mandate(made["reference"])
    notice = world.bank.mandate_notice(made["reference"])
    path = f"/notify/{world.scope.merchant_id}/{world.account_id}"
    headers = {"signature": notice.headers["signature"]}
    told = await api.post(path, content=notice.body, headers=headers)
    assert told.status_code == 200
    return made


async def test_from_the_signature_to_the_end(api: httpx.AsyncClient, world: World) -> None:
    made = await active(api, world)
    assert (made["state"], made["action"]["type"]) == ("pending", "qr_code")
    assert "display_name" not in made
    again = await api.post("/v1/agreements", json=AGREEMENT)
    assert (again.status_code, again.json()["state"]) == (200, "active")

    asked = {**SUBSCRIPTION, "agreement_id": made["id"], "periods": 12}
    answer = await api.post("/v1/subscriptions", json=asked)
    begun = answer.json()
    assert (answer.status_code, begun["state"], begun["next_period"]) == (201, "active", 1)
    assert begun["period"] == {"unit": "month", "count": 1}
    assert (begun["charge_time"], begun["retry_days"]) == ("09:00", [1, 3, 5, 7])
    path = f"/v1/subscriptions/{begun['id']}"
    world.clock.pass_by(days=4)
    await world.work()
    shown = (await api.get(path)).json()
    [period] = shown["charged_periods"]
    assert (period["state"], period["due_on"]) == ("paid", FIRST)
    payment = (await api.get(f"/v1/payments/{period['payment_id']}")).json()
    assert (payment["state"], payment["amount"]) == ("paid", 2500)
    assert payment["attempts"][0]["product"] == "agreement"

    assert (await api.post(f"{path}/pause")).json()["state"] == "paused"
    assert (await api.post(f"{path}/resume")).json()["state"] == "active"
    listed = (await api.get("/v1/subscriptions", params={"state": "active"})).json()["data"]
    assert [one["id"] for one in listed] == [begun["id"]]
    gone = (await api.post(f"{path}/cancel")).json()
    assert (gone["state"], gone["reason"]) == ("cancelled", "cancelled")
    refused = await api.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "subscription_is_over")

    ended = (await api.post(f"/v1/agreements/{made['id']}/end")).json()
    assert ended["end_requested_at"] is not None
    await world.work()
    over = (await api.get(f"/v1/agreements/{made['id']}")).json()
    assert over["state"] == "ended"
    events = (await api.get("/v1/events", params={"limit": 100})).json()["data"]
    told = [one["type"] for one in reversed(events) if not one["type"].startswith("payment")]
    assert told == [
        *("agreement.created", "agreement.active", "subscription.created"),
        *("subscription.paused", "subscription.resumed", "subscription.cancelled"),
        "agreement.ended",
    ]


async def test_what_an_event_says_is_what_the_api_shows(
    api: httpx.AsyncClient, world: World
) -> None:
    made = await active(api, world)
    begun = (
        await api.post("/v1/subscriptions", json={**SUBSCRIPTION, "agreement_id": made["id"]})
    ).json()
    shown = (await api.get(f"/v1/agreements/{made['id']}")).json()
    events = (await api.get("/v1/events")).json()["data"]
    told = {one["type"]: one["data"] for one in events}
    subscription = told["subscription.created"]
    moment = datetime.fromisoformat(subscription["next_charge_at"])
    assert moment == datetime.fromisoformat(begun["next_charge_at"])
    subscription["next_charge_at"] = begun["next_charge_at"]  # to the microsecond, or not
    assert subscription == {name: begun[name] for name in subscription}
    assert set(begun) - set(subscription) == {"charged_periods"}
    agreement = told["agreement.active"]
    agreement |= {name: shown[name] for name in ("signed_at", "expires_at", "created_at")}
    assert agreement == {name: shown[name] for name in agreement}
    assert set(shown) - set(agreement) == {"action", "return_url"}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"channel": "nobody"}, 400, "channel"),
        ({"product": "code"}, 400, "product"),
        ({"product": "agreement"}, 400, "product"),
        ({"period": {"unit": "year"}}, 400, "period.unit"),
        ({"period": {"unit": "month", "count": 25}}, 400, "period.count"),
        ({"first_charge_on": "2020-01-01"}, 400, "first_charge_on"),
        ({"first_charge_on": "tomorrow"}, 400, "first_charge_on"),
        ({"metadata": {"a": "b" * 501}}, 400, "metadata"),
    ],
)
async def test_what_is_no_agreement(
    api: httpx.AsyncClient, change: dict[str, object], status: int, field: str
) -> None:
    refused = await api.post("/v1/agreements", json={**AGREEMENT, **change})
    assert (refused.status_code, refused.json()["field"]) == (status, field)


async def test_a_payment_is_never_attempted_by_agreement(api: httpx.AsyncClient) -> None:
    method = {"channel": "bank", "product": "agreement"}
    order = {"order_id": "o-1", "amount": 100, "description": "tea", "method": method}
    refused = await api.post("/v1/payments", json=order)
    assert (refused.status_code, refused.json()["field"]) == (400, "method.product")


async def test_what_is_not_there(api: httpx.AsyncClient, live_api: httpx.AsyncClient) -> None:
    for path in (f"/v1/agreements/agr_{UNKNOWN}", f"/v1/subscriptions/sub_{UNKNOWN}"):
        assert (await api.get(path)).status_code == 404
    made = (await api.post("/v1/agreements", json=AGREEMENT)).json()
    assert (await live_api.get(f"/v1/agreements/{made['id']}")).status_code == 404
    asked = {**SUBSCRIPTION, "agreement_id": made["id"]}
    refused = await api.post("/v1/subscriptions", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (409, "agreement_not_active")


async def test_a_key_needs_the_scope(world: World, base_url: str) -> None:
    policy = KeyPolicy.read(scopes=["payments:write"])
    key = await issue_api_key(world.engine, world.scope, policy=policy)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as other:
        for path in ("/v1/agreements", "/v1/subscriptions"):
            assert (await other.get(path)).status_code == 403
