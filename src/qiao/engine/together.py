"""What several ask for in the same moment, asked of the database at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class Together(Generic[Given, Found]):
    """Gathers what is asked while the last question is under way, or within a turn of the loop.

    ``work`` gives one answer for each thing given, in order; what it raises, all of them get.
    """

    def __init__(
        self, work: Callable[[Sequence[Given]], Awaitable[Sequence[Found]]], *, most: int = 64
    ) -> None:
        self._work = work
        self._most = most
        self._asked: deque[tuple[Given, asyncio.Future[Found]]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, given: Given) -> Found:
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._asked.append((given, answer))
        if self._asking is None or self._asking.done():
            # In a context of its own: one asker's time and trace are not those of the others.
            self._asking = asyncio.create_task(self._ask(), context=Context())
        return await answer

    async def _ask(self) -> None:
        while self._asked:
            count = min(len(self._asked), self._most)
            batch = [self._asked.popleft() for _ in range(count)]
            try:
                found = await self._work([given for given, _ in batch])
                pairs = list(zip(batch, found, strict=True))
            except BaseException as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, answer), one in pairs:
                    if not answer.done():  # who asked may have been cancelled
                        answer.set_result(one)
