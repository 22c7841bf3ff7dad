"""The conformance suite: one set of promises that every channel passes.

An author subclasses :class:`ChannelConformance` and supplies a :class:`ConformanceHarness`: the
channel's settings, and a counterpart that speaks its wire independently of the adapter. pytest and
Hypothesis are needed, so nothing of the platform imports this package.
"""

from qiao.channels.conformance import checks
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import PROMISES, Promise
from qiao.channels.conformance.suite import ChannelConformance
from qiao.channels.conformance.vocabulary import (
    Account,
    Forgery,
    NotApplicable,
    PromiseBroken,
    Situation,
    StatementSample,
    Status,
    Understood,
    Verb,
)

__all__ = [
    "PROMISES",
    "Account",
    "ChannelConformance",
    "ConformanceHarness",
    "Forgery",
    "NotApplicable",
    "Promise",
    "PromiseBroken",
    "Situation",
    "StatementSample",
    "Status",
    "Understood",
    "Verb",
    "checks",
]
