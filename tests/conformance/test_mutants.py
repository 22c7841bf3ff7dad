"""Each promise, broken once: the suite finds that promise broken, and no other."""

import runpy
from pathlib import Path

import pytest

from qiao.channels.conformance import PROMISES, NotApplicable
from qiao.channels.conformance.example import ToyChannel, ToyHarness, ToySettings
from qiao.channels.interface import ChannelType

MUTANTS: list[tuple[str, type[ToyChannel]]] = [
    mutant
    for file in ("mutants_asking.py", "mutants_believing.py")
    for mutant in runpy.run_path(str(Path(__file__).with_name(file)))["MUTANTS"]
]


class MutantHarness(ToyHarness):
    """Toy's side, against a broken adapter."""

    examples = 25

    def __init__(self, mutant: type[ToyChannel]) -> None:
        self.channel_type = ChannelType(
            manifest=mutant.manifest,
            settings=getattr(mutant, "settings_type", ToySettings),
            open=mutant,
        )


def broken_promises(mutant: type[ToyChannel]) -> dict[str, str]:
    """What the suite finds, with its words; each promise meets a harness of its own."""
    found = {}
    for name, promise in PROMISES.items():
        try:
            promise.check(MutantHarness(mutant))
        except NotApplicable:
            continue
        except AssertionError as error:
            found[name] = str(error)
    return found


@pytest.mark.parametrize(
    ("promise", "mutant"), MUTANTS, ids=[f"{p}-{m.__name__}" for p, m in MUTANTS]
)
def test_a_mutant_breaks_its_promise_and_no_other(promise: str, mutant: type[ToyChannel]) -> None:
    found = broken_promises(mutant)
    assert set(found) == {promise}, found


def test_the_sound_channel_breaks_nothing_and_leaves_nothing_out() -> None:
    for promise in PROMISES.values():
        promise.check(MutantHarness(ToyChannel))


def test_every_promise_has_a_mutant() -> None:
    assert {promise for promise, _ in MUTANTS} == set(PROMISES)
