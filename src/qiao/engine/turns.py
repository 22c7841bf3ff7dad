"""A queue of those who wait for their turn, each for a bounded time, the first first."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """``wait`` for a turn; whoever has one to give says ``give``. Of one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, seconds: float, *, give_back: Callable[[], None]) -> bool:
        """Whether a turn came in time. One that comes to a task being cancelled is given back."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if turn.done() and turn.result():
                give_back()
            raise
        finally:
            if not turn.done():
                self._waiting.remove(turn)
        return turn.done() and turn.result()

    def give(self) -> None:
        """To the first who waits; there must be one."""
        self._waiting.popleft().set_result(True)

    def refuse_all(self) -> None:
        """Nobody gets a turn."""
        while self._waiting:
            self._waiting.popleft().set_result(False)
