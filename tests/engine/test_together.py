"""What is asked in the same moment goes out at once, and everybody gets the answer to theirs."""

import asyncio
from collections.abc import Sequence

import pytest

from qiao.engine.together import Together


async def test_one_question_for_a_moment_and_each_gets_theirs() -> None:
    asked: list[list[int]] = []
    go_on = asyncio.Event()

    async def double(given: Sequence[int]) -> list[int]:
        asked.append(list(given))
        await go_on.wait()
        return [2 * one for one in given]

    together = Together(double, most=3)
    first = asyncio.create_task(together.ask(1))
    while not asked:
        await asyncio.sleep(0)
    later = [asyncio.create_task(together.ask(number)) for number in range(2, 7)]
    await asyncio.sleep(0)
    later[0].cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert await first == 2
    assert await asyncio.gather(*later[1:]) == [6, 8, 10, 12]
    assert asked == [[1], [2, 3, 4], [5, 6]]
    assert await together.ask(7) == 14


async def test_an_error_is_everybodys_and_the_next_question_is_asked() -> None:
    answers = [OSError("gone"), None]

    async def work(given: Sequence[int]) -> Sequence[int]:
        if (error := answers.pop(0)) is not None:
            raise error
        return given

    together = Together(work)
    both = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert [type(one) for one in both] == [OSError, OSError]
    assert await together.ask(3) == 3


async def test_an_answer_too_few_is_a_mistake_that_is_told() -> None:
    async def work(given: Sequence[int]) -> Sequence[int]:
        return given[1:]

    with pytest.raises(ValueError, match="shorter"):
        await Together(work).ask(1)
