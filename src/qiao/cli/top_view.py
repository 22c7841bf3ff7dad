"""How ``qiao top`` looks: pure functions from what was read to tables and to JSON."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qiao.engine.operations import Recent, Snapshot, Waiting

WON: Final = ("succeeded", "surplus")
LOST: Final = ("declined", "not_sent", "unknown")
SLOWEST: Final = 6
LATE_SECONDS: Final = 60.0
GOOD_RATE, POOR_RATE = 0.95, 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation of one channel, since its processes started. ``p95_seconds`` is the upper end
    of its bucket: None when it is slower than the largest."""

    channel: str
    operation: str
    calls: int
    mean_seconds: float
    p95_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Everything that one look shows."""

    snapshot: Snapshot
    recent: Recent
    calls: list[Call] | None
    note: str

    def with_note(self, note: str) -> "Sight":
        return replace(self, note=note)

    def channels(self) -> list[str]:
        return sorted({*self.recent.attempts, *self.snapshot.unknown_attempts})

    def document(self) -> dict[str, Any]:
        """For programs: what was read, and the rates."""
        snapshot, recent = self.snapshot, self.recent
        return {
            "taken_at": snapshot.taken_at,
            "since": recent.since,
            "events": dict(recent.events),
            "channels": [
                {
                    "channel": channel,
                    "attempts": dict(recent.attempts.get(channel, {})),
                    "success_rate": success_rate(recent.attempts.get(channel, {})),
                    "unknown": snapshot.unknown_attempts.get(channel, Waiting()),
                }
                for channel in self.channels()
            ],
            "jobs_due": dict(snapshot.jobs_due),
            "jobs_abandoned": dict(snapshot.jobs_abandoned),
            "webhooks_pending": snapshot.webhooks_pending,
            "slowest_calls": self.calls,
            "anomalies": {"open": dict(snapshot.anomalies_open), "newest": list(recent.anomalies)},
            "note": self.note,
        }


def success_rate(states: Mapping[str, int]) -> float | None:
    """Of the attempts that came to an end by the channel's doing, those that brought money.

    Who closes the page says nothing about a channel, so closed and pending ones do not count.
    """
    won = sum(states.get(state, 0) for state in WON)
    ended = won + sum(states.get(state, 0) for state in LOST)
    return None if ended == 0 else round(won / ended, 4)


def slowest_calls(texts: Iterable[str]) -> list[Call]:
    """The slowest operations on average, from the metrics of every process together."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    buckets: dict[tuple[str, str], dict[float, int]] = defaultdict(lambda: defaultdict(int))
    for text in texts:
        for family in text_string_to_metric_families(text):
            if family.name != "qiao_channel_call_seconds":
                continue
            for sample in family.samples:
                key = (sample.labels["channel"], sample.labels["operation"])
                if sample.name.endswith("_sum"):
                    sums[key] += sample.value
                elif sample.name.endswith("_count"):
                    counts[key] += int(sample.value)
                elif sample.name.endswith("_bucket"):
                    buckets[key][float(sample.labels["le"])] += int(sample.value)
    found = [
        Call(
            channel=channel,
            operation=operation,
            calls=number,
            mean_seconds=round(sums[channel, operation] / number, 4),
            p95_seconds=_percentile(buckets[channel, operation], number),
        )
        for (channel, operation), number in counts.items()
        if number
    ]
    return sorted(found, key=lambda call: -call.mean_seconds)[:SLOWEST]


def _percentile(bucket: Mapping[float, int], number: int) -> float | None:
    found = next((le for le in sorted(bucket) if bucket[le] >= 0.95 * number), float("inf"))
    return None if found == float("inf") else found


def view(sight: Sight) -> RenderableType:
    """Everything, for a terminal of 100 columns."""
    snapshot, recent = sight.snapshot, sight.recent
    minutes = (snapshot.taken_at - recent.since).total_seconds() / 60
    head = Text.assemble(
        ("Qiao 桥", "bold"),
        f"  {snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC, the last {minutes:.0f} minutes",
    )
    return Group(
        head,
        Text(sight.note, style="yellow"),
        _throughput(recent.events, minutes),
        "",
        _channels(sight),
        "",
        Columns([_waiting(snapshot), _calls(sight.calls)], padding=(0, 5)),
        "",
        _anomalies(sight),
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(
        box=None, pad_edge=False, title=title, title_justify="left", title_style="bold cyan"
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", header_style="dim")
    return table


def _throughput(events: Mapping[str, int], minutes: float) -> Table:
    names = ("payment.created", "payment.paid", "payment.closed", "payment.surplus",
             "refund.created", "refund.succeeded", "refund.failed")  # fmt: skip
    table = _table("Throughput", "", *(name.replace(".", " ") for name in names))
    table.add_row("number", *(str(events.get(name, 0)) for name in names))
    table.add_row("a minute", *(f"{events.get(name, 0) / minutes:.1f}" for name in names))
    return table


def _channels(sight: Sight) -> Table:
    states = ("succeeded", "pending", "declined", "not_sent", "closed", "surplus")
    names = (state.replace("_", " ") for state in states)
    table = _table("Channels", "channel", "attempts", *names, "success", "unknown", "oldest")
    for channel in sight.channels():
        found = sight.recent.attempts.get(channel, {})
        unknown = sight.snapshot.unknown_attempts.get(channel, Waiting())
        table.add_row(
            channel,
            str(sum(found.values())),
            *(str(found.get(state, 0)) for state in states),
            _rate(success_rate(found)),
            Text(str(unknown.number), style="red" if unknown.number else ""),
            _age(unknown),
        )
    if not sight.channels():
        table.add_row("no attempts")
    return table


def _waiting(snapshot: Snapshot) -> Table:
    table = _table("Waiting", "what", "due", "oldest", "given up")
    for kind in sorted({*snapshot.jobs_due, *snapshot.jobs_abandoned}):
        due = snapshot.jobs_due.get(kind, Waiting())
        abandoned = snapshot.jobs_abandoned.get(kind, 0)
        given_up = Text(str(abandoned), style="red" if abandoned else "")
        table.add_row(f"job {kind}", str(due.number), _age(due), given_up)
    webhooks = snapshot.webhooks_pending
    table.add_row("webhooks pending", str(webhooks.number), _age(webhooks), "")
    return table


def _calls(calls: list[Call] | None) -> Table:
    table = _table("Slowest calls", "operation", "calls", "mean", "95 % within")
    for call in calls or ():
        within = "more" if call.p95_seconds is None else f"{call.p95_seconds:g} s"
        mean = f"{call.mean_seconds * 1000:.0f} ms"
        table.add_row(f"{call.channel} {call.operation}", str(call.calls), mean, within)
    if not calls:
        table.add_row("not known" if calls is None else "none yet")
    return table


def _anomalies(sight: Sight) -> Table:
    number = sum(sight.snapshot.anomalies_open.values())
    table = _table(f"Anomalies: {number} open", "newest", "payment", "merchant", "since")
    for one in sight.recent.anomalies:
        table.add_row(
            Text(one.kind, style="red"),
            one.payment_id or "",
            one.merchant_id,
            f"{one.created_at:%m-%d %H:%M}",
        )
    if not sight.recent.anomalies:
        table.add_row("none")
    return table


def _rate(rate: float | None) -> Text:
    if rate is None:
        return Text("–")
    style = "green" if rate >= GOOD_RATE else "yellow" if rate >= POOR_RATE else "red"
    return Text(f"{rate:.1%}", style=style)


def _age(waiting: Waiting) -> Text:
    if not waiting.number:
        return Text("–")
    seconds = waiting.oldest_seconds
    style = "red" if seconds > LATE_SECONDS else ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return Text(f"{seconds / size:.0f} {unit}", style=style)
    return Text(f"{seconds:.0f} s", style=style)
