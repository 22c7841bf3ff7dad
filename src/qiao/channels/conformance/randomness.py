"""The settings of every random try: repeatable, and without a clock or a database of examples."""

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

from qiao.channels.conformance.harness import ConformanceHarness

Test = TypeVar("Test", bound=Callable[..., Any])


def random_settings(harness: ConformanceHarness) -> Callable[[Test], Test]:
    """Decorates a property: as many examples as the harness wants, the same ones at every run."""
    return settings(
        max_examples=harness.examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
