"""Subscriptions: an amount that is charged every period by an agreement, until it is over.

What is charged, and when, is done by jobs (subscription_work); here a merchant makes a
subscription, looks at it, pauses, resumes and cancels it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Final
from zoneinfo import ZoneInfo

import asyncpg

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import Money
from qiao.domain.periods import MAX_PERIODS, RETRY_DAYS, ChargeWindow, Plan, Schedule
from qiao.domain.states import (
    SUBSCRIPTION,
    AgreementState,
    SubscriptionEvent,
    SubscriptionState,
    sources,
)
from qiao.engine.agreements import show_agreement
from qiao.engine.audit import record_for
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import (
    MAX_DESCRIPTION,
    MAX_PAGE,
    ORDER_ID,
    check_metadata,
    replayed,
)
from qiao.engine.records import Agreement, Period, Subscription, WhenUnpaid, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.subscription_work import is_past_the_end, plan_of
from qiao.store.sql import load_statements

SQL = load_statements("subscriptions")
DEFAULT_ZONE: Final = "Asia/Shanghai"
DEFAULT_TIME: Final = time(9, 0)
SHOWN_PERIODS: Final = 100
GOING_ON: Final = sorted(sources(SUBSCRIPTION, SubscriptionEvent.CANCEL))
"""The states of a subscription that is not over."""
EVENT_TYPES: Final = {
    SubscriptionEvent.PAUSE: "subscription.paused",
    SubscriptionEvent.RESUME: "subscription.resumed",
    SubscriptionEvent.CANCEL: "subscription.cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOrder:
    """What shall be charged every period; ``number`` is the merchant's own, once for ever.

    How often and from which day on is the agreement's. ``anchor_day`` None is the first charge's
    day of the month. It ends with that period of the agreement which has the number ``periods``,
    or with the last that is due by ``ends_on``; with neither, when somebody ends it.
    ``lead_days`` None: as early as the channel takes a charge, where it takes none after the day
    that it is due; otherwise 0.
    """

    number: str
    agreement_id: str
    amount: Money
    description: str
    time_zone: str = DEFAULT_ZONE
    charge_time: time = DEFAULT_TIME
    anchor_day: int | None = None
    periods: int | None = None
    ends_on: date | None = None
    lead_days: int | None = None
    retry_days: tuple[int, ...] = RETRY_DAYS
    when_unpaid: WhenUnpaid = WhenUnpaid.CANCEL
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not ORDER_ID.fullmatch(self.number):
            raise InvalidInput(
                "not a subscription's number",
                field="number",
                remedy="give 1 to 64 printable ASCII characters without spaces",
            )
        if self.amount.minor <= 0:
            raise InvalidInput(
                "nothing to charge", field="amount", remedy="give a whole number above zero"
            )
        if not 1 <= len(self.description) <= MAX_DESCRIPTION or not self.description.isprintable():
            raise InvalidInput(
                "not a description that a wallet can show",
                field="description",
                remedy=f"give 1 to {MAX_DESCRIPTION} printable characters",
            )
        if self.periods is not None and not 1 <= self.periods <= MAX_PERIODS:
            raise InvalidInput(
                "not a number of periods", field="periods", remedy=f"give 1 to {MAX_PERIODS}"
            )
        _check_zone(self.time_zone)
        check_metadata(self.metadata)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of the database's
        raise InvalidInput(
            "not a time zone",
            field="time_zone",
            remedy="give a name of the IANA database, such as Asia/Shanghai",
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedSubscription:
    """The subscription; ``created`` is False when its number was already known."""

    subscription: Subscription
    created: bool


async def create_subscription(
    engine: Engine, scope: Scope, order: SubscriptionOrder, *, key: IdempotencyKey | None = None
) -> CreatedSubscription:
    """Begin to charge by an agreement that is signed.

    It begins after the last period that an earlier one on the agreement was paid for, or may yet
    be: the customer agreed to one charge a period. The same number with the same content gives the
    subscription that is there. Raises Missing, InvalidInput, and Conflict for another content, and
    for an agreement that is not active or has a subscription that is not over.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        found = await show_subscription(engine, scope, known)
        return CreatedSubscription(subscription=found, created=False)
    agreement = await show_agreement(engine, scope, order.agreement_id)
    _check_amount(order, agreement)
    account = await engine.accounts.of_id(agreement.merchant_id, agreement.account_id)
    plan = _plan(order, agreement, account.channel.manifest.charge_window)
    if (there := await _known(engine, scope, order, plan)) is not None:
        return CreatedSubscription(subscription=there, created=False)
    try:
        made = await _begin(engine, scope, order, agreement, plan, key)
    except asyncpg.UniqueViolationError:  # the same number or key, at the same time
        return await create_subscription(engine, scope, order, key=key)
    except Conflict:
        if (there := await _known(engine, scope, order, plan)) is None:
            raise
        return CreatedSubscription(subscription=there, created=False)
    engine.wake()
    return CreatedSubscription(subscription=made, created=True)


async def _begin(
    engine: Engine,
    scope: Scope,
    order: SubscriptionOrder,
    agreement: Agreement,
    plan: Plan,
    key: IdempotencyKey | None,
) -> Subscription:
    """Write it while nobody else begins to charge by the agreement."""
    ids = (agreement.merchant_id, agreement.agreement_id)
    async with engine.database.transaction() as queries:
        await queries.fetch_row(SQL.hold_agreement, *ids)
        before = await queries.fetch_row(SQL.charged_by, *ids, GOING_ON)
        assert before is not None  # noqa: S101 - an aggregate has one row
        if before["in_use"]:
            raise Conflict(
                "the agreement has a subscription that is not over",
                code="agreement_in_use",
                field="agreement_id",
                remedy="cancel that one first, or ask the customer to sign another agreement",
            )
        first = before["last_period"] + 1
        _check_end(order, plan, first)
        row = await queries.fetch_row(
            SQL.create_subscription,
            *_values(scope, order, agreement, plan, engine.new_id(IdKind.SUBSCRIPTION)),
            max(plan.first_try_at(first), engine.now()),
            key.key if key else None,
            key.body_digest if key else None,
            engine.now(),
            engine.new_id(IdKind.EVENT),
            first,
        )
    if row is None:
        raise Conflict(
            "the agreement is not signed, or not any more",
            code="agreement_not_active",
            field="agreement_id",
            remedy="wait for the event agreement.active, or ask the customer to sign a new one",
        )
    return read(Subscription, row)


def _check_end(order: SubscriptionOrder, plan: Plan, first: int) -> None:
    """Raises InvalidInput."""
    if order.periods is not None and first > order.periods:
        raise InvalidInput(
            "so many periods of the agreement are charged already",
            field="periods",
            remedy=f"give {first} or more: they count from the agreement's first",
        )
    if is_past_the_end(plan.schedule, first, order.periods, order.ends_on):
        raise InvalidInput(
            "ends before the first charge",
            field="ends_on",
            remedy=f"give {plan.schedule.due_on(first)} or a later day",
        )


def _check_amount(order: SubscriptionOrder, agreement: Agreement) -> None:
    """Raises InvalidInput."""
    if order.amount.currency != agreement.currency:
        raise InvalidInput(
            f"the agreement is in {agreement.currency}",
            field="currency",
            remedy=f"give {agreement.currency}",
        )
    if order.amount.minor > agreement.max_minor:
        raise InvalidInput(
            "more than the customer agreed to",
            field="amount",
            remedy=f"give at most {agreement.max_amount} ({agreement.max_minor} minor units)",
        )


def _plan(order: SubscriptionOrder, agreement: Agreement, window: ChargeWindow | None) -> Plan:
    """Raises InvalidInput."""
    lead_days = order.lead_days
    if lead_days is None:
        closes = window is not None and window.days_after == 0
        lead_days = window.days_before if window is not None and closes else 0
    schedule = Schedule(
        unit=agreement.period_unit,
        count=agreement.period_count,
        first_on=agreement.first_charge_on,
        anchor_day=order.anchor_day or agreement.first_charge_on.day,
        at=order.charge_time,
        zone=order.time_zone,
    )
    return Plan(schedule=schedule, lead_days=lead_days, retry_days=order.retry_days, window=window)


def _values(
    scope: Scope, order: SubscriptionOrder, agreement: Agreement, plan: Plan, subscription_id: str
) -> tuple[object, ...]:
    schedule = plan.schedule
    return (
        scope.merchant_id,
        subscription_id,
        scope.live,
        agreement.app_id,
        order.number,
        agreement.agreement_id,
        order.amount.minor,
        order.amount.currency,
        order.description,
        schedule.unit,
        schedule.count,
        schedule.first_on,
        schedule.anchor_day,
        schedule.at,
        schedule.zone,
        order.periods,
        order.ends_on,
        plan.lead_days,
        list(plan.retry_days),
        order.when_unpaid,
        dict(order.metadata),
    )


async def _known(
    engine: Engine, scope: Scope, order: SubscriptionOrder, plan: Plan
) -> Subscription | None:
    """The subscription of that number. Raises Conflict when it is another one."""
    row = await engine.database.fetch_row(
        SQL.subscription_of_number, scope.merchant_id, scope.live, order.number
    )
    if row is None:
        return None
    known = read(Subscription, row)
    there = (known.agreement_id, known.amount, known.periods, known.ends_on, known.when_unpaid)
    asked = (order.agreement_id, order.amount, order.periods, order.ends_on, order.when_unpaid)
    if there != asked or plan_of(known, plan.window) != plan:
        raise Conflict(
            "the number is known with another content",
            code="subscription_exists_with_different_content",
            field="number",
            remedy="take a new number for another subscription",
        )
    return known


async def pause(engine: Engine, scope: Scope, subscription_id: str) -> Subscription:
    """Charge nothing from here on; what is under way is settled. Again changes nothing.

    Raises Missing, and Conflict when it is over.
    """
    return await _move(engine, scope, subscription_id, SubscriptionEvent.PAUSE)


async def resume(engine: Engine, scope: Scope, subscription_id: str) -> Subscription:
    """Charge again, from the next period on whose time has not gone by. Again changes nothing.

    Raises Missing, and Conflict when it is over or its agreement is.
    """
    subscription = await show_subscription(engine, scope, subscription_id)
    agreement = await show_agreement(engine, scope, subscription.agreement_id)
    if agreement.state is not AgreementState.ACTIVE or agreement.end_requested_at is not None:
        raise Conflict(
            "the agreement is not signed any more",
            code="agreement_not_active",
            field="subscription_id",
            remedy="ask the customer to sign a new one",
        )
    return await _move(engine, scope, subscription_id, SubscriptionEvent.RESUME)


async def cancel(
    engine: Engine, scope: Scope, subscription_id: str, *, reason: str = "cancelled"
) -> Subscription:
    """End it for good; the agreement stays. A charge that is unknown is still asked about.

    Again changes nothing. Raises Missing, and Conflict when it was completed.
    """
    return await _move(engine, scope, subscription_id, SubscriptionEvent.CANCEL, reason=reason)


async def _move(
    engine: Engine,
    scope: Scope,
    subscription_id: str,
    event: SubscriptionEvent,
    *,
    reason: str | None = None,
) -> Subscription:
    await show_subscription(engine, scope, subscription_id)
    states = sorted(sources(SUBSCRIPTION, event))
    then = SUBSCRIPTION[SubscriptionState(states[0]), event]
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(
            SQL.move_subscription,
            scope.merchant_id,
            subscription_id,
            states,
            then,
            EVENT_TYPES[event],
            reason,
            engine.new_id(IdKind.EVENT),
            engine.now(),
            None,
        )
        if row is not None:
            await record_for(engine, queries, scope, EVENT_TYPES[event], subscription_id)
    engine.wake()
    if row is not None:
        return read(Subscription, row)
    now = await show_subscription(engine, scope, subscription_id)
    charging = event is SubscriptionEvent.RESUME and now.state is SubscriptionState.PAST_DUE
    if now.state is then or charging:
        return now
    raise Conflict(
        f"the subscription is {now.state}",
        code="subscription_is_over",
        field="subscription_id",
        remedy="make a new one for further charges",
    )


async def show_subscription(engine: Engine, scope: Scope, subscription_id: str) -> Subscription:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.SUBSCRIPTION, subscription_id, field="subscription_id")
    row = await engine.database.fetch_row(
        SQL.subscription_of_id, scope.merchant_id, scope.live, subscription_id
    )
    if row is None:
        raise Missing(
            "no such subscription",
            field="subscription_id",
            remedy="look at the id, and at the key's mode",
        )
    return read(Subscription, row)


async def periods_of(engine: Engine, subscription: Subscription) -> list[Period]:
    """Its last periods, the newest first; those that have not begun are not there."""
    rows = await engine.database.fetch(
        SQL.periods, subscription.merchant_id, subscription.subscription_id, SHOWN_PERIODS
    )
    return [read(Period, row) for row in rows]


async def list_subscriptions(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: SubscriptionState | None = None,
    agreement_id: str | None = None,
    limit: int = 20,
) -> list[Subscription]:
    """The newest first; ``before`` is the id that ended the page before."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    if before is not None:
        parse_id(IdKind.SUBSCRIPTION, before, field="before")
    if agreement_id is not None:
        parse_id(IdKind.AGREEMENT, agreement_id, field="agreement_id")
    rows = await engine.database.fetch(
        SQL.subscriptions, scope.merchant_id, scope.live, before, state, agreement_id, limit
    )
    return [read(Subscription, row) for row in rows]
