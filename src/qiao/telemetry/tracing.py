"""Traces by the API of OpenTelemetry; the SDK, if anybody wants traces, is set up in bootstrap.

Spans hold hosts, operations and results: never a query string, a body, a token or a person.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = (
    "FAILED",
    "SpanKind",
    "current_operation",
    "ids",
    "is_on",
    "link_to",
    "operation",
    "span",
    "traced",
    "traceparent",
)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

FAILED: Final = Status(StatusCode.ERROR)
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("qiao")
_OPERATION: ContextVar[str | None] = ContextVar("qiao_operation", default=None)


def is_on() -> bool:
    """Whether somebody has set up tracing in this process; nothing below costs much otherwise."""
    # The public question reads the environment each time, which costs more than all the rest here.
    return trace._TRACER_PROVIDER is not None  # noqa: SLF001


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    caused_by: str | None = None,
    parent: Mapping[str, str] | None = None,
    **attributes: str | int | bool,
) -> Iterator[Span]:
    """A span around a block; an error is recorded by its class, for its text may hold anything.

    ``caused_by`` is the traceparent of what this follows from and is not part of; ``parent``
    holds the headers of who asked. Attributes are written with ``__`` for a dot.
    """
    if not is_on():
        yield INVALID_SPAN
        return
    with _TRACER.start_as_current_span(
        name,
        context=None if parent is None else _PROPAGATOR.extract(parent),
        kind=kind,
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
        links=_links(caused_by),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(FAILED)
            raise


def traced(
    name: str,
) -> Callable[
    [Callable[Arguments, Coroutine[Any, Any, Result]]],
    Callable[Arguments, Coroutine[Any, Any, Result]],
]:
    """A use case, as a span of its own."""

    def decorate(
        function: Callable[Arguments, Coroutine[Any, Any, Result]],
    ) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
        @wraps(function)
        async def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            if not is_on():
                return await function(*args, **kwargs)
            with span(name):
                return await function(*args, **kwargs)

        return run

    return decorate


@contextmanager
def operation(name: str) -> Iterator[None]:
    """The requests that go out meanwhile belong to this operation of a channel."""
    token = _OPERATION.set(name)
    try:
        yield
    finally:
        _OPERATION.reset(token)


def current_operation() -> str:
    return _OPERATION.get() or "request"


def traceparent() -> str | None:
    """What is going on, to be kept with what will be told of later; None when nothing is traced."""
    if not is_on():
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def link_to(cause: str | None) -> None:
    """Link the current span to the trace that was kept."""
    for link in _links(cause):
        trace.get_current_span().add_link(link.context)


def ids() -> tuple[str, str] | None:
    """The current trace's and span's ids in hex, for logs."""
    if not is_on():
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def _links(cause: str | None) -> list[Link]:
    if cause is None or not is_on():
        return []
    found = trace.get_current_span(_PROPAGATOR.extract({"traceparent": cause})).get_span_context()
    return [Link(found)] if found.is_valid else []
