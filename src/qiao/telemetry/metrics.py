"""Every metric of Qiao, in one place; each process keeps its own and shows them at ``/metrics``.

No label holds an id, an address or anything else without bounds: channels, products, kinds of jobs
and routes are all that tells the series apart. Counters tell rates, not the truth about money,
which the books do.
"""

from functools import lru_cache
from typing import Any, Final, Protocol
from weakref import WeakSet

from prometheus_client import (
    GC_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
NONE: Final = "none"
"""The label's value where there is no channel, product or route."""
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads
REGISTRY: Final = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
REGISTRY.register(GC_COLLECTOR)

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PATIENT: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0, 259_200.0)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = QUICK) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


HTTP_REQUESTS = _counter(
    "qiao_http_requests", "Requests answered at the doors.", "route", "method", "status"
)
HTTP_SECONDS = _histogram(
    "qiao_http_request_seconds",
    "From a request's head to the end of its answer.",
    "route",
    "method",
)
STREAMS_OPEN = _gauge("qiao_http_streams_open", "Open pages that hear of their payment.")

PAYMENTS = _counter(
    "qiao_payments",
    "Payments that were accepted, paid, closed, or got surplus money.",
    "event",
    "channel",
    "product",
)
ATTEMPTS = _counter(
    "qiao_attempts", "Attempts that came to a state.", "channel", "product", "outcome"
)
CHANNEL_CALLS = _counter(
    "qiao_channel_calls",
    "Operations run on channels, by what came of them.",
    "channel",
    "operation",
    "outcome",
)
CHANNEL_SECONDS = _histogram(
    "qiao_channel_call_seconds", "How long a channel's operation took.", "channel", "operation"
)
REFUNDS = _counter("qiao_refunds", "Refunds that came to a state.", "channel", "outcome")
NOTIFICATIONS = _counter(
    "qiao_notifications",
    "Notifications from channels: accepted, or why they were rejected.",
    "channel",
    "result",
)
WEBHOOKS = _counter("qiao_webhook_deliveries", "Tries to deliver an event, by result.", "result")
WEBHOOK_AGE_SECONDS = _histogram(
    "qiao_webhook_age_seconds", "From an event to its delivery.", buckets=PATIENT
)
JOBS = _counter("qiao_jobs", "Runs of the outbox's jobs, by how they ended.", "kind", "verdict")
JOB_SECONDS = _histogram("qiao_job_seconds", "How long a job's handler took.", "kind")
DATABASE_WAIT_SECONDS = _histogram(
    "qiao_database_wait_seconds",
    "Waiting for a connection where none was at hand.",
    buckets=(0.001, 0.01, 0.1, 1.0, 10.0),
)

# Read from the database by workers, every few seconds: the same for all of them.
UNKNOWN_ATTEMPTS = _gauge("qiao_unknown_attempts", "Attempts whose outcome is unknown.", "channel")
UNKNOWN_AGE_SECONDS = _gauge(
    "qiao_unknown_attempt_oldest_seconds", "Age of the oldest of them.", "channel"
)
JOBS_DUE = _gauge("qiao_jobs_due", "Jobs that could run now.", "kind")
JOB_DUE_SECONDS = _gauge(
    "qiao_job_due_oldest_seconds", "How long the oldest of them has been due.", "kind"
)
JOBS_ABANDONED = _gauge("qiao_jobs_abandoned", "Jobs given up, for a person to look at.", "kind")
WEBHOOKS_PENDING = _gauge("qiao_webhooks_pending", "Deliveries not made yet.")
WEBHOOK_PENDING_SECONDS = _gauge(
    "qiao_webhook_pending_oldest_seconds", "Age of the oldest event not delivered yet."
)
ANOMALIES_OPEN = _gauge("qiao_anomalies_open", "What may not happen and did, unresolved.", "kind")
PERIODS_AHEAD_SECONDS = _gauge(
    "qiao_periods_ahead_seconds", "For how long yet partitions by time are made in advance."
)
SNAPSHOT_TIMESTAMP_SECONDS = _gauge(
    "qiao_snapshot_timestamp_seconds", "When the gauges of the database were last read."
)


@lru_cache(maxsize=10_000)
def _series(metric: Any, labels: tuple[str, ...]) -> Any:
    """Held, because looking a series up by its labels costs more than counting."""
    return metric.labels(*labels) if labels else metric


def count(metric: Counter, *labels: str) -> None:
    """One more, in the series of these labels."""
    _series(metric, labels).inc()


def observe(metric: Histogram, seconds: float, *labels: str) -> None:
    """It took so many seconds, in the series of these labels."""
    _series(metric, labels).observe(seconds)


class Pool(Protocol):
    """What the metrics want to know of a pool of connections."""

    def sizes(self) -> tuple[int, int, int]:
        """Connections in use, idle, and how many there may be."""


class _Pools(Collector):
    """Asks the pools only when somebody asks us: a statement pays nothing for it."""

    def __init__(self) -> None:
        self.open: WeakSet[Pool] = WeakSet()

    def collect(self) -> list[GaugeMetricFamily]:
        sizes = [pool.sizes() for pool in list(self.open)]
        now = GaugeMetricFamily(
            "qiao_database_connections", "Connections of the pool.", labels=["state"]
        )
        now.add_metric(["in_use"], sum(size[0] for size in sizes))
        now.add_metric(["idle"], sum(size[1] for size in sizes))
        most = GaugeMetricFamily(
            "qiao_database_connections_limit",
            "How many connections the pool may have.",
            value=sum(size[2] for size in sizes),
        )
        return [now, most]


POOLS: Final = _Pools()
REGISTRY.register(POOLS)


def exposition() -> bytes:
    """Everything, in Prometheus' text format."""
    return generate_latest(REGISTRY)
