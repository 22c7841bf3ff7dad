"""What left for an archive, at the doors: told as ``archived``, and never as if it had not been."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from qiao.engine.actors import Actor
from qiao.engine.archive import archive_periods
from qiao.engine.webhooks import add_endpoint
from qiao.store.partitions import month_after
from qiao.testing.world import ACCOUNT_ID, World


async def test_reading_what_is_archived(
    api: httpx.AsyncClient, world: World, tmp_path: Path
) -> None:
    endpoint, _ = await add_endpoint(world.engine, world.scope, "https://shop.invalid/hook")
    now = datetime.now(UTC)
    end = month_after(now)
    world.clock.ahead = end - timedelta(days=20) - now
    payment = await world.paid(1000)
    await world.work_until_quiet(hours=8)
    world.clock.ahead = timedelta()
    younger = await world.paid(500)
    events = (await api.get("/v1/events", params={"payment_id": payment.payment_id})).json()["data"]
    [event, *_] = events
    await archive_periods(
        world.engine.database,
        before=end,
        folder=tmp_path,
        now=end + timedelta(days=400),
        actor=Actor(kind="command", id="test"),
    )
    replay = f"/v1/webhook_endpoints/{endpoint.endpoint_id}/deliveries/{event['id']}/replay"
    early = (end - timedelta(seconds=1)).isoformat()
    answers = {
        "payment_id": await api.get("/v1/events", params={"payment_id": payment.payment_id}),
        "before": await api.get("/v1/events", params={"before": event["id"]}),
        "after": await api.get("/v1/events", params={"after": "evt_" + "0" * 26}),
        "event_id": await api.post(replay),
        "at": await api.get("/v1/ledger/balances", params={"at": early}),
        "since": await api.get(
            "/v1/ledger/entries", params={"account": "merchant_payable", "since": early}
        ),
    }
    for field, answer in answers.items():
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (404, "archived", field)
        assert f"until_{end:%Y_%m}" in problem["title"]
        assert problem["remedy"]
    # The remedies are right: what they name is answered.
    following = answers["after"].json()["remedy"].split()[1]
    told = (await api.get("/v1/events", params={"after": following})).json()["data"]
    assert {one["payment_id"] for one in told} == {younger.payment_id}
    since = answers["since"].json()["remedy"].split()[1]
    asked = {"account": f"channel_receivable:{ACCOUNT_ID}", "since": since}
    statement = (await api.get("/v1/ledger/entries", params=asked)).json()
    del asked["since"]
    by_default = (await api.get("/v1/ledger/entries", params=asked)).json()
    assert [one["cursor"] for one in by_default["data"]] == [
        one["cursor"] for one in statement["data"]
    ]
    assert statement["closing"] == 1500
    assert statement["closing"] - statement["opening"] == sum(
        one["change"] for one in statement["data"]
    )

    shown = (await api.get(f"/v1/payments/{payment.payment_id}")).json()
    assert (shown["state"], shown["captured"]) == ("paid", 1000)
    deliveries = (await api.get(f"/v1/webhook_endpoints/{endpoint.endpoint_id}/deliveries")).json()
    assert event["id"] not in {one["event_id"] for one in deliveries["data"]}
    listed = (await api.get("/v1/events")).json()["data"]
    assert {one["payment_id"] for one in listed} == {younger.payment_id}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/ledger/balances", "/v1/ledger/entries"])
async def test_the_reference_says_so(api: httpx.AsyncClient, path: str) -> None:
    document = (await api.get("/v1/openapi.json")).json()
    assert "archive" in document["paths"][path]["get"]["responses"]["404"]["description"]
