"""Stands before the doors: the request's time, its body, a slot, and the end of the process.

Every request has a budget of time, which ``Request-Timeout`` (seconds) may shorten. Its body must
have arrived before it takes a slot, so that slow senders hold none.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec

from qiao.domain.deadlines import deadline
from qiao.telemetry import metrics
from qiao.web.admission import Admission, Kind, is_stream, kind_of
from qiao.web.limits import rate_headers
from qiao.web.observed import method_label
from qiao.web.problems import Problem, problem

# https://asgi.readthedocs.io/en/latest/specs/www.html
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

BUDGET_SECONDS: Final = 30.0
BODY_SECONDS: Final = 10.0
MAX_KEPT_BYTES: Final = 256 * 1024
"""A longer body goes on to the application, which refuses it."""
MAX_STREAMS: Final = 1024
"""Of the connections that a process takes, a quarter."""
RETRY_AFTER_SECONDS: Final = {Kind.LIST: 5, Kind.CREATE: 2, Kind.ACT: 1, Kind.NOTIFY: 1}

SAME_KEY: Final = "with the same Idempotency-Key"
OVERLOADED: Final = problem(
    503,
    "overloaded",
    "more is asked of this server than it can do just now; nothing was done",
    remedy=f"send the request again after Retry-After, {SAME_KEY}",
)
TOO_SLOW: Final = problem(
    408,
    "body_too_slow",
    "the body did not arrive in time; nothing was done",
    field="body",
    remedy=f"send the request again, {SAME_KEY}",
)
BAD_TIMEOUT: Final = problem(
    400,
    "invalid_input",
    "not a time",
    field="Request-Timeout",
    remedy="give seconds, such as 12 or 2.5",
)
REFUSALS: Final = {
    kind: b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    b"retry-after: %d\r\ncontent-length: %d\r\n\r\n%b"
    % (seconds, len(msgspec.json.encode(OVERLOADED)), msgspec.json.encode(OVERLOADED))
    for kind, seconds in RETRY_AFTER_SECONDS.items()
}


class Protection:
    """An ASGI application around another. ``draining`` tells clients to let go of us."""

    def __init__(self, app: App, *, slots: int, budget_seconds: float = BUDGET_SECONDS) -> None:
        self._app = app
        self._streams = 0
        self._admission = Admission(slots=slots)
        self._budget_seconds = budget_seconds
        self._coming: Counter[Kind] = Counter()
        self.draining = False

    def refuse(self, method: str, path: str) -> bytes | None:
        """The answer, as it goes over the wire, to a request that finds no room just now."""
        kind = kind_of(method, path)
        if kind is None or self.draining:
            return None
        if self._coming[kind] >= self._admission.room(kind):
            metrics.count(metrics.HTTP_REQUESTS, metrics.NONE, method_label(method), "503")
            return REFUSALS[kind]
        # Hundreds may arrive in one turn of the event loop, before any of their tasks has run.
        if not self._coming.total():
            asyncio.get_running_loop().call_soon(self._coming.clear)
        self._coming[kind] += 1
        return None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = rate_headers(scope)
                if self.draining:
                    more.append((b"connection", b"close"))
                if more:
                    message["headers"] = [*message["headers"], *more]
            await send(message)

        if is_stream(scope["path"]):
            await self._stream(scope, receive, send_on)
            return
        try:
            seconds = self._seconds(scope)
        except ValueError:
            await _refuse(send_on, BAD_TIMEOUT)
            return
        with deadline(seconds):
            await self._serve(scope, receive, send_on, seconds)

    async def _stream(self, scope: Message, receive: Receive, send: Send) -> None:
        """It takes a slot until it begins; then it is one of so many, and takes its time."""
        if not await self._admission.enter(Kind.LIST):
            await _refuse_overloaded(send, Kind.LIST)
            return
        if self._streams >= MAX_STREAMS:
            self._admission.leave()
            await _refuse_overloaded(send, Kind.LIST)
            return
        begun = False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._admission.leave()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                begin()
            await send(message)

        self._streams += 1
        metrics.STREAMS_OPEN.inc()
        try:
            await self._app(scope, receive, send_on)
        finally:
            self._streams -= 1
            metrics.STREAMS_OPEN.dec()
            begin()

    def _seconds(self, scope: Message) -> float:
        for name, value in scope["headers"]:
            if name == b"request-timeout":
                seconds = float(value)
                if not seconds > 0:
                    raise ValueError
                return min(seconds, self._budget_seconds)
        return self._budget_seconds

    async def _serve(self, scope: Message, receive: Receive, send: Send, seconds: float) -> None:
        kind = kind_of(scope["method"], scope["path"])
        if kind is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            try:
                async with asyncio.timeout(min(seconds, BODY_SECONDS)):
                    receive = await _with_body(receive)
            except TimeoutError:
                await _refuse(send, TOO_SLOW, (b"connection", b"close"))
                return
        if not await self._admission.enter(kind):
            await _refuse_overloaded(send, kind)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._admission.leave()


async def _with_body(receive: Receive) -> Receive:
    """``receive`` again, once the body has arrived or is longer than anybody wants."""
    kept: deque[Message] = deque()
    length = 0
    while True:
        message = await receive()
        kept.append(message)
        if message["type"] != "http.request":
            break
        length += len(message.get("body", b""))
        if not message.get("more_body", False) or length > MAX_KEPT_BYTES:
            break

    async def replay() -> Message:
        return kept.popleft() if kept else await receive()

    return replay


async def _refuse_overloaded(send: Send, kind: Kind) -> None:
    retry_after = str(RETRY_AFTER_SECONDS[kind]).encode()
    await _refuse(send, OVERLOADED, (b"retry-after", retry_after))


async def _refuse(send: Send, told: Problem, *more: tuple[bytes, bytes]) -> None:
    body = msgspec.json.encode(told)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
