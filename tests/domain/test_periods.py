"""When periods are due, against an independent model, and when a charge is tried."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.errors import InvalidInput
from qiao.domain.periods import ChargeWindow, PeriodUnit, Plan, Schedule

ZONES = ["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
days = st.dates(date(2020, 1, 1), date(2040, 12, 31))
minutes = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


def schedule(**more: object) -> Schedule:
    given: dict[str, object] = {
        "unit": PeriodUnit.MONTH,
        "count": 1,
        "first_on": date(2026, 1, 31),
        "anchor_day": 31,
        "at": time(9, 0),
        "zone": "Asia/Shanghai",
        **more,
    }
    return Schedule(**given)  # type: ignore[arg-type]  # a test names the fields


def months_later(first: date, anchor: int, months: int) -> date:
    """Step by step, as a person with a calendar would do it."""
    year, month = first.year, first.month
    for _ in range(months):
        month += 1
        if month > 12:
            year, month = year + 1, 1
    day = anchor
    while True:
        try:
            return date(year, month, day)
        except ValueError:
            day -= 1


@given(days, st.integers(1, 24), st.integers(1, 60), st.booleans())
def test_months_are_counted_from_the_anchor(
    first: date, count: int, number: int, end_of_month: bool
) -> None:
    last = monthrange(first.year, first.month)[1]
    first_on = first.replace(day=last) if end_of_month else first
    anchor = 31 if end_of_month else first.day
    made = schedule(count=count, first_on=first_on, anchor_day=anchor)
    due = made.due_on(number)
    assert due == months_later(first_on, anchor, (number - 1) * count)
    if end_of_month:
        assert (due + timedelta(days=1)).day == 1


@given(days, st.integers(1, 52), st.integers(1, 60), st.sampled_from(["day", "week"]))
def test_days_and_weeks_are_counted_one_by_one(
    first: date, count: int, number: int, unit: str
) -> None:
    made = schedule(unit=PeriodUnit(unit), count=count, first_on=first, anchor_day=first.day)
    expected = first.toordinal() + (number - 1) * count * (7 if unit == "week" else 1)
    assert made.due_on(number).toordinal() == expected


@pytest.mark.parametrize(
    ("number", "due"),
    [(1, "2028-01-31"), (2, "2028-02-29"), (3, "2028-03-31"), (14, "2029-02-28")],
)
def test_the_end_of_the_month_stays_the_end_of_the_month(number: int, due: str) -> None:
    assert schedule(first_on=date(2028, 1, 31)).due_on(number).isoformat() == due


def test_an_anchor_may_be_a_day_that_the_first_month_lacks() -> None:
    made = schedule(first_on=date(2026, 2, 28), anchor_day=30)
    assert [made.due_on(n).isoformat() for n in (1, 2, 13)] == [
        *("2026-02-28", "2026-03-30", "2027-02-28"),
    ]


@given(days, minutes, st.sampled_from(ZONES))
def test_a_moment_is_at_that_time_of_day_unless_the_clock_has_none(
    day: date, at: time, zone: str
) -> None:
    made = schedule(unit=PeriodUnit.DAY, first_on=day, anchor_day=day.day, at=at, zone=zone)
    moment = made.moment(day)
    assert moment.utcoffset() == timedelta(0)
    local = moment.astimezone(ZoneInfo(zone))
    naive = datetime.combine(day, at)
    there = [
        naive - offset
        for offset in {
            (naive + timedelta(hours=h)).replace(tzinfo=ZoneInfo(zone)).utcoffset()
            for h in (-26, 26)
        }
        if offset is not None
        and (naive - offset).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        == naive
    ]
    if there:  # the earlier, where the clock shows it twice
        assert moment.replace(tzinfo=None) == min(there)
        assert local.replace(tzinfo=None) == naive
    else:
        assert local.replace(tzinfo=None) > naive


@pytest.mark.parametrize(
    ("day", "at", "utc"),
    [
        (date(2026, 3, 29), time(2, 30), "01:30"),  # left out: as before the change
        (date(2026, 10, 25), time(2, 30), "00:30"),  # shown twice: the first
        (date(2026, 7, 1), time(9, 0), "07:00"),
    ],
)
def test_summer_time(day: date, at: time, utc: str) -> None:
    made = schedule(
        unit=PeriodUnit.DAY, first_on=day, anchor_day=day.day, at=at, zone="Europe/Berlin"
    )
    assert f"{made.moment(day):%H:%M}" == utc


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("period.count", {"count": 0}),
        ("period.count", {"count": 25}),
        ("anchor_day", {"anchor_day": 30}),
        ("anchor_day", {"anchor_day": 32}),
        ("anchor_day", {"first_on": date(2026, 1, 30)}),
    ],
)
def test_what_is_no_schedule(field: str, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        schedule(**change)
    assert refused.value.field == field


# When a charge is tried

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ALIPAY = ChargeWindow(zone="Asia/Shanghai", days_before=5, days_after=0)


def plan(**more: object) -> Plan:
    made = schedule(first_on=date(2026, 1, 20), anchor_day=20)
    return Plan(**{"schedule": made, **more})  # type: ignore[arg-type]


def tries(made: Plan, number: int) -> list[str]:
    """Every planned try, as a job would meet them."""
    moment, found = made.first_try_at(number), []
    found.append(moment)
    while (following := made.next_try_at(number, moment)) is not None:
        moment = following
        found.append(moment)
    return [f"{one.astimezone(ZoneInfo('Asia/Shanghai')):%m-%d %H:%M}" for one in found]


def test_the_usual_days() -> None:
    assert tries(plan(), 1) == [f"01-{day} 09:00" for day in (20, 21, 23, 25, 27)]


def test_within_the_days_that_a_channel_takes_a_charge() -> None:
    assert tries(plan(window=ALIPAY, lead_days=5), 1) == [
        f"01-{day} 09:00" for day in (15, 16, 18, 20)
    ]
    assert tries(plan(window=ALIPAY), 1) == ["01-20 09:00"]


def test_no_try_is_as_late_as_the_next_period() -> None:
    made = schedule(unit=PeriodUnit.DAY, count=3, first_on=date(2026, 1, 20), anchor_day=20)
    assert tries(plan(schedule=made), 1) == ["01-20 09:00", "01-21 09:00"]


def test_what_was_late_goes_on_with_the_days_that_are_left() -> None:
    late = datetime(2026, 1, 24, 3, 0, tzinfo=UTC)
    following = plan().next_try_at(1, late)
    assert following == datetime(2026, 1, 25, 1, 0, tzinfo=UTC)
    assert plan().next_try_at(1, datetime(2026, 1, 27, 1, 0, tzinfo=UTC)) is None


@given(
    st.lists(st.integers(1, 30), max_size=10, unique=True).map(sorted),
    st.integers(0, 6),
    st.integers(1, 5),
    st.integers(0, 364 * 24 * 60).map(
        lambda m: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=m)
    ),
    st.sampled_from([None, ALIPAY, ChargeWindow(zone="Asia/Shanghai", days_before=9)]),
)
def test_every_try_is_allowed_and_later(
    retry_days: list[int],
    lead_days: int,
    number: int,
    after: datetime,
    window: ChargeWindow | None,
) -> None:
    lead = min(lead_days, window.days_before) if window else lead_days
    made = plan(retry_days=retry_days, lead_days=lead, window=window)
    moment = made.next_try_at(number, after)
    if moment is None:
        return
    assert moment > after
    assert made.first_try_at(number) <= moment < made.first_try_at(number + 1)
    assert made.may_try(number, moment)
    assert moment <= made.last_try_at(number)
    due_on = made.schedule.due_on(number)
    local = moment.astimezone(ZoneInfo("Asia/Shanghai")).date()
    assert (local - due_on).days + lead in (0, *retry_days)
    if window is ALIPAY:
        assert due_on - timedelta(days=5) <= local <= due_on


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("retry_days", {"retry_days": [3, 1]}),
        ("retry_days", {"retry_days": [0]}),
        ("retry_days", {"retry_days": [31]}),
        ("retry_days", {"retry_days": list(range(1, 12))}),
        ("lead_days", {"lead_days": 31}),
        ("lead_days", {"lead_days": 6, "window": ALIPAY}),
        ("time_zone", {"window": ChargeWindow(zone="Europe/Berlin")}),
    ],
)
def test_what_is_no_plan(field: str, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        plan(**change)
    assert refused.value.field == field
