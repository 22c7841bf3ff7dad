"""What is looked up in the database and held for a second: accounts, keys, rules, prices.

There is no message between processes that could get lost: what changes counts in every process
within that second, and whatever must not be late is guarded by the statement that writes.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from qiao.store.clock import loop_seconds

HELD_SECONDS: Final = 1.0
MAX_HELD: Final = 10_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Held(Generic[Key, Value]):
    """Values by key, each held for a second; never more than 10,000 of them."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[float, Value]] = {}

    async def of(self, key: Key, look_up: Callable[[], Awaitable[Value]]) -> Value:
        """The value that is held, or what ``look_up`` finds; what that raises holds nothing."""
        now = loop_seconds()
        held = self._held.get(key)
        if held is not None and now < held[0]:
            return held[1]
        value = await look_up()
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[key] = (now + HELD_SECONDS, value)
        return value

    def peek(self, key: Key) -> Value | None:
        """The value last looked up, however long ago; None when there is none."""
        held = self._held.get(key)
        return None if held is None else held[1]

    def forget(self, *keys: Key) -> None:
        """Look these up again."""
        for key in keys:
            self._held.pop(key, None)

    def forget_where(self, condition: Callable[[Key], bool]) -> None:
        """Look up again all of which it holds."""
        self.forget(*[key for key in self._held if condition(key)])
