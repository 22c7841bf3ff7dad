"""The class that an author subclasses: one test for each promise."""

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import pytest

from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import PROMISES
from qiao.channels.conformance.vocabulary import NotApplicable, PromiseBroken


class ChannelConformance:
    """Runs every promise; a subclass names its harness::

        class TestAlipay(ChannelConformance):
            harness = AlipayHarness

    The harness is made once for each class, so it may generate keys. A promise of which it says
    that no case applies is skipped, with the reason.
    """

    harness: ClassVar[type[ConformanceHarness]]
    known_gaps: ClassVar[Mapping[str, str]] = {}
    """Promises that are known to be broken, and why: expected to fail, and not to pass."""

    @pytest.mark.parametrize("promise", PROMISES)
    def test_promise(self, promise: str, request: pytest.FixtureRequest) -> None:
        if promise in self.known_gaps:
            gap = pytest.mark.xfail(
                raises=PromiseBroken, reason=self.known_gaps[promise], strict=True
            )
            request.applymarker(gap)
        try:
            PROMISES[promise].check(_made(self.harness))
        except NotApplicable as reason:
            pytest.skip(str(reason))


@cache
def _made(harness: type[ConformanceHarness]) -> ConformanceHarness:
    return harness()
