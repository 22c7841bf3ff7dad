"""What routing knows of a merchant, held for a second: rules, health of accounts, statistics.

Held as accounts are, so that choosing costs no query: what is saved or measured takes effect in
every process within that second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from qiao.engine.audit import PLATFORM
from qiao.engine.held import MAX_HELD, Held
from qiao.engine.routing.rules import NO_RULES, CompiledRules, Rules
from qiao.engine.versions import Version
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("routing")


class Circuit(StrEnum):
    """An account's breaker: open lets nothing through, half open is on probation."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The breaker of one account, and why it is as it is."""

    account_id: str
    state: Circuit
    changed_at: datetime
    open_until: datetime | None = None
    openings: int = 0
    reason: str = ""

    def at(self, now: datetime) -> Circuit:
        """Its state now: an open one is on probation when its time is over, whoever looks."""
        over = self.open_until is not None and self.open_until <= now
        return Circuit.HALF_OPEN if self.state is Circuit.OPEN and over else self.state


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an account's attempts with one product in the last minutes."""

    account_id: str
    product: str
    succeeded: int
    failed: int
    latency_ms: int
    answers: int

    @property
    def success_basis_points(self) -> int:
        """The share that succeeded; one of each is added, so that few attempts say little."""
        return (self.succeeded + 1) * 10_000 // (self.succeeded + self.failed + 2)


class Saved(Version, frozen=True, kw_only=True):
    """A version of a merchant's rules, or of the platform's."""

    rules: Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All of it at one moment; ``saved`` is None where nobody has saved rules."""

    rules: CompiledRules
    saved: Saved | None
    health: Mapping[str, Health]
    statistics: Mapping[tuple[str, str], Statistics]

    @property
    def version(self) -> int:
        return self.saved.version if self.saved else 0

    @property
    def owner(self) -> str:
        return self.saved.owner if self.saved else "nobody"


WITHOUT_RULES: Final = CompiledRules(NO_RULES)


class Routing:
    """Holds what is known of each merchant; compiled rules as long as they do not change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Held[tuple[str, bool], Known] = Held()
        self._compiled: dict[tuple[str, bool, int], CompiledRules] = {}
        self._watches: dict[tuple[str, float], datetime] = {}

    async def of(self, merchant_id: str, *, live: bool) -> Known:
        """What is known now, or was within the last second."""

        async def look_up() -> Known:
            row = await self._database.fetch_row(SQL.routing_now, merchant_id, live, PLATFORM)
            assert row is not None  # noqa: S101 - a SELECT without FROM
            return self._read(row["own"], row["platform"], row["health"], row["statistics"])

        return await self._known.of((merchant_id, live), look_up)

    def forget(self, merchant_id: str) -> None:
        """Look the merchant up again: something has changed. What the platform's is, is all's."""
        self._known.forget_where(lambda key: merchant_id in (PLATFORM, key[0]))

    def asks_for_statistics(self, merchant_id: str) -> bool:
        """Whether the rules that are held do, in either mode; costs no query."""
        held = (self._known.peek((merchant_id, live)) for live in (False, True))
        return any(one is not None and one.rules.measured for one in held)

    def next_watch(self, merchant_id: str, every_seconds: float, now: datetime) -> datetime | None:
        """When to look at the accounts next; None when that is arranged already.

        Whatever happens is looked at afterwards, and nobody looks more often than that.
        """
        pace = timedelta(seconds=every_seconds)
        last = self._watches.get((merchant_id, every_seconds))
        if last is not None and now < last <= now + pace:  # later: the clock has been set back
            return None
        if len(self._watches) >= MAX_HELD:
            self._watches.clear()
        at = now if last is None or last > now else max(now, last + pace)
        self._watches[merchant_id, every_seconds] = at
        return at

    def _read(self, own: Any, platform: Any, health: Any, statistics: Any) -> Known:
        saved = [msgspec.convert(one, Saved) for one in (own, platform) if one is not None]
        counts = next((one for one in saved if not one.rules.inherit), None)
        found = msgspec.convert(health, list[Health])
        measured = msgspec.convert(statistics, list[Statistics])
        return Known(
            rules=self._compile(counts) if counts else WITHOUT_RULES,
            saved=counts,
            health={one.account_id: one for one in found},
            statistics={(one.account_id, one.product): one for one in measured},
        )

    def _compile(self, saved: Saved) -> CompiledRules:
        key = (saved.merchant_id, saved.live, saved.version)
        if key not in self._compiled:
            if len(self._compiled) >= MAX_HELD:
                self._compiled.clear()
            self._compiled[key] = CompiledRules(saved.rules)
        return self._compiled[key]
