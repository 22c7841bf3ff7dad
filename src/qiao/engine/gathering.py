"""Ask the database once for what many ask for at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


class Gathered(Generic[Given, Result]):
    """What is asked for while an answer is awaited goes together into the next question.

    ``ask`` takes many at once and gives their results in the same order. When it raises, everybody
    who waited for that answer gets the error; what comes later is asked for anew.
    """

    def __init__(self, ask: Callable[[Sequence[Given]], Awaitable[Sequence[Result]]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[Given, asyncio.Future[Result]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, given: Given) -> Result:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((given, result))
        if self._asking is None:
            self._asking = loop.create_task(self._run())
        return await result

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: list[tuple[Given, asyncio.Future[Result]]]) -> None:
        waiting = [result for _, result in batch]
        try:
            results = await self._ask([given for given, _ in batch])
            for future, result in zip(waiting, results, strict=True):
                if not future.done():  # who asked may have been cancelled
                    future.set_result(result)
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
