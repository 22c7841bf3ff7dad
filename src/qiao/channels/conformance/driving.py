"""Runs an operation against a counterpart and keeps what went by.

The rule of what a failure means is the transport's (``qiao.transport.drive.exchange``), which the
suite may not import: a test holds the two against each other. The suite needs more than a driver:
every request, and errors that a driver would let through.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from qiao.channels.conformance.vocabulary import PromiseBroken
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.outcomes import NotSent, Unknown

MAX_REQUESTS: Final = 20
"""An operation that asks more often than this waits for something, which is the engine's part."""


class ConnectFailed(Exception):
    """A counterpart raises it: not one byte of this request went out."""


class AnswerLost(Exception):
    """A counterpart raises it: the request may have arrived, its answer did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one operation asked and what came of it: an outcome, or an error that got out."""

    requests: tuple[HttpRequest, ...]
    outcome: object = None
    error: Exception | None = None

    def __str__(self) -> str:
        """Safe to show: it names types, codes and reasons, and no values."""
        if self.error is not None:
            return f"{type(self.error).__name__} after {len(self.requests)} requests"
        reason = getattr(self.outcome, "reason", "")
        return f"{type(self.outcome).__name__} {reason}".rstrip()


def run(
    start: Callable[[], Operation[Any]], respond: Callable[[int, HttpRequest], HttpResponse]
) -> Run:
    """Drive the operation that ``start`` makes; ``respond`` is told how many requests came before.

    What ``respond`` raises besides the two failures above passes through.
    """
    requests: list[HttpRequest] = []
    response: HttpResponse | None = None
    effect_sent = False
    operation: Operation[Any] | None = None
    while True:
        try:
            if operation is None:
                operation = start()
            request = next(operation) if response is None else operation.send(response)
        except StopIteration as end:
            return Run(requests=tuple(requests), outcome=end.value)
        except AnswerUnreadable as error:
            if not requests:
                return Run(requests=(), error=error)
            return Run(requests=tuple(requests), outcome=Unknown(reason=f"{error.code}: {error}"))
        except Exception as error:  # noqa: BLE001 - the suite judges whatever a channel raises
            return Run(requests=tuple(requests), error=error)
        requests.append(request)
        if len(requests) > MAX_REQUESTS:
            operation.close()
            endless = PromiseBroken(f"asks more than {MAX_REQUESTS} times")
            return Run(requests=tuple(requests), error=endless)
        try:
            response = respond(len(requests) - 1, request)
        except ConnectFailed as failure:
            outcome = Unknown(reason=str(failure)) if effect_sent else NotSent(reason=str(failure))
            return _abandoned(operation, requests, outcome)
        except AnswerLost as failure:
            return _abandoned(operation, requests, Unknown(reason=str(failure)))
        except BaseException:
            _abandoned(operation, requests, Unknown(reason="given up"))
            raise
        effect_sent = effect_sent or request.effect


def _abandoned(
    operation: Operation[Any], requests: list[HttpRequest], outcome: NotSent | Unknown
) -> Run:
    try:
        operation.close()
    except Exception as error:  # noqa: BLE001 - the suite judges whatever a channel raises
        return Run(requests=tuple(requests), error=error)
    return Run(requests=tuple(requests), outcome=outcome)
