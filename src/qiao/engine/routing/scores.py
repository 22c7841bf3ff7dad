"""Put the accounts of a row in order: pure, and the same for the same random bytes."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from qiao.domain.fees import BASIS
from qiao.engine.accounts import Account
from qiao.engine.routing.rules import Strategy
from qiao.engine.routing.state import Statistics

UNMEASURED: Final = Statistics(
    account_id="", product="", succeeded=0, failed=0, latency_ms=0, answers=0
)
SEED_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An account that may be chosen, and what speaks for it; ``cost_minor`` where a fee is told."""

    account: Account
    weight: int = 1
    cost_minor: int | None = None
    statistics: Statistics = UNMEASURED
    on_probation: bool = False


def in_order(
    candidates: Sequence[Candidate],
    strategy: Strategy,
    *,
    subject: str,
    amount_minor: int,
    random_bytes: Callable[[int], bytes],
    explore_percent: int,
) -> list[Candidate]:
    """The best first; those on probation after all others, in the same order.

    A fee that nobody told is higher than any, a latency that nobody measured longer than any.
    """
    ordered: Sequence[Candidate]
    match strategy:
        case Strategy.PRIORITY:
            ordered = candidates
        case Strategy.SPLIT:
            ordered = _split(candidates, subject)
        case Strategy.COST:
            ordered = sorted(candidates, key=_cost)
        case Strategy.SUCCESS:
            ordered = sorted(candidates, key=lambda one: -one.statistics.success_basis_points)
        case Strategy.LATENCY:
            ordered = sorted(candidates, key=_latency)
        case Strategy.VALUE:
            ordered = sorted(candidates, key=lambda one: -value(one, amount_minor))
        case Strategy.BANDIT:
            chance = random.Random(random_bytes(SEED_BYTES))
            ordered = _bandit(candidates, chance, explore_percent)
        case _:
            assert_never(strategy)
    return sorted(ordered, key=lambda one: one.on_probation)


def value(candidate: Candidate, amount_minor: int) -> int:
    """What an attempt may be expected to bring, in minor units, rounded down."""
    left = amount_minor - (candidate.cost_minor or 0)
    return left * candidate.statistics.success_basis_points // BASIS


def _cost(candidate: Candidate) -> tuple[bool, int]:
    return candidate.cost_minor is None, candidate.cost_minor or 0


def _latency(candidate: Candidate) -> tuple[bool, int]:
    return not candidate.statistics.answers, candidate.statistics.latency_ms


def _split(candidates: Sequence[Candidate], subject: str) -> list[Candidate]:
    """By weight, without chance: each place is drawn from the hash of the subject and the place."""
    left = [one for one in candidates if one.weight]
    ordered: list[Candidate] = []
    while left:
        digest = hashlib.sha256(f"{subject}:{len(ordered)}".encode()).digest()
        mark = int.from_bytes(digest) % sum(one.weight for one in left)
        for one in left:
            mark -= one.weight
            if mark < 0:
                break
        left.remove(one)
        ordered.append(one)
    return ordered + [one for one in candidates if not one.weight]


def _bandit(
    candidates: Sequence[Candidate], chance: random.Random, explore_percent: int
) -> list[Candidate]:
    """Thompson sampling: each account draws from what its attempts leave open."""
    if chance.randrange(100) < explore_percent:
        return chance.sample(candidates, len(candidates))
    drawn = [
        chance.betavariate(one.statistics.succeeded + 1, one.statistics.failed + 1)
        for one in candidates
    ]
    places = sorted(range(len(candidates)), key=lambda place: -drawn[place])
    return [candidates[place] for place in places]
