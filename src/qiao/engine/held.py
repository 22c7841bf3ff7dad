"""What is looked up in the database and held for a second: accounts, keys, rules, prices.

There is no message between processes that could get lost: what changes counts in every process
within that second, and whatever must not be late is guarded by the statement that writes.

Under load many ask for the same value at the same moment. So that they do not all look it up when
it is no longer held, the first who asks late in its second does; the others use it meanwhile.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from qiao.store.clock import loop_seconds

HELD_SECONDS: Final = 1.0
RENEWED_AFTER_SECONDS: Final = 0.75
MAX_HELD: Final = 10_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _One(Generic[Value]):
    value: Value
    renewed_from: float
    until: float


class Held(Generic[Key, Value]):
    """Values by key, each held for a second; never more than 10,000 of them."""

    def __init__(self) -> None:
        self._held: dict[Key, _One[Value]] = {}

    async def of(self, key: Key, look_up: Callable[[], Awaitable[Value]]) -> Value:
        """The value that is held, or what ``look_up`` finds; what that raises holds nothing."""
        if (one := self._fresh(key)) is not None:
            return one.value
        since = loop_seconds()
        value = await look_up()
        self.hold(key, value, since=since)
        return value

    def held(self, key: Key) -> Value | None:
        """The value that is held. None asks the caller to look it up, and to ``hold`` it."""
        one = self._fresh(key)
        return None if one is None else one.value

    def hold(self, key: Key, value: Value, *, since: float) -> None:
        """What was found by a question that was asked at ``since``, in seconds of the loop."""
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[key] = _One(value, since + RENEWED_AFTER_SECONDS, since + HELD_SECONDS)

    def peek(self, key: Key) -> Value | None:
        """The value last looked up, however long ago; None when there is none."""
        one = self._held.get(key)
        return None if one is None else one.value

    def forget(self, *keys: Key) -> None:
        """Look these up again."""
        for key in keys:
            self._held.pop(key, None)

    def forget_where(self, condition: Callable[[Key], bool]) -> None:
        """Look up again all of which it holds."""
        self.forget(*[key for key in self._held if condition(key)])

    def _fresh(self, key: Key) -> _One[Value] | None:
        one, now = self._held.get(key), loop_seconds()
        if one is None or now >= one.until:
            return None
        if now >= one.renewed_from:
            one.renewed_from = one.until  # by this caller, and by nobody else
            return None
        return one
