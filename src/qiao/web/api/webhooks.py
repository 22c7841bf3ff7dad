"""Events, webhook endpoints and their deliveries; the merchant's channels."""

from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from qiao.domain.errors import InvalidInput
from qiao.engine.events import events_after, list_events
from qiao.engine.key_policy import KeyScope
from qiao.engine.webhooks import (
    Endpoint,
    add_endpoint,
    deliveries,
    endpoints,
    remove_endpoint,
    replay,
)
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import (
    ChannelDocument,
    DeliveryDocument,
    EndpointDocument,
    EndpointInput,
    EventDocument,
    Limit,
    Page,
    page_of,
)
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body


def _document(endpoint: Endpoint, secret: str | None = None) -> EndpointDocument:
    return EndpointDocument(
        id=endpoint.endpoint_id,
        app_id=endpoint.app_id,
        url=endpoint.url,
        event_types=endpoint.event_types,
        enabled=endpoint.enabled,
        created_at=endpoint.created_at,
        secret=secret,
    )


@get("/events", responses=refusals(404), tags=["Events"], opt=needs(KeyScope.PAYMENTS_READ))
async def get_events(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    payment_id: FromQuery[str | None] = None,
) -> Page[EventDocument]:
    """What happened, the newest first; of one payment when ``payment_id`` is given.

    With ``after`` an event's id, what came after it, the oldest first: the next page is ``after``
    the last of this one. To follow events without a gap, begin each time two minutes before the
    newest and leave out what you have seen, because an event may appear after one with a larger id.
    An id begins with its time (UUIDv7), and evt_00000000000000000000000000 is before all of them.
    Where the oldest have gone to an archive, the answer to that (`archived`) names the id to give.
    """
    if after is None:
        found = await list_events(
            engine, merchant, payment_id=payment_id, before=before, limit=limit
        )
    elif before is None:
        found = await events_after(engine, merchant, after, payment_id=payment_id, limit=limit)
    else:
        raise InvalidInput(
            "before and after exclude each other", field="after", remedy="give one of them"
        )
    return page_of(
        [
            EventDocument(
                id=one.event_id,
                type=one.type,
                payment_id=one.payment_id,
                created_at=one.created_at,
                data=one.data,
            )
            for one in found
        ],
        limit,
    )


@post(
    "/webhook_endpoints",
    before_request=check_body,
    responses=refusals(413),
    tags=["Webhooks"],
    opt=needs(KeyScope.WEBHOOKS_WRITE),
)
async def create_endpoint(
    data: JSONBody[EndpointInput], engine: TheEngine, merchant: TheMerchant
) -> EndpointDocument:
    """Send events there from now on. The secret is shown only in this answer."""
    endpoint, secret = await add_endpoint(engine, merchant, data.url, event_types=data.event_types)
    return _document(endpoint, secret)


@get(
    "/webhook_endpoints",
    responses=refusals(),
    tags=["Webhooks"],
    opt=needs(KeyScope.WEBHOOKS_WRITE),
)
async def get_endpoints(engine: TheEngine, merchant: TheMerchant) -> Page[EndpointDocument]:
    """Every endpoint of this mode."""
    found = await endpoints(engine, merchant)
    return Page(data=[_document(one) for one in found], has_more=False)


@delete(
    "/webhook_endpoints/{endpoint_id:str}",
    responses=refusals(404),
    tags=["Webhooks"],
    opt=needs(KeyScope.WEBHOOKS_WRITE),
)
async def delete_endpoint(
    endpoint_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> None:
    """Send nothing there any more."""
    await remove_endpoint(engine, merchant, endpoint_id)


@get(
    "/webhook_endpoints/{endpoint_id:str}/deliveries",
    responses=refusals(404),
    tags=["Webhooks"],
    opt=needs(KeyScope.WEBHOOKS_WRITE),
)
async def get_deliveries(
    endpoint_id: FromPath[str],
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
) -> Page[DeliveryDocument]:
    """How it stands with the events, the newest first."""
    found = await deliveries(engine, merchant, endpoint_id, before=before, limit=limit)
    return page_of(
        [
            DeliveryDocument(
                event_id=one.event_id,
                type=one.type,
                state=one.state,
                tries=one.tries,
                last_status=one.last_status,
                last_error=one.last_error,
                last_tried_at=one.last_tried_at,
                delivered_at=one.delivered_at,
            )
            for one in found
        ],
        limit,
    )


@post(
    "/webhook_endpoints/{endpoint_id:str}/deliveries/{event_id:str}/replay",
    status_code=202,
    responses=refusals(404),
    tags=["Webhooks"],
    opt=needs(KeyScope.WEBHOOKS_WRITE),
)
async def replay_delivery(
    endpoint_id: FromPath[str],
    event_id: FromPath[str],
    engine: TheEngine,
    merchant: TheMerchant,
) -> None:
    """Send the event again: the same id and the same bytes."""
    await replay(engine, merchant, endpoint_id, event_id)


@get("/channels", responses=refusals(), tags=["Channels"], opt=needs(KeyScope.PAYMENTS_READ))
async def get_channels(engine: TheEngine, merchant: TheMerchant) -> Page[ChannelDocument]:
    """The channels that the merchant can be paid through in this mode."""
    accounts = await engine.accounts.usable(
        merchant.merchant_id, live=merchant.live, app_id=merchant.app_id
    )
    manifests = {one.channel_id: one.channel.manifest for one in accounts}
    return Page(
        data=[
            ChannelDocument(
                id=one.id,
                name=dict(one.name),
                products=sorted(one.products),
                currencies=sorted(one.currencies),
            )
            for one in manifests.values()
        ],
        has_more=False,
    )


webhooks = Router(
    "/",
    route_handlers=[
        get_events,
        create_endpoint,
        get_endpoints,
        delete_endpoint,
        get_deliveries,
        replay_delivery,
        get_channels,
    ],
)
