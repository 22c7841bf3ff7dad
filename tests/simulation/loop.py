"""An event loop with a clock of its own, whose order of doing things is drawn from a seed.

Nothing in it waits for the outside world. When nothing is ready, the clock jumps to the next timer;
when several things are ready, chance says which comes first. The same seed does the same again.
"""

import asyncio
import random
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any, NoReturn


class NothingHappens(Exception):
    """Everybody waits for somebody, and no timer is set: the program hangs."""


class _Selector(selectors.SelectSelector):
    """Instead of waiting, moves the loop's clock."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingHappens
        self.loop.seconds += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """``seconds`` is its clock, from zero."""

    def __init__(self, seed: int) -> None:
        selector = _Selector()
        selector.loop = self
        self.seconds = 0.0
        self._chance = random.Random(f"loop-{seed}")
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        ready: Any = self._ready  # type: ignore[attr-defined]
        ready.pop()
        ready.insert(self._chance.randint(0, len(ready)), handle)
        return handle

    def call_soon_threadsafe(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("a thread would make the simulation depend on the machine")
