"""The pytest plug-in: marks conformance tests and ends the run with what each channel promised.

``ChannelConformance`` works without it. ``pytest_plugins = ["qiao.channels.conformance.plugin"]``
in a ``conftest.py``, or ``-p qiao.channels.conformance.plugin``, turns it on.
"""

from collections import defaultdict
from collections.abc import Iterable

import pytest

from qiao.channels.conformance.suite import ChannelConformance


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conformance: a promise of the channel interface")


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Let ``-m conformance`` choose the suite."""
    for item in items:
        owner = getattr(item, "cls", None)
        if isinstance(owner, type) and issubclass(owner, ChannelConformance):
            item.add_marker(pytest.mark.conformance)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say for each class how many promises were kept, and which did not apply and why."""
    kept: dict[str, int] = defaultdict(int)
    broken: dict[str, list[str]] = defaultdict(list)
    gaps: dict[str, list[str]] = defaultdict(list)
    left_out: dict[str, list[str]] = defaultdict(list)
    for outcome in ("passed", "failed", "xfailed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            if "conformance" not in getattr(report, "keywords", {}):
                continue
            owner, _, test = report.nodeid.rpartition("::")
            name = test.partition("[")[2].rstrip("]")
            if outcome == "passed":
                kept[owner] += 1
            elif outcome == "failed":
                broken[owner].append(name)
            elif outcome == "xfailed":
                gaps[owner].append(f"known gap: {name}: {report.wasxfail}")
            else:
                left_out[owner].append(f"{name}: {_reason(report)}")
    for owner in sorted({*kept, *broken, *gaps, *left_out}):
        terminalreporter.section(f"conformance of {owner}")
        terminalreporter.line(
            f"{kept[owner]} promises kept, {len(broken[owner])} broken, "
            f"{len(gaps[owner])} known gaps, {len(left_out[owner])} not applicable"
        )
        shown = (*(f"broken: {name}" for name in broken[owner]), *gaps[owner], *left_out[owner])
        for line in shown:
            terminalreporter.line(f"  {line}")


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else ""
