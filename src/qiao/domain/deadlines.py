"""The time that a request has left. It travels with the request, through every layer, by context.

Whoever waits for something cuts its own time-out to what is left. Work that nobody waits for (the
worker's jobs) has no deadline.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from qiao.domain.errors import DeadlineExceeded

_ends_at: ContextVar[float | None] = ContextVar("qiao_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What happens in the block is to end within so many seconds."""
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float | None:
    """None without a deadline; never below zero."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())


def within_deadline(seconds: float) -> float:
    """``seconds``, or what is left when that is less. Raises DeadlineExceeded when none is."""
    left = seconds_left()
    if left is None:
        return seconds
    if left == 0:
        raise DeadlineExceeded
    return min(seconds, left)
