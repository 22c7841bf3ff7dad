"""The ledger through the REST door: balances, statements of account, refusals, other merchants."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from qiao.engine.price_books import save_prices
from qiao.engine.pricing import read_prices
from qiao.engine.refunds import refund
from qiao.testing.world import ACCOUNT_ID, World

RECEIVABLE = f"channel_receivable:{ACCOUNT_ID}"


async def test_balances_and_a_statement(world: World, api: httpx.AsyncClient) -> None:
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=300)
    told = (await api.get("/v1/ledger/balances")).json()
    assert {one["account"]: one["balance"] for one in told["data"]} == {
        RECEIVABLE: 700,
        "merchant_payable": 700,
        "refunds_in_transit": 0,
    }
    asked: dict[str, str | int] = {"account": RECEIVABLE, "limit": 1}
    first = (await api.get("/v1/ledger/entries", params=asked)).json()
    assert (first["opening"], first["closing"], first["has_more"]) == (0, 700, True)
    [entry] = first["data"]
    assert (entry["change"], entry["payment_id"]) == (1000, payment.payment_id)
    asked["after"] = entry["cursor"]
    second = (await api.get("/v1/ledger/entries", params=asked)).json()
    assert [one["change"] for one in second["data"]] == [-300]
    assert not second["has_more"]


async def test_as_it_was_and_as_another_sees_it(
    world: World, api: httpx.AsyncClient, live_api: httpx.AsyncClient
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    await world.paid(1000)
    then = (await api.get("/v1/ledger/balances", params={"at": before.isoformat()})).json()
    assert then["data"] == []
    assert (await live_api.get("/v1/ledger/balances")).json()["data"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "account"),
        ({"account": "cash"}, "account"),
        ({"account": "surplus", "currency": "XXX"}, "currency"),
        ({"account": "surplus", "since": "2026-01-31T00:00:00"}, "since"),
        ({"account": "surplus", "until": "2019-01-31T00:00:00Z"}, "until"),
        ({"account": "surplus", "after": "evt_1"}, "after"),
        ({"account": "surplus", "after": "evt_1:2"}, "after"),
        ({"account": "surplus", "limit": 0}, "limit"),
    ],
)
async def test_bad_questions_name_the_field(
    api: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    answer = await api.get("/v1/ledger/entries", params=query)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field


async def test_a_merchant_sees_prices_and_what_was_charged(
    world: World, api: httpx.AsyncClient, live_api: httpx.AsyncClient
) -> None:
    nothing = (await api.get("/v1/prices")).json()
    assert (nothing["version"], nothing["prices_of"], nothing["prices"]) == (0, None, [])
    prices = read_prices({"prices": [{"basis_points": 60, "min": 5, "returned": True}]})
    await save_prices(world.engine, world.scope, prices)
    told = (await api.get("/v1/prices")).json()
    assert (told["version"], told["prices_of"]) == (1, "merchant")
    assert told["prices"][0]["basis_points"] == 60
    assert (await live_api.get("/v1/prices")).json()["version"] == 0
    payment = await world.paid(1000)
    await refund(world.engine, world.scope, payment.payment_id, amount_minor=500)
    shown = (await api.get(f"/v1/payments/{payment.payment_id}")).json()
    assert [(one["fee"], one["channel_fee"]) for one in shown["attempts"]] == [(6, 0)]
    assert [one["fee_returned"] for one in shown["refunds"]] == [3]
