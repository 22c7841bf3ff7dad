"""The list of promises: each a name, a sentence and a function that tries to break it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.vocabulary import NotApplicable, PromiseBroken

Check = Callable[[ConformanceHarness], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """``check`` raises PromiseBroken when it is broken, NotApplicable when no case fits."""

    name: str
    text: str
    check: Check


PROMISES: Final[dict[str, Promise]] = {}
"""By name, in the order of the page."""


def promise(text: str, *, name: str | None = None) -> Callable[[Check], Check]:
    """Register a function ``check_<name>`` as a promise."""

    def register(check: Check) -> Check:
        key = name or check.__name__.removeprefix("check_")
        if key in PROMISES:
            message = f"two promises are named {key}"
            raise ValueError(message)
        PROMISES[key] = Promise(name=key, text=text, check=check)
        return check

    return register


class Cases:
    """The cases of one promise: all are tried, and all that break it are told together.

    A promise of which every case was left out as not applicable is itself not applicable.
    """

    def __init__(self) -> None:
        self._kept = 0
        self._broken: list[str] = []
        self._left_out: list[str] = []

    @contextmanager
    def case(self, title: str) -> Iterator[None]:
        """Try one case."""
        try:
            yield
        except NotApplicable as reason:
            self._left_out.append(str(reason))
        except AssertionError as error:
            self._broken.append(f"{title}: {error}")
        else:
            self._kept += 1

    def finish(self) -> None:
        """Raise what came of it."""
        if self._broken:
            raise PromiseBroken("\n".join(self._broken))
        if not self._kept:
            raise NotApplicable("; ".join(dict.fromkeys(self._left_out)) or "nothing to try")


@contextmanager
def cases() -> Iterator[Cases]:
    """The cases of a promise, finished when the block ends."""
    tried = Cases()
    yield tried
    tried.finish()
