"""Webhooks: signed as the standard says, the same id and bytes however often, for three days."""

import base64

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from qiao.channels.wire import HttpRequest
from qiao.domain.errors import InvalidInput
from qiao.engine.errors import Missing
from qiao.engine.runtime import Scope
from qiao.engine.webhooks import (
    add_endpoint,
    deliveries,
    endpoints,
    remove_endpoint,
    replay,
)
from qiao.testing.world import World

URL = "https://shop.invalid/hook"


def verified(request: HttpRequest, secret: str) -> dict[str, object]:
    told: dict[str, object] = Webhook(secret).verify(request.body, dict(request.headers))
    return told


async def test_delivered_once_and_verified_by_the_standard_library(world: World) -> None:
    endpoint, secret = await add_endpoint(world.engine, world.scope, URL)
    payment = await world.paid()
    await world.work()
    told = [verified(one, secret) for one in world.transport.shop.inbox]
    assert sorted(str(one["type"]) for one in told) == ["payment.created", "payment.paid"]
    [paid] = [one for one in told if one["type"] == "payment.paid"]
    assert isinstance(paid["data"], dict)
    assert paid["data"]["id"] == payment.payment_id
    assert (paid["data"]["state"], paid["data"]["captured"]) == ("paid", 1000)
    assert {request.url for request in world.transport.shop.inbox} == {URL}
    states = await deliveries(world.engine, world.scope, endpoint.endpoint_id)
    assert [(one.state, one.tries, one.last_status) for one in states] == [
        ("delivered", 1, 200)
    ] * 2
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookVerificationError):
        verified(world.transport.shop.inbox[0], other)


async def test_retried_for_three_days_with_the_same_id_and_bytes(world: World) -> None:
    endpoint, _ = await add_endpoint(world.engine, world.scope, URL, event_types=["payment.paid"])
    await world.paid()
    begun = world.clock.ahead
    world.transport.shop.answers = [500] * 20
    await world.work_until_quiet(minutes=30)
    inbox = world.transport.shop.inbox
    assert len(inbox) == 12
    assert len({(one.headers["webhook-id"], one.body) for one in inbox}) == 1
    [state] = await deliveries(world.engine, world.scope, endpoint.endpoint_id)
    assert (state.state, state.tries, state.last_error) == ("failed", 12, "it answered 500")
    assert (world.clock.ahead - begun).days >= 3

    world.transport.shop.answers = []
    await replay(world.engine, world.scope, endpoint.endpoint_id, state.event_id)
    await world.work()
    assert inbox[-1].body == inbox[0].body
    assert inbox[-1].headers["webhook-id"] == state.event_id
    [state] = await deliveries(world.engine, world.scope, endpoint.endpoint_id)
    assert (state.state, state.last_status) == ("delivered", 200)


async def test_several_endpoints_and_chosen_types(world: World) -> None:
    await add_endpoint(world.engine, world.scope, URL + "/1")
    await add_endpoint(world.engine, world.scope, URL + "/2", event_types=["payment.closed"])
    live = Scope(merchant_id=world.scope.merchant_id, live=True)
    await add_endpoint(world.engine, live, URL + "/live")
    await world.paid()
    await world.work()
    assert [one.url for one in world.transport.shop.inbox] == [URL + "/1"] * 2
    assert [one.url for one in await endpoints(world.engine, live)] == [URL + "/live"]


async def test_a_removed_endpoint_gets_nothing_more(world: World) -> None:
    endpoint, _ = await add_endpoint(world.engine, world.scope, URL)
    await world.paid()
    await remove_endpoint(world.engine, world.scope, endpoint.endpoint_id)
    await world.work_until_quiet()
    assert world.transport.shop.inbox == []
    with pytest.raises(Missing):
        await remove_endpoint(world.engine, world.scope, endpoint.endpoint_id)


async def test_a_younger_endpoint_can_be_told_of_an_older_event(world: World) -> None:
    payment = await world.paid()
    endpoint, secret = await add_endpoint(world.engine, world.scope, URL)
    event_id = await world.engine.database.fetch_value(
        "SELECT event_id FROM event WHERE payment_id = $1 AND type = 'payment.paid'",
        payment.payment_id,
    )
    await replay(world.engine, world.scope, endpoint.endpoint_id, event_id)
    await world.work()
    [request] = world.transport.shop.inbox
    assert verified(request, secret)["type"] == "payment.paid"


async def test_bad_input(world: World) -> None:
    for wrong, field in (
        ({"url": "ftp://x"}, "url"),
        ({"url": URL, "event_types": ["payment.stolen"]}, "event_types"),
        ({"url": URL, "secret": "whsec_short"}, "secret"),
        ({"url": URL, "secret": base64.b64encode(b"x" * 32).decode()}, "secret"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await add_endpoint(world.engine, world.scope, **wrong)
        assert refused.value.field == field
    assert await endpoints(world.engine, world.scope) == []
