"""Around every door: the request's id, its line in the log, its metrics, its span.

What is told of a request is its route, never its path: a cashier's path holds a token.
"""

import re
import secrets
import time
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from qiao.telemetry import metrics, tracing

log = structlog.get_logger(__name__)
REQUEST_ID: Final = re.compile(rb"[0-9A-Za-z._-]{8,64}")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OF_PROGRAMS: Final = ("/v1/", "/pay", "/order")
"""Addresses whose callers are the merchants' programs: their traces go on here. A customer's
browser or a channel cannot choose what is traced."""
PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})


def observed(app: ASGIApp) -> ASGIApp:
    """``app``, and what is to be known of each of its requests."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await _observe(app, scope, receive, send)
        else:
            await app(scope, receive, send)

    return run


async def _observe(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    begun = time.perf_counter()
    headers = dict(scope["headers"])
    request_id = read_request_id(headers.get(b"x-request-id"))
    method = method_label(scope["method"])
    status = 500

    async def answer(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
        await send(message)

    parent = {}
    if scope["path"].startswith(OF_PROGRAMS) and tracing.is_on():
        parent = {
            name.decode("latin-1"): headers[name].decode("latin-1")
            for name in (b"traceparent", b"tracestate")
            if name in headers
        }
    with (
        structlog.contextvars.bound_contextvars(request_id=request_id),
        tracing.span(
            method,
            tracing.SpanKind.SERVER,
            parent=parent,
            http__request__method=method,
            qiao__request_id=request_id,
        ) as span,
    ):
        try:
            await app(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - begun
            route = scope.get("path_template") or metrics.NONE
            metrics.HTTP_REQUESTS.labels(route, method, str(status)).inc()
            metrics.HTTP_SECONDS.labels(route, method).observe(seconds)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(tracing.FAILED)
            (log.debug if route in PROBES else log.info)(
                "request",
                route=route,
                method=method,
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


def method_label(method: str) -> str:
    """The method; one that nobody knows is OTHER, for anybody can invent them."""
    return method if method in METHODS else "OTHER"


def read_request_id(given: bytes | None) -> str:
    """The caller's id of the request if it is one that may stand in a log, or a new one."""
    if given is not None and REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(16)
