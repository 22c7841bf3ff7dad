"""Who comes in when more is asked than can be done: what matters most keeps its room.

A request takes a slot while it is served. Each kind may fill only a part of them, so that a flood
of new orders leaves room for notifications and refunds, and one of lists leaves room for orders.
A few wait in a bounded queue, a moment; everybody else is told at once to come back later.
"""

from enum import IntEnum
from typing import Final

from qiao.engine.turns import Turns


class Kind(IntEnum):
    """What a request is about, by what is lost when it is refused; the last counts most."""

    LIST = 0
    """A list, or what has become of a payment that somebody watches: it is asked for again."""
    CREATE = 1
    """A new order or attempt, and the cashier's pages: the customer can try again."""
    ACT = 2
    """On money that is there or under way: a refund, a question, a closing."""
    NOTIFY = 3
    """A channel tells what has happened."""


SHARES: Final = {Kind.LIST: 0.25, Kind.CREATE: 0.75, Kind.ACT: 0.9, Kind.NOTIFY: 1.0}
"""How far of the slots each kind may fill, whoever holds them."""
WAIT_SECONDS: Final = {Kind.LIST: 0.25, Kind.CREATE: 0.5, Kind.ACT: 1.0, Kind.NOTIFY: 2.0}
UNLIMITED_PATHS: Final = ("/health", "/livez", "/readyz", "/metrics")
"""What watches this server must hear from it just when it is busy."""


def is_stream(path: str) -> bool:
    """Whether the answer goes on for as long as somebody looks at a page."""
    return path.startswith("/cashier/") and path.endswith("/events")


def kind_of(method: str, path: str) -> Kind | None:
    """None for what is always let in."""
    if path in UNLIMITED_PATHS:
        return None
    if path.startswith("/cashier/") and path.endswith(("/events", "/state")):
        return Kind.LIST  # a page that waits asks again
    parts = path.strip("/").split("/")
    if parts[0] == "notify":
        return Kind.NOTIFY
    if parts[0] == "order" or (parts[:2] == ["v1", "refunds"] and len(parts) > 2):
        return Kind.ACT
    if parts[:2] == ["v1", "payments"] and len(parts) > 2:
        return Kind.CREATE if parts[3:] == ["attempts"] else Kind.ACT
    if method in ("GET", "HEAD") and parts[0] in ("v1", "docs", "schema"):
        return Kind.LIST
    return Kind.CREATE


class Admission:
    """``enter`` before serving, and ``leave`` afterwards when it said yes."""

    def __init__(self, *, slots: int) -> None:
        self._ceilings = {kind: max(1, int(slots * share)) for kind, share in SHARES.items()}
        self._taken = 0
        self._turns = {kind: Turns() for kind in Kind}
        self._by_weight = [(self._turns[kind], self._ceilings[kind]) for kind in reversed(Kind)]

    def room(self, kind: Kind) -> int:
        """How many more of a kind would find a slot or a place to wait for one."""
        ceiling = self._ceilings[kind]
        places = max(2, ceiling // 4) - len(self._turns[kind])
        return max(0, ceiling - self._taken) + max(0, places)

    async def enter(self, kind: Kind) -> bool:
        """Whether there is a slot for it, at once or within a moment."""
        if self._taken < self._ceilings[kind] and not self._turns[kind]:
            self._taken += 1
            return True
        if not self.room(kind):
            return False
        return await self._turns[kind].wait(WAIT_SECONDS[kind], give_back=self.leave)

    def leave(self) -> None:
        """Give the slot to whoever matters most of those who may have it."""
        self._taken -= 1
        for turns, ceiling in self._by_weight:
            while turns and self._taken < ceiling:
                self._taken += 1
                turns.give()
