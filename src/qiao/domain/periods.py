"""When the periods of a subscription are due, and on which days a charge is tried. Pure arithmetic.

Periods are numbered from 1. Days are calendar days of the subscription's own time zone. A monthly
period is due on its anchor day, or on the month's last day where the month has no such day; so the
anchor 31 is every month's end. A time of day that a clock leaves out in spring is the instant that
it would have been before the change, and one that it shows twice in autumn is the first of the two
(PEP 495, ``fold=0``).
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from qiao.domain.errors import InvalidInput

MAX_PERIODS: Final = 10_000
MAX_COUNT: Final = {"day": 366, "week": 52, "month": 24}
MAX_RETRIES: Final = 10
MAX_RETRY_DAY: Final = 30
RETRY_DAYS: Final = (1, 3, 5, 7)
"""How many days after the first try a charge that failed is tried again, unless told otherwise."""


class PeriodUnit(StrEnum):
    """In what a period of charges is counted."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeWindow:
    """On which days a channel lets an agreement be charged, about the day on which it is due.

    Days are calendar days of ``zone``, the channel's own; ``days_after`` None sets no end.
    """

    zone: str
    days_before: int = 0
    days_after: int | None = None

    def holds(self, due_on: date, moment: datetime) -> bool:
        """Whether what is due on that day may be charged at that moment (aware)."""
        day = moment.astimezone(ZoneInfo(self.zone)).date()
        if day < due_on - timedelta(days=self.days_before):
            return False
        return self.days_after is None or day <= due_on + timedelta(days=self.days_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every ``count`` units from ``first_on`` on, at the time of day ``at`` in ``zone``."""

    unit: PeriodUnit
    count: int
    first_on: date
    anchor_day: int
    at: time
    zone: str

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        if not 1 <= self.count <= MAX_COUNT[self.unit]:
            raise InvalidInput(
                f"not a number of {self.unit}s",
                field="period.count",
                remedy=f"give 1 to {MAX_COUNT[self.unit]}",
            )
        if not 1 <= self.anchor_day <= 31 or self.first_on != self._on_anchor(self.first_on):
            raise InvalidInput(
                "the first day is not the one that the anchor names",
                field="anchor_day",
                remedy="give the day of the month of the first charge, or one that its month "
                "lacks (29 to 31) when that charge is on the month's last day",
            )

    def due_on(self, number: int) -> date:
        """The day on which a period is due. Raises OverflowError beyond the year 9999."""
        steps = (number - 1) * self.count
        match self.unit:
            case PeriodUnit.DAY:
                return self.first_on + timedelta(days=steps)
            case PeriodUnit.WEEK:
                return self.first_on + timedelta(weeks=steps)
            case PeriodUnit.MONTH:
                months = self.first_on.year * 12 + self.first_on.month - 1 + steps
                if months >= 10_000 * 12:
                    raise OverflowError
                return self._on_anchor(date(months // 12, months % 12 + 1, 1))

    def moment(self, day: date) -> datetime:
        """The instant of that day's charge, UTC."""
        return datetime.combine(day, self.at, ZoneInfo(self.zone)).astimezone(UTC)

    def _on_anchor(self, day: date) -> date:
        if self.unit is not PeriodUnit.MONTH:
            return day
        last = monthrange(day.year, day.month)[1]
        return day.replace(day=min(self.anchor_day, last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When each period is tried: ``lead_days`` before it is due, and again after ``retry_days``.

    No try is outside the channel's window, and none is as late as the next period's first: at most
    one period is charged at a time.
    """

    schedule: Schedule
    lead_days: int = 0
    retry_days: Sequence[int] = RETRY_DAYS
    window: ChargeWindow | None = None

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        days = (0, *self.retry_days)
        increasing = all(one < other for one, other in pairwise(days))
        if len(days) > MAX_RETRIES + 1 or not increasing or days[-1] > MAX_RETRY_DAY:
            raise InvalidInput(
                "not days on which to try again",
                field="retry_days",
                remedy=f"give at most {MAX_RETRIES} numbers from 1 to {MAX_RETRY_DAY}, each above "
                "the one before; or none",
            )
        shortest = self.schedule.due_on(2) - self.schedule.due_on(1)
        if not 0 <= self.lead_days < min(shortest.days, MAX_RETRY_DAY):
            raise InvalidInput(
                "as long before as the period itself",
                field="lead_days",
                remedy="give fewer days than the period has",
            )
        if self.window is None:
            return
        if self.schedule.zone != self.window.zone:
            raise InvalidInput(
                "the channel counts its days in another time zone",
                field="time_zone",
                remedy=f"give {self.window.zone}",
            )
        if self.lead_days > self.window.days_before:
            raise InvalidInput(
                "earlier than the channel takes a charge",
                field="lead_days",
                remedy=f"give at most {self.window.days_before}",
            )

    def first_try_at(self, number: int) -> datetime:
        """When a period is tried for the first time, UTC."""
        return self._on(self.schedule.due_on(number), 0)

    def may_try(self, number: int, moment: datetime) -> bool:
        """Whether the period may be charged at that moment (aware)."""
        due_on = self.schedule.due_on(number)
        if not self.first_try_at(number) <= moment < self.first_try_at(number + 1):
            return False
        return self.window is None or self.window.holds(due_on, moment)

    def next_try_at(self, number: int, after: datetime) -> datetime | None:
        """The first planned try later than ``after``; None when no other is left."""
        due_on = self.schedule.due_on(number)
        for days in (0, *self.retry_days):
            moment = self._on(due_on, days)
            if moment > after and self.may_try(number, moment):
                return moment
        return None

    def last_try_at(self, number: int) -> datetime:
        """The last planned try, or the first where no other is."""
        due_on = self.schedule.due_on(number)
        tries = [self._on(due_on, days) for days in (0, *self.retry_days)]
        return max([one for one in tries if self.may_try(number, one)] or tries[:1])

    def _on(self, due_on: date, days: int) -> datetime:
        return self.schedule.moment(due_on + timedelta(days=days - self.lead_days))
