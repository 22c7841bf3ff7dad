"""``qiao top``: the rates, and the slowest calls from several processes' metrics."""

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from qiao.cli.top_view import slowest_calls, success_rate


@pytest.mark.parametrize(
    ("states", "rate"),
    [
        ({}, None),
        ({"pending": 3, "closed": 2, "sending": 1}, None),
        ({"succeeded": 3, "declined": 1, "closed": 9}, 0.75),
        ({"succeeded": 1, "unknown": 1}, 0.5),
        ({"surplus": 1}, 1.0),
        ({"not_sent": 2}, 0.0),
    ],
)
def test_success_rate(states: dict[str, int], rate: float | None) -> None:
    assert success_rate(states) == rate


def exposition(*seconds: float) -> str:
    registry = CollectorRegistry()
    histogram = Histogram(
        "qiao_channel_call_seconds",
        "-",
        ("channel", "operation"),
        buckets=(0.1, 1.0),
        registry=registry,
    )
    for value in seconds:
        histogram.labels("alipay", "create").observe(value)
    histogram.labels("wechat", "query").observe(0.01)
    return generate_latest(registry).decode()


def test_processes_are_added_up_and_the_slowest_comes_first() -> None:
    first, second = slowest_calls([exposition(0.05, 0.5), exposition(0.5)])
    assert (first.channel, first.operation, first.calls) == ("alipay", "create", 3)
    assert (first.mean_seconds, first.p95_seconds) == (0.35, 1.0)
    assert (second.channel, second.calls, second.p95_seconds) == ("wechat", 2, 0.1)


def test_slower_than_every_bucket() -> None:
    [first, _] = slowest_calls([exposition(20.0)])
    assert first.p95_seconds is None
