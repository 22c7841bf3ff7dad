"""Around every door: the request's id, its line in the log, its metrics, its span.

What is told of a request is its route, never its path: a cashier's path holds a token.
"""

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from qiao.telemetry import metrics, tracing

REQUEST_ID: Final = re.compile(rb"[0-9A-Za-z._-]{8,64}")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LETTERS: Final = str.maketrans("0123456789", "ghjkmnpqrs")
OF_PROGRAMS: Final = ("/v1/", "/pay", "/order")
"""Addresses whose callers are the merchants' programs: their traces go on here. A customer's
browser or a channel cannot choose what is traced."""
PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})


def observed(app: ASGIApp) -> ASGIApp:
    """``app``, and what is to be known of each of its requests."""
    # Bound once: for every request it would take longer than not to write a line.
    log = structlog.get_logger(__name__).bind()

    async def note(scope: HTTPScope, receive: Receive, answer: "_Answer") -> None:
        """Metrics, and the log's line; inside the span, if there is one, which it names."""
        begun = time.perf_counter()
        try:
            await app(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - begun
            route, method = _route(scope), method_label(scope["method"])
            metrics.count(metrics.HTTP_REQUESTS, route, method, str(answer.status))
            metrics.observe(metrics.HTTP_SECONDS, seconds, route, method)
            (log.debug if route in PROBES else log.info)(
                "request",
                route=route,
                method=method,
                status=answer.status,
                milliseconds=round(seconds * 1000, 1),
            )

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request_id = read_request_id(_header(scope, b"x-request-id"))
        answer = _Answer(send, request_id)
        held = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            if tracing.is_on():
                await _trace(note, scope, receive, answer)
            else:
                await note(scope, receive, answer)
        finally:
            structlog.contextvars.reset_contextvars(**held)

    return run


class _Answer:
    """Sends on, with the request's id; ``status`` is what was answered."""

    __slots__ = ("_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self._send(message)


Note: TypeAlias = Callable[[HTTPScope, Receive, _Answer], Awaitable[None]]


async def _trace(note: Note, scope: HTTPScope, receive: Receive, answer: _Answer) -> None:
    parent = {}
    if scope["path"].startswith(OF_PROGRAMS):
        given = {name: _header(scope, name.encode()) for name in ("traceparent", "tracestate")}
        parent = {name: text.decode("latin-1") for name, text in given.items() if text is not None}
    method = method_label(scope["method"])
    with tracing.span(
        method,
        tracing.SpanKind.SERVER,
        parent=parent,
        http__request__method=method,
        qiao__request_id=answer.request_id,
    ) as span:
        try:
            await note(scope, receive, answer)
        finally:
            span.update_name(f"{method} {_route(scope)}")
            span.set_attribute("http.route", _route(scope))
            span.set_attribute("http.response.status_code", answer.status)
            if answer.status >= 500:
                span.set_status(tracing.FAILED)


def _route(scope: HTTPScope) -> str:
    return scope.get("path_template") or metrics.NONE


def _header(scope: HTTPScope, wanted: bytes) -> bytes | None:
    return next((text for name, text in scope["headers"] if name == wanted), None)


def method_label(method: str) -> str:
    """The method; one that nobody knows is OTHER, for anybody can invent them."""
    return method if method in METHODS else "OTHER"


def read_request_id(given: bytes | None) -> str:
    """The caller's id of the request if it is one that may stand in a log, or a new one.

    Ours is of letters alone: some runs of digits are taken for somebody's number, and masked.
    """
    if given is not None and REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(16).translate(_LETTERS)
