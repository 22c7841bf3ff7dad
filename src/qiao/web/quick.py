"""The three busiest requests, answered without the framework: create, show, notification.

Litestar's own work for a request (matching, injection, reading twice) costs more time than all of
ours. So what is quite usual is answered here, by the functions that its handlers call. Everything
else goes on untouched to Litestar, whose handlers are the reference, and of which the OpenAPI
document tells: ``tests/web/test_quick.py`` holds the two against each other.

What guards a request must stand in the functions that both share: :func:`.access.who_asks`,
:func:`.bodies.read_strictly`, and the use cases.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from qiao.channels.wire import HttpMessage
from qiao.engine.key_policy import KeyScope
from qiao.engine.notifications import receive as settle_notification
from qiao.web.access import Doors, HttpScope, who_asks
from qiao.web.api.documents import PaymentInput
from qiao.web.api.payments import create, in_full
from qiao.web.bodies import IDEMPOTENCY_KEY, MAX_BODY_BYTES, bound_key, read_strictly
from qiao.web.notify import MAX_NOTIFICATION_BYTES
from qiao.web.problems import describe_for

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
PAYMENTS: Final = "/v1/payments"
ONE_PAYMENT: Final = f"{PAYMENTS}/"
NOTIFY: Final = "/notify/"
ROUTE: Final = "path_template"
"""Where the framework notes in the scope which route it took, for whoever observes."""
JSON: Final = "application/json"
ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    async def send(self, send: Send) -> None:
        headers = [(name.encode(), text.encode("latin-1")) for name, text in self.headers.items()]
        if self.status != 204:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class _Gone(Exception):
    """Who asked has hung up before the request was whole."""


class QuickDoors:
    """Answers what is usual; see the head of this file."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def reply(self, scope: HttpScope, receive: Receive) -> Reply | None:
        """None when the request is the framework's to answer; then nothing of it was read."""
        method, path = scope["method"], scope["path"]
        try:
            if method == "POST" and path.startswith(NOTIFY):
                return await self._notify(scope, receive)
            if scope["query_string"]:
                return None
            if method == "POST" and path == PAYMENTS:
                return await self._create(scope, receive)
            if method == "GET" and path.startswith(ONE_PAYMENT):
                return await self._show(scope, receive)
        except _Gone:
            return Reply(status=400, headers={}, body=b"")  # nobody reads it
        except Exception as error:  # noqa: BLE001 - as Litestar's handler does
            told, headers = describe_for(scope.get(ROUTE), error)
            return Reply(status=told.status, headers=headers, body=ENCODER.encode(told))
        return None

    async def _create(self, scope: HttpScope, receive: Receive) -> Reply | None:
        headers = _headers(scope)
        length = _length(headers, MAX_BODY_BYTES)
        given, key = headers.get("idempotency-key"), None
        media_type = headers.get("content-type", "").partition(";")[0].rstrip()
        if length is None or media_type != JSON:
            return None
        if given is not None and not IDEMPOTENCY_KEY.fullmatch(given):
            return None
        scope[ROUTE] = PAYMENTS
        whole = _Once(receive)
        merchant = await who_asks(self._doors, scope, KeyScope.PAYMENTS_WRITE, whole.read)
        body = await whole.read()
        if given is not None:
            key = bound_key(given, "POST", PAYMENTS, body)
        data: PaymentInput = read_strictly(body, PaymentInput)
        document, status = await create(self._doors.engine, merchant, data, key)
        return Reply(status=status, headers={"content-type": JSON}, body=ENCODER.encode(document))

    async def _show(self, scope: HttpScope, receive: Receive) -> Reply | None:
        payment_id = scope["path"].removeprefix(ONE_PAYMENT)
        if not payment_id or "/" in payment_id:
            return None
        scope[ROUTE] = "/v1/payments/{payment_id}"
        merchant = await who_asks(self._doors, scope, KeyScope.PAYMENTS_READ, _Once(receive).read)
        document = await in_full(self._doors.engine, merchant, payment_id)
        return Reply(status=200, headers={"content-type": JSON}, body=ENCODER.encode(document))

    async def _notify(self, scope: HttpScope, receive: Receive) -> Reply | None:
        headers, path = _headers(scope), scope["path"]
        merchant_id, _, account_id = path.removeprefix(NOTIFY).partition("/")
        if _length(headers, MAX_NOTIFICATION_BYTES) is None or not account_id or "/" in account_id:
            return None
        scope[ROUTE] = "/notify/{merchant_id}/{account_id}"
        query = scope["query_string"].decode("latin-1")
        message = HttpMessage(
            method="POST",
            target=f"{path}?{query}" if query else path,
            headers=headers,
            body=await _body(receive),
        )
        reply = await settle_notification(self._doors.engine, merchant_id, account_id, message)
        return Reply(
            status=reply.status, headers={"content-type": reply.content_type}, body=reply.body
        )


def _headers(scope: HttpScope) -> dict[str, str]:
    return {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}


def _length(headers: dict[str, str], most: int) -> int | None:
    """The length that is announced; None when there is none, or it is too much."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= most else None


class _Once:
    """The body, received at most once."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._body: bytes | None = None

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await _body(self._receive)
        return self._body


async def _body(receive: Receive) -> bytes:
    message = await receive()
    pieces = []
    while message["type"] == "http.request":
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)
        message = await receive()
    raise _Gone
