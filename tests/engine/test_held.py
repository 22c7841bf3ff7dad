"""What is held for a second: never older, and looked up by one of many who ask."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.engine import held
from qiao.engine.held import HELD_SECONDS, MAX_HELD, RENEWED_AFTER_SECONDS, Held
from qiao.store.errors import StoreUnavailable
from tests.engine.seconds import HandClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr(held, "loop_seconds", made)
    return made


class Source:
    """Answers with the number of the question, as soon as ``answers`` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.answers.wait()
        return number


async def test_one_of_many_renews_it_and_the_others_use_it_meanwhile(clock: HandClock) -> None:
    values: Held[str, int] = Held()
    source = Source()
    assert await values.of("key", source) == 1
    clock.seconds += RENEWED_AFTER_SECONDS
    source.answers.clear()
    asking = [asyncio.create_task(values.of("key", source)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting = [one for one in asking if not one.done()]
    assert len(waiting) == 1
    assert {one.result() for one in asking if one.done()} == {1}
    assert source.asked == 2
    source.answers.set()
    assert await waiting[0] == 2
    assert await values.of("key", source) == 2


async def test_who_renews_and_fails_leaves_it_to_the_others(clock: HandClock) -> None:
    values: Held[str, int] = Held()
    source = Source()
    await values.of("key", source)

    async def fail() -> int:
        raise StoreUnavailable("no")

    clock.seconds += RENEWED_AFTER_SECONDS
    with pytest.raises(StoreUnavailable):
        await values.of("key", fail)
    assert await values.of("key", source) == 1
    clock.seconds += HELD_SECONDS
    assert await values.of("key", source) == 2


async def test_what_is_forgotten_while_it_is_renewed_is_looked_up_again(clock: HandClock) -> None:
    values: Held[str, int] = Held()
    source = Source()
    await values.of("key", source)
    clock.seconds += RENEWED_AFTER_SECONDS
    assert values.held("key") is None
    values.forget_where(lambda key: key == "key")
    assert values.peek("key") is None
    assert await values.of("key", source) == 2


async def test_nothing_is_a_value_too(clock: HandClock) -> None:
    values: Held[str, None] = Held()
    asked = 0

    async def look_up() -> None:
        nonlocal asked
        asked += 1

    for _ in range(3):
        await values.of("key", look_up)
    assert asked == 1


async def test_there_are_never_too_many(clock: HandClock) -> None:
    values: Held[int, int] = Held()
    for number in range(MAX_HELD + 1):
        values.hold(number, number, since=clock())
    assert values.peek(MAX_HELD) == MAX_HELD
    assert values.peek(0) is None


@given(steps=st.lists(st.floats(0, 0.6), max_size=30))
def test_it_is_never_older_than_a_second(steps: list[float]) -> None:
    clock = HandClock()
    values: Held[str, float] = Held()

    async def now() -> float:
        return clock.seconds

    async def go_on() -> None:
        for step in steps:
            clock.seconds += step
            assert clock.seconds - await values.of("key", now) < HELD_SECONDS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held, "loop_seconds", clock)
        asyncio.run(go_on())
