"""Keeps one merchant's slow or dead endpoint from holding back everybody else's webhooks.

Each endpoint has a window of deliveries that may be under way at once. It opens with every
delivery that went well and halves with every one that did not. A few more wait for their turn, a
moment; the rest comes back later. After several failures in a row nothing is sent but one delivery
at growing intervals, until one goes well. Each process learns this for itself: a window is no
promise to the endpoint, so nothing is shared.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qiao.engine.turns import Turns

FIRST_WINDOW: Final = 4
MAX_WINDOW: Final = 16
WAITING_FOR_ONE: Final = 4
"""How many may wait for each delivery that the window admits."""
WAIT_SECONDS: Final = 1.0
OPENS_AFTER: Final = 5
"""Failures in a row."""
FIRST_PAUSE_SECONDS: Final = 10.0
MAX_PAUSE_SECONDS: Final = 600.0
COME_BACK_SECONDS: Final = (0.05, 15.0)
LEAST_PACE_SECONDS: Final = 0.0005
"""From one delivery's end to the next one's, at best; and until it has been seen."""
SMOOTHING: Final = 64
"""How many of the last ends the pace goes by, about; what is noted together ends together."""
MAX_ENDPOINTS: Final = 10_000


@dataclass(slots=True)
class _Endpoint:
    window: int = FIRST_WINDOW
    running: int = 0
    waiting: Turns = field(default_factory=Turns)
    pace_seconds: float = LEAST_PACE_SECONDS
    ended_at: float = 0.0
    full_until: float = 0.0
    """When the last one that was turned away shall come back."""
    failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting and not self.failures


class EndpointGate:
    """``enter`` before each delivery and ``leave`` after it. ``now`` is a monotonic clock."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._chance = chance
        self._endpoints: dict[str, _Endpoint] = {}

    async def enter(self, endpoint_id: str) -> float | None:
        """None: go on, and ``leave`` afterwards. Otherwise in how many seconds to come again."""
        one = self._endpoint(endpoint_id)
        if one.failures >= OPENS_AFTER:
            left = one.paused_until - self._now()
            if left > 0 or one.running:
                return max(left, FIRST_PAUSE_SECONDS) * (1 + self._chance() / 2)
        elif one.running >= one.window:
            has_room = len(one.waiting) < one.window * WAITING_FOR_ONE
            if has_room and await self._turn(one):
                return None
            return self._come_back_seconds(one)
        one.running += 1
        return None

    def leave(self, endpoint_id: str, *, went_well: bool | None) -> None:
        """The delivery has ended; None when that says nothing about the endpoint."""
        one = self._endpoint(endpoint_id)
        one.running -= 1
        self._note_pace(one)
        if went_well:
            one.window = FIRST_WINDOW if one.pauses else min(one.window + 1, MAX_WINDOW)
            one.failures = one.pauses = 0
        elif went_well is not None:
            self._note_failure(one)
        self._let_in(one)

    def _come_back_seconds(self, one: _Endpoint) -> float:
        """One after the other, as fast as the endpoint takes them, and after those who wait."""
        now = self._now()
        behind = max(one.full_until, now + len(one.waiting) * one.pace_seconds)
        least, most = COME_BACK_SECONDS
        pause = min(max(behind + one.pace_seconds - now, least), most)
        one.full_until = now + pause
        return pause * (1 + self._chance() / 8)

    def _note_pace(self, one: _Endpoint) -> None:
        now = self._now()
        # When nobody waits, the time since the last end says nothing of how fast it could be: it
        # is given more, until somebody does.
        took = min(now - one.ended_at, COME_BACK_SECONDS[1]) if one.waiting else 0.0
        pace = one.pace_seconds + (took - one.pace_seconds) / SMOOTHING
        one.pace_seconds = max(pace, LEAST_PACE_SECONDS)
        one.ended_at = now

    def _note_failure(self, one: _Endpoint) -> None:
        one.failures += 1
        one.window = max(1, one.window // 2)
        # What was under way when the pause began fails inside it, and does not make it longer.
        if one.failures >= OPENS_AFTER and self._now() >= one.paused_until:
            pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(one.pauses, 32), MAX_PAUSE_SECONDS)
            one.paused_until = self._now() + pause
            one.pauses += 1
            one.waiting.refuse_all()

    async def _turn(self, one: _Endpoint) -> bool:
        """Whether a turn came in time; then it counts as running already."""
        if not one.waiting:
            one.ended_at = self._now()  # the time in which nobody waited tells no pace

        def give_back() -> None:
            one.running -= 1
            self._let_in(one)

        return await one.waiting.wait(WAIT_SECONDS, give_back=give_back)

    def _let_in(self, one: _Endpoint) -> None:
        while one.waiting and one.running < one.window:
            one.running += 1
            one.waiting.give()

    def _endpoint(self, endpoint_id: str) -> _Endpoint:
        found = self._endpoints.get(endpoint_id)
        if found is None:
            if len(self._endpoints) >= MAX_ENDPOINTS:
                self._endpoints = {k: v for k, v in self._endpoints.items() if not v.is_idle}
            found = self._endpoints[endpoint_id] = _Endpoint()
        return found
