"""Where channels send their notifications: raw bytes in, the channel's own words out."""

from typing import Any

from litestar import HttpMethod, Request, Response, route
from litestar.params import FromPath

from qiao.channels.wire import HttpMessage
from qiao.engine.notifications import receive
from qiao.web.access import doors_of

MAX_NOTIFICATION_BYTES = 256 * 1024


@route(
    "/notify/{merchant_id:str}/{account_id:str}",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    include_in_schema=False,
    request_max_body_size=MAX_NOTIFICATION_BYTES,
)
async def notify(
    merchant_id: FromPath[str], account_id: FromPath[str], request: Request[Any, Any, Any]
) -> Response[bytes]:
    """Hand the message to the engine exactly as it came."""
    query = request.scope["query_string"].decode("latin-1")
    message = HttpMessage(
        method=request.method,
        target=f"{request.url.path}?{query}" if query else request.url.path,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.body(),
    )
    reply = await receive(doors_of(request).engine, merchant_id, account_id, message)
    return Response(
        reply.body, status_code=reply.status, headers={"content-type": reply.content_type}
    )
