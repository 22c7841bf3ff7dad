"""How many may wait for one channel at once: one that hangs takes down no more than its part.

A request holds a slot of its process while a channel thinks, and a job one of its worker's hands.
A channel that answers nobody for ten seconds would soon hold them all, and with them every order,
refund and question that is for another channel. Its breaker (:mod:`qiao.engine.routing.health`)
sees that later, and for each merchant by itself.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from qiao.domain.deadlines import seconds_left
from qiao.store.clock import loop_seconds

WAITING: Final = 64
WORKING: Final = 16
SILENT_SECONDS: Final = 5.0
"""A channel that has answered nobody for so long is silent."""
RETRY_AFTER_SECONDS: Final = 2


class Bulkheads:
    """Of one process. ``waiting`` bounds the requests that somebody waits for, which have a
    deadline. ``working`` bounds the jobs, but only while the channel is silent: those that wait
    for a hand are in nobody's way otherwise. Each counts for itself."""

    def __init__(self, *, waiting: int = WAITING, working: int = WORKING) -> None:
        self._most = {True: waiting, False: working}
        self._inside: Counter[tuple[str, bool]] = Counter()
        self._answered_at: dict[str, float] = {}

    def full(self, channel: str) -> bool:
        """Whether one more of the caller's sort would be too many."""
        waits = seconds_left() is not None
        if self._inside[channel, waits] < self._most[waits]:
            return False
        return waits or self._is_silent(channel)

    @contextmanager
    def inside(self, channel: str) -> Iterator[None]:
        """Meanwhile the caller waits for the channel."""
        place = (channel, seconds_left() is not None)
        self._inside[place] += 1
        try:
            yield
        finally:
            self._inside[place] -= 1

    def note_answer(self, channel: str) -> None:
        self._answered_at[channel] = loop_seconds()

    def _is_silent(self, channel: str) -> bool:
        return loop_seconds() - self._answered_at.get(channel, 0.0) > SILENT_SECONDS
