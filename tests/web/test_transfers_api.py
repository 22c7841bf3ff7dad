"""Transfers over HTTP: two keys, batches as lists and as CSV, and what is refused."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from qiao.engine.merchants import issue_api_key
from qiao.engine.transfers import Policy, put_policy
from qiao.testing.world import World

WAGES = {
    "number": "t-1",
    "channel": "bank",
    "amount": 300,
    "payee": "anna@example.com",
    "payee_name": "Anna",
    "description": "wages",
}


@pytest_asyncio.fixture
async def checker(world: World, base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with another key of the same merchant."""
    headers = {"authorization": f"Bearer {await issue_api_key(world.engine, world.scope)}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture(autouse=True)
async def policy(world: World) -> None:
    await put_policy(world.engine, world.scope, "CNY", Policy())


async def test_two_keys(api: httpx.AsyncClient, checker: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/transfers", json=WAGES)
    made = answer.json()
    assert (answer.status_code, made["state"]) == (201, "requested")
    assert (made["payee"], made["payee_name"]) == ("anna@example.com", "Anna")
    assert (await api.post("/v1/transfers", json=WAGES)).status_code == 200
    path = f"/v1/transfers/{made['id']}"
    own = await api.post(f"{path}/approve")
    assert (own.status_code, own.json()["code"]) == (409, "second_person_needed")
    done = (await checker.post(f"{path}/approve")).json()
    assert done["state"] == "succeeded"
    assert done["requested_by"].startswith("key_")
    assert done["decided_by"].startswith("key_")
    assert done["decided_by"] != done["requested_by"]
    assert (await checker.get(path)).json() == done
    listed = (await api.get("/v1/transfers", params={"state": "succeeded"})).json()["data"]
    assert [(one["id"], one["payee"]) for one in listed] == [(made["id"], None)]
    events = (await api.get("/v1/events")).json()["data"]
    assert [one["type"] for one in reversed(events)] == [
        "transfer.created",
        "transfer.approved",
        "transfer.succeeded",
    ]
    assert all(one["payment_id"] is None for one in events)
    entries = await api.get("/v1/ledger/entries", params={"account": "merchant_payable"})
    assert [one["subject_id"] for one in entries.json()["data"]] == [made["id"]]


async def test_it_is_rejected(api: httpx.AsyncClient, checker: httpx.AsyncClient) -> None:
    made = (await api.post("/v1/transfers", json=WAGES)).json()
    path = f"/v1/transfers/{made['id']}"
    gone = (await checker.post(f"{path}/reject", json={"reason": "not this month"})).json()
    assert (gone["state"], gone["reason"]) == ("rejected", "not this month")
    refused = await checker.post(f"{path}/approve")
    assert (refused.status_code, refused.json()["code"]) == (409, "transfer_not_waiting")


CSV = "number,channel,amount,currency,payee,description\nt-1,bank,300,CNY,anna,wages\n"


@pytest.mark.parametrize("lines", [{"transfers": [WAGES]}, {"csv": CSV}])
async def test_a_batch(
    api: httpx.AsyncClient, checker: httpx.AsyncClient, lines: dict[str, object]
) -> None:
    answer = await api.post("/v1/transfers/batches", json={"number": "b-1", **lines})
    made = answer.json()
    assert (answer.status_code, made["states"], made["amount"]) == (201, {"requested": 1}, 300)
    path = f"/v1/transfers/batches/{made['id']}"
    done = (await checker.post(f"{path}/approve")).json()
    assert done["states"] == {"succeeded": 1}
    assert (await api.get(path)).json() == done
    gone = await checker.post(f"{path}/reject", json={})
    assert gone.json() == done  # nothing of it waits any more


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "transfers"),
        ({"transfers": [WAGES], "csv": CSV}, "transfers"),
        ({"csv": "number\n"}, "csv"),
        ({"transfers": [WAGES, WAGES]}, "transfers"),
    ],
)
async def test_what_is_no_batch(
    api: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    refused = await api.post("/v1/transfers/batches", json={"number": "b-1", **body})
    assert (refused.status_code, refused.json()["field"]) == (400, field)


async def test_another_mode_sees_nothing(
    api: httpx.AsyncClient, live_api: httpx.AsyncClient
) -> None:
    made = (await api.post("/v1/transfers", json=WAGES)).json()
    assert (await live_api.get(f"/v1/transfers/{made['id']}")).status_code == 404
