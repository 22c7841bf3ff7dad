"""Faults on demand: what a simulator does to one answer or one notification, and how often."""

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aiohttp import web

HALF: Final = 2
MAX_HANG_SECONDS: Final = 600.0


class FaultKind(StrEnum):
    """What goes wrong."""

    DELAY = "delay"
    """Done, and answered after ``delay_seconds``."""
    HANG = "hang"
    """Not done, never answered."""
    RESET = "reset"
    """Not done; the connection is cut."""
    LOSE_ANSWER = "lose_answer"
    """Done; the connection is cut instead of an answer."""
    HALF_ANSWER = "half_answer"
    """Done; the connection is cut in the middle of the answer."""
    BAD_SIGNATURE = "bad_signature"
    """Done, and answered with a signature that does not verify."""
    SYSTEM_ERROR = "system_error"
    """Not done; the channel's own system error is answered."""
    SYSTEM_ERROR_BUT_DONE = "system_error_but_done"
    """Done; the channel's own system error is answered all the same."""
    DROP_NOTIFICATION = "drop_notification"
    DUPLICATE_NOTIFICATION = "duplicate_notification"
    REORDER_NOTIFICATIONS = "reorder_notifications"
    """Held back until the next notification has gone out."""
    BAD_NOTIFICATION_SIGNATURE = "bad_notification_signature"


NOT_DONE: Final = frozenset({FaultKind.HANG, FaultKind.RESET, FaultKind.SYSTEM_ERROR})
"""With these the simulator must not carry the request out."""
ON_NOTIFICATIONS: Final = frozenset(
    {
        FaultKind.DROP_NOTIFICATION,
        FaultKind.DUPLICATE_NOTIFICATION,
        FaultKind.REORDER_NOTIFICATIONS,
        FaultKind.BAD_NOTIFICATION_SIGNATURE,
    }
)
ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``kind`` for the next ``times`` requests of ``operation`` (the channel's name, or ``*``)."""

    kind: FaultKind
    operation: str = ANY
    times: int = 1
    delay_seconds: float = 0.0


class FaultPlan:
    """The faults that are still to happen, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(self._faults)

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take_for_answer(self, operation: str) -> Fault | None:
        """The fault of this request's answer, if any; it is used up once more."""
        return self._take(operation, notification=False)

    def take_for_notification(self, operation: str) -> Fault | None:
        """The fault of this notification, if any; it is used up once more."""
        return self._take(operation, notification=True)

    def _take(self, operation: str, *, notification: bool) -> Fault | None:
        for index, fault in enumerate(self._faults):
            fits = fault.operation in (ANY, operation)
            if fits and (fault.kind in ON_NOTIFICATIONS) == notification:
                if fault.times > 1:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                else:
                    del self._faults[index]
                return fault
        return None


async def deliver(
    request: web.Request, answer: web.Response, fault: Fault | None
) -> web.StreamResponse:
    """``answer``, or what ``fault`` makes of it on the wire.

    Kinds that change what is answered (a bad signature, a system error) are the simulator's part.
    """
    if fault is None:
        return answer
    match fault.kind:
        case FaultKind.DELAY:
            await asyncio.sleep(fault.delay_seconds)
        case FaultKind.HANG:
            await asyncio.sleep(fault.delay_seconds or MAX_HANG_SECONDS)
            _cut(request)
        case FaultKind.RESET | FaultKind.LOSE_ANSWER:
            _cut(request)
        case FaultKind.HALF_ANSWER:
            body = answer.body if isinstance(answer.body, bytes) else b""
            half = web.StreamResponse(status=answer.status, headers=answer.headers)
            half.content_length = len(body) + 1
            await half.prepare(request)
            await half.write(body[: len(body) // HALF])
            _cut(request)
        case _:
            pass
    return answer


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
