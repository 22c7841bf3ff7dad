"""Logs go to standard error: lines for people at a terminal, JSON for whatever collects them.

What the libraries log goes the same way. Everything passes ``qiao.telemetry.redaction``; of an
error the stack and the class are written, its text only when it is Qiao's own, which is safe to
log by the rules of ``domain.errors``, and never the values of locals.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog

from qiao.domain.errors import QiaoError
from qiao.telemetry import tracing
from qiao.telemetry.redaction import MASK, redact, redact_field

LEVELS = ("debug", "info", "warning", "error")
OURS: Final = frozenset({"timestamp", "level", "_record", "_from_structlog"})
MAX_CHAIN: Final = 8

Event = MutableMapping[str, Any]
ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logs(level: str, *, stream: TextIO | None = None) -> None:
    """``level`` is one of LEVELS; what is below it is not written."""
    target = stream or sys.stderr
    renderer = _renderer(target)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _describe_error,
        _redact,
        _trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            keep_exc_info=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def _renderer(target: TextIO) -> Any:
    if target.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer()


def _trace(_: Any, __: str, event: Event) -> Event:
    """The trace in which it happened, so that one leads to the other. After the redaction: its
    ids are chance, and one in two hundred looks as if a card's number were in it."""
    if (found := tracing.ids()) is not None:
        event["trace_id"], event["span_id"] = found
    return event


def _foreign(_: Any, __: str, event: Event) -> Event:
    """A library's record: who wrote it. asyncio adds the representation of what it is about,
    which holds the error's text: its first line says enough."""
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    if record.name == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _describe_error(_: Any, __: str, event: Event) -> Event:
    info = event.pop("exc_info", None)
    event.pop("exception", None)
    event.pop("stack", None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    elif info and not isinstance(info, tuple):
        info = sys.exc_info()
    if info and info[1] is not None:
        event["exception"] = describe_error(info[1])
    return event


def describe_error(error: BaseException) -> str:
    """The error with its causes, the first first: where it happened and what it is."""
    found: list[str] = []
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen and len(seen) < MAX_CHAIN:
        seen.add(id(now))
        found.append(_one(now))
        cause, context = now.__cause__, now.__context__
        now = cause or (None if now.__suppress_context__ else context)
    return "\n\nfollowed by:\n".join(reversed(found))


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, BaseExceptionGroup):
        members = (describe_error(one) for one in error.exceptions[:MAX_CHAIN])
        name += "".join(f"\n  holding:\n{member}" for member in members)
    return frames + (f"{name}: {error}" if isinstance(error, QiaoError) else name)


def _redact(_: Any, __: str, event: Event) -> Event:
    for name in list(event):
        if name in OURS:
            continue
        shown, secret = redact_field(name)
        value = event.pop(name) if shown != name else event[name]
        event[shown] = MASK if secret else redact(value)
    return event


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger("qiao").error("uncaught_error", exc_info=(kind, error, trace))
