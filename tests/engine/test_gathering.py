"""Many questions of one moment are one question; each gets its own answer, or the error."""

import asyncio
from collections.abc import Sequence

import pytest

from qiao.engine.gathering import Gathered


class Oracle:
    """Doubles what it is given, once ``open`` is set; a negative number is an error."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked: list[list[int]] = []

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await self.open.wait()
        if min(numbers) < 0:
            raise ValueError("negative")
        return [number * 2 for number in numbers]


async def begun(oracle: Oracle, count: int) -> None:
    while len(oracle.asked) < count:
        await asyncio.sleep(0)


async def test_what_comes_meanwhile_goes_together() -> None:
    oracle = Oracle()
    ask = Gathered(oracle)
    first = asyncio.create_task(ask(1))
    await begun(oracle, 1)
    rest = [asyncio.create_task(ask(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    oracle.open.set()
    assert [await task for task in (first, *rest)] == [2, 4, 6, 8]
    assert oracle.asked == [[1], [2, 3, 4]]
    assert await ask(5) == 10


async def test_an_error_is_everybodys_who_waited_and_nobodys_later() -> None:
    oracle = Oracle()
    oracle.open.set()
    ask = Gathered(oracle)
    failed = await asyncio.gather(ask(1), ask(-1), return_exceptions=True)
    assert [type(one) for one in failed] == [ValueError, ValueError]
    assert await ask(1) == 2


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    oracle = Oracle()
    ask = Gathered(oracle)
    impatient, patient = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
    await begun(oracle, 1)
    impatient.cancel()
    oracle.open.set()
    assert await patient == 4
    with pytest.raises(asyncio.CancelledError):
        await impatient
