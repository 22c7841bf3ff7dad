"""Routing through the REST door: save, show, explain, try out on the past; refusals; failover."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from qiao.testing.bank import DECLINED_CODE
from qiao.testing.world import ACCOUNT_ID, SECOND_ACCOUNT_ID, World

ROWS = [
    {"name": "large", "when": {"amount": ">= 2000"}, "accounts": ["north"]},
    {"accounts": ["bank", "north"]},
]
FEES = [{"account": "bank", "basis_points": 60}, {"account": "north", "basis_points": 38}]


@pytest_asyncio.fixture
async def two(world: World) -> AsyncIterator[World]:
    await world.open_second_account()
    yield world


async def order(api: httpx.AsyncClient, number: int, minor: int, **method: Any) -> httpx.Response:
    return await api.post(
        "/v1/payments",
        json={
            "order_id": f"r-{number}",
            "amount": minor,
            "description": "tea",
            "method": {"channel": "bank", "product": "qr", **method},
        },
    )


async def test_rules_are_saved_shown_and_recorded(
    two: World, api: httpx.AsyncClient, live_api: httpx.AsyncClient
) -> None:
    before = (await api.get("/v1/routing")).json()
    assert (before["current"]["version"], before["current"]["rules_of"]) == (0, "nobody")
    body = {"rules": {"rows": ROWS}, "note": "the north is cheaper", "replaces": 0}
    saved = await api.put("/v1/routing", json=body)
    assert (saved.status_code, saved.json()["version"]) == (200, 1)
    now = (await api.get("/v1/routing")).json()
    assert now["current"] == saved.json()
    assert [(one["name"], one["state"]) for one in now["accounts"]] == [
        ("bank", "closed"),
        ("north", "closed"),
    ]
    made = (await order(api, 1, 5000)).json()
    [attempt] = (await api.get(f"/v1/payments/{made['id']}")).json()["attempts"]
    assert attempt == made["attempts"][0]
    assert (attempt["routing"]["version"], attempt["routing"]["row_name"]) == (1, "large")
    assert attempt["routing"]["candidates"] == [
        {"account": SECOND_ACCOUNT_ID, "channel": "bank"},
        {"account": ACCOUNT_ID, "channel": "bank", "rejected": "the row does not list it"},
    ]
    again = await api.put("/v1/routing", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "version_conflict")
    history = (await api.get("/v1/routing/versions")).json()
    assert [(one["version"], one["note"]) for one in history["data"]] == [(1, body["note"])]
    assert (await live_api.get("/v1/routing/versions")).json()["data"] == []


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"rows": [{"accounts": ["north"], "when": {"amount": ">"}}]}, "rules.rows[0].when.amount"),
        ({"rows": [{"accounts": ["south"]}]}, "rows[0].accounts"),
        ({"rows": [{"accounts": []}]}, "rules.rows[0].accounts"),
        ({"strategy": "best"}, "rules.strategy"),
        ({"time_zone": "Mars"}, "rules.time_zone"),
    ],
)
async def test_wrong_rules_name_the_place(
    two: World, api: httpx.AsyncClient, rules: dict[str, Any], field: str
) -> None:
    for path, method in (("/v1/routing", "PUT"), ("/v1/routing/dry-run", "POST")):
        answer = await api.request(method, path, json={"rules": rules})
        assert (answer.status_code, answer.json()["field"]) == (400, field), path
    assert (await api.get("/v1/routing")).json()["current"]["version"] == 0


async def test_explain_tells_the_rows_and_the_choice(two: World, api: httpx.AsyncClient) -> None:
    await api.put("/v1/routing", json={"rules": {"rows": ROWS, "fees": FEES}})
    asked = {"amount": 1000, "product": "qr"}
    told = (await api.post("/v1/routing/explain", json=asked)).json()
    assert told["rows"] == [
        {"row": 1, "name": "large", "mismatch": "amount"},
        {"row": 2, "name": None, "mismatch": None},
    ]
    assert [one["cost"] for one in told["choice"]["candidates"]] == [6, 4]
    assert told["refused"] is None
    asked = {"amount": 1000, "product": "app"}
    told = (await api.post("/v1/routing/explain", json=asked)).json()
    assert told["choice"] is None
    assert "app" in told["refused"]
    assert await two.engine.database.fetch_value("SELECT count(*) FROM payment") == 0


async def test_the_past_by_other_rules(two: World, api: httpx.AsyncClient) -> None:
    for number, (minor, code) in enumerate(
        [(1000, "284561"), (5000, "284561"), (3000, DECLINED_CODE)]
    ):
        await order(api, number, minor, product="code", auth_code=code)
    before = await two.engine.database.fetch("SELECT * FROM attempt ORDER BY attempt_id")
    body = {"rules": {"rows": ROWS, "fees": FEES}}
    two.clock.pass_by(seconds=1)
    told = (await api.post("/v1/routing/dry-run", json=body)).json()
    assert (told["attempts"], told["moved"], told["whole"]) == (3, 2, True)
    bank, north = told["data"]
    assert (bank["account"], bank["name"], north["name"]) == (ACCOUNT_ID, "bank", "north")
    names = ("attempts", "paid", "amount", "cost")
    assert [bank[name] for name in names] == [1, 1, 1000, 6]
    assert [bank[f"{name}_then"] for name in names] == [3, 2, 6000, 36]
    assert [north[name] for name in names] == [2, 1, 5000, 19]
    assert [north[f"{name}_then"] for name in names] == [0, 0, 0, 0]
    assert await two.engine.database.fetch("SELECT * FROM attempt ORDER BY attempt_id") == before
    assert (await api.get("/v1/routing")).json()["current"]["version"] == 0
    refusing = {"otherwise": "refuse", "rows": ROWS[:1]}
    told = (await api.post("/v1/routing/dry-run", json={"rules": refusing})).json()
    assert [one["account"] for one in told["data"]] == [ACCOUNT_ID, SECOND_ACCOUNT_ID, "refused"]
    wrong = {**body, "since": "2026-01-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}
    answer = await api.post("/v1/routing/dry-run", json=wrong)
    assert (answer.status_code, answer.json()["field"]) == (400, "since")


async def test_failover_is_one_request(two: World, api: httpx.AsyncClient) -> None:
    await api.put("/v1/routing", json={"rules": {"rows": ROWS}})
    two.transport.down.add("main")
    made = await order(api, 1, 1000, product="code", auth_code="284561")
    assert (made.status_code, made.json()["state"]) == (201, "paid")
    found = (await api.get(f"/v1/payments/{made.json()['id']}")).json()["attempts"]
    [first] = [one for one in found if one["replaces"] is None]
    [second] = [one for one in found if one["replaces"] == first["id"]]
    assert (first["state"], second["state"]) == ("not_sent", "succeeded")


async def test_no_route_is_told_with_when_to_come_again(two: World, api: httpx.AsyncClient) -> None:
    rules = {"attempts": 1, "breaker": {"min_attempts": 2, "open_seconds": 30}}
    await api.put("/v1/routing", json={"rules": {"rows": [{"accounts": ["bank"]}], **rules}})
    two.transport.down.add("main")
    for number in range(2):
        await order(api, number, 1000)
    two.clock.pass_by(seconds=1)
    await two.work()
    for number, path in ((7, "quick"), (8, "framework")):
        body = {"order_id": f"n-{number}", "amount": 1000, "description": "tea"}
        method = {"channel": "bank", "product": "qr"}
        if path == "quick":
            answer = await api.post("/v1/payments", json={**body, "method": method})
        else:
            made = (await api.post("/v1/payments", json=body)).json()
            answer = await api.post(f"/v1/payments/{made['id']}/attempts", json=method)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_route")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert "order" in answer.json()["title"]
    shown = (await api.get("/v1/routing")).json()["accounts"][0]
    assert shown["state"] == "open"
    assert shown["reason"].startswith("2 of 2 attempts")
    assert shown["open_until"]


async def test_many_at_once_save_one_after_the_other(two: World, api: httpx.AsyncClient) -> None:
    body = {"rules": {"rows": ROWS}}
    answers = await asyncio.gather(*(api.put("/v1/routing", json=body) for _ in range(5)))
    saved = sorted(one.json()["version"] for one in answers if one.status_code == 200)
    assert saved == list(range(1, len(saved) + 1))
    assert {one.status_code for one in answers} <= {200, 409}
