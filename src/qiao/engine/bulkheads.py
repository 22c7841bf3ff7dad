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
SILENT_SECONDS: Final = 1.0
"""A channel is silent when it was waited for so long, and nobody was answered meanwhile."""
RETRY_AFTER_SECONDS: Final = 2


class Bulkheads:
    """Of one process. While a channel is silent, ``waiting`` bounds the requests that somebody
    waits for, which have a deadline, and ``working`` the jobs. One that answers is not bounded."""

    def __init__(self, *, waiting: int = WAITING, working: int = WORKING) -> None:
        self._most = {True: waiting, False: working}
        self._inside: Counter[tuple[str, bool]] = Counter()
        self._since: dict[str, float] = {}
        """When a channel that is waited for answered last, or was first waited for."""

    def full(self, channel: str) -> bool:
        """Whether one more of the caller's sort would be too many."""
        waits = seconds_left() is not None
        return (
            self._inside[channel, waits] >= self._most[waits]
            and loop_seconds() - self._since[channel] >= SILENT_SECONDS
        )

    @contextmanager
    def inside(self, channel: str) -> Iterator[None]:
        """Meanwhile the caller waits for the channel."""
        place = (channel, seconds_left() is not None)
        if not (self._inside[channel, True] or self._inside[channel, False]):
            self.note_answer(channel)
        self._inside[place] += 1
        try:
            yield
        finally:
            self._inside[place] -= 1

    def note_answer(self, channel: str) -> None:
        """It has answered somebody just now."""
        self._since[channel] = loop_seconds()
