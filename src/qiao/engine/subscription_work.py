"""Charge a subscription's periods, one at a time: the scheduler, as a job of the outbox.

Each period has one row and one payment. A refusal that may get better by waiting is tried again on
the subscription's days; any other, and the last of them, leaves the period unpaid. Nothing is tried
while an earlier charge may still bring money, and what goes by while nothing ran is passed over.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import asyncpg

from qiao.channels.requests import Product
from qiao.domain.dunning import AGREEMENT_ENDED, MAY_GET_BETTER
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind
from qiao.domain.periods import ChargeWindow, Plan, Schedule
from qiao.domain.states import (
    BLOCKING_ATTEMPTS,
    CHARGING_SUBSCRIPTIONS,
    PERIOD,
    SUBSCRIPTION,
    AgreementState,
    AttemptState,
    PaymentState,
    PeriodEvent,
    PeriodState,
    SubscriptionEvent,
    SubscriptionState,
    sources,
)
from qiao.engine.agreement_work import agreement_now
from qiao.engine.charges import CHARGING, charge
from qiao.engine.errors import Conflict
from qiao.engine.organisations import check_taking
from qiao.engine.payment_limits import limit_exceeded
from qiao.engine.payments import NewPayment, Order, attempts_of, count_accepted, payment_now
from qiao.engine.records import (
    Agreement,
    Attempt,
    CaptureMode,
    Period,
    Subscription,
    WhenUnpaid,
    read,
)
from qiao.engine.runtime import Engine, Scope
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements

SQL = load_statements("subscriptions")
PAYMENTS = load_statements("payments")
PAYABLE: Final = sorted(sources(PERIOD, PeriodEvent.PAY))
CANCELLABLE: Final = sorted(sources(SUBSCRIPTION, SubscriptionEvent.CANCEL))
COMPLETABLE: Final = sorted(sources(SUBSCRIPTION, SubscriptionEvent.COMPLETE))
WATCH_SECONDS: Final = 3600.0
"""How often to look where the end of a charge wakes the subscription anyway."""
OUT_OF_TIME: Final = "outside_charge_window"
NOT_SENT: Final = "not_sent"
NOT_MADE_SECONDS: Final = 300.0
"""When to make a charge again that provably was not made: it was refused by nobody."""
SLACK: Final = timedelta(days=2)
"""For how long after its last try a period's payment may yet be paid: a channel may take a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What one look at a subscription needs."""

    subscription: Subscription
    agreement: Agreement
    plan: Plan

    @property
    def number(self) -> int:
        return self.subscription.next_period


async def work(engine: Engine, merchant_id: str, subscription_id: str) -> float | None:
    """Do whatever is due for a subscription; in how many seconds to look again, None: never."""
    while True:
        await engine.database.execute(
            SQL.settle_paid,
            merchant_id,
            subscription_id,
            PAYABLE,
            engine.now(),
            engine.new_id(IdKind.EVENT),
        )
        subscription = await subscription_now(engine, merchant_id, subscription_id)
        if subscription.state not in CHARGING_SUBSCRIPTIONS:
            await _let_go(engine, subscription)
            return None
        agreement = await agreement_now(engine, merchant_id, subscription.agreement_id)
        if agreement.state is not AgreementState.ACTIVE or agreement.end_requested_at is not None:
            await _finish(engine, subscription, SubscriptionEvent.CANCEL, AGREEMENT_ENDED)
            continue
        account = await engine.accounts.of_id(merchant_id, agreement.account_id)
        plan = plan_of(subscription, account.channel.manifest.charge_window)
        seconds = await _step(
            engine, _Work(subscription=subscription, agreement=agreement, plan=plan)
        )
        if seconds is not None:
            return max(seconds, 0.0)


async def _step(engine: Engine, work: _Work) -> float | None:
    """One thing; in how many seconds the next is due, None: at once."""
    subscription, now = work.subscription, engine.now()
    row = await engine.database.fetch_row(
        SQL.period, subscription.merchant_id, subscription.subscription_id, work.number
    )
    if row is not None:
        return await _pursue(engine, work, read(Period, row))
    unpaid = await _last_unpaid(engine, subscription)
    if unpaid is not None and subscription.when_unpaid is WhenUnpaid.CANCEL:
        reason = AGREEMENT_ENDED if unpaid.code == AGREEMENT_ENDED else "unpaid"
        await _finish(engine, subscription, SubscriptionEvent.CANCEL, reason)
        return None
    periods, ends_on = subscription.periods, subscription.ends_on
    if is_past_the_end(work.plan.schedule, work.number, periods, ends_on):
        await _finish(engine, subscription, SubscriptionEvent.COMPLETE, None)
        return None
    first_try_at = work.plan.first_try_at(work.number)
    if now < first_try_at:
        await _expect(engine, subscription, first_try_at)
        return (first_try_at - now).total_seconds()
    if not work.plan.may_try(work.number, now):
        await engine.database.execute(
            SQL.miss_period,
            subscription.merchant_id,
            subscription.subscription_id,
            work.number,
            work.plan.schedule.due_on(work.number),
            now,
            engine.new_id(IdKind.EVENT),
        )
        return None
    await engine.database.fetch_row(
        SQL.open_period,
        subscription.merchant_id,
        subscription.subscription_id,
        work.number,
        work.plan.schedule.due_on(work.number),
        now,
        CHARGING,
    )
    return None


async def _pursue(engine: Engine, work: _Work, period: Period) -> float | None:
    """Bring the period that is open to its end."""
    if period.state is not PeriodState.OPEN:  # another look was faster
        return WATCH_SECONDS
    now = engine.now()
    payment, attempts = None, []
    if period.payment_id is not None:
        payment = await payment_now(engine, period.merchant_id, period.payment_id)
        attempts = await attempts_of(engine, payment)
        if payment.state is PaymentState.PAID:
            return None  # it is settled by the next look
        if any(one.state in BLOCKING_ATTEMPTS for one in attempts):
            return WATCH_SECONDS
        if payment.state is not PaymentState.OPEN or payment.close_requested_at is not None:
            await _refused(engine, work, period, "closed", final=True)
            return None
        charges = [one for one in attempts if one.product is Product.AGREEMENT]
        if charges and charges[-1].attempt_id != period.judged_attempt_id:
            await _judge(engine, work, period, charges[-1])
            return None
    if period.next_try_at is not None and period.next_try_at > now:
        await _expect(engine, work.subscription, period.next_try_at)
        return (period.next_try_at - now).total_seconds()
    if not work.plan.may_try(period.number, now):
        await _refused(engine, work, period, OUT_OF_TIME, final=True)
        return None
    if payment is None:
        await _accept(engine, work, period)
        return None
    try:
        await charge(engine, work.subscription, work.agreement, payment)
    except InvalidInput as error:
        await _refused(engine, work, period, error.code)
        return None
    # What came of it is judged at once; what did not start waits for what holds it up.
    begun = len(await attempts_of(engine, payment)) > len(attempts)
    return None if begun else WATCH_SECONDS


async def _judge(engine: Engine, work: _Work, period: Period, last: Attempt) -> None:
    """What the end of a charge means for the period, once."""
    if last.state is AttemptState.DECLINED:
        if last.code == AGREEMENT_ENDED:
            await _ask_about(engine, work.agreement)
        await _refused(engine, work, period, last.code or "declined", last)
        return
    again_at = engine.now() + timedelta(seconds=NOT_MADE_SECONDS)
    if work.plan.may_try(period.number, again_at):
        await _again(engine, period, again_at, last)
    else:
        await _refused(engine, work, period, NOT_SENT, last)


async def _again(engine: Engine, period: Period, again_at: datetime, last: Attempt) -> None:
    await engine.database.fetch_row(
        SQL.try_again_at,
        period.merchant_id,
        period.subscription_id,
        period.number,
        again_at,
        last.attempt_id,
    )


async def _refused(
    engine: Engine,
    work: _Work,
    period: Period,
    code: str,
    last: Attempt | None = None,
    *,
    final: bool = False,
) -> None:
    """A try was refused: set the next, or leave the period unpaid."""
    again_at = None
    if not final and code in MAY_GET_BETTER:
        again_at = work.plan.next_try_at(period.number, engine.now())
    failed, behind = sorted(engine.new_id(IdKind.EVENT) for _ in range(2))
    await engine.database.fetch_row(
        SQL.note_refusal,
        period.merchant_id,
        period.subscription_id,
        period.number,
        last.attempt_id if last else None,
        code,
        last.channel_code if last else None,
        again_at,
        engine.now(),
        failed,
        behind,
    )
    engine.wake()


async def _accept(engine: Engine, work: _Work, period: Period) -> None:
    """Make the period's payment, and bind the two for ever."""
    subscription = work.subscription
    scope = Scope(
        merchant_id=subscription.merchant_id, live=subscription.live, app_id=subscription.app_id
    )
    new = NewPayment(
        order=Order(
            order_id=f"{subscription.subscription_id}-{period.number}",
            amount=subscription.amount,
            description=subscription.description,
            methods=(work.agreement.channel,),
            metadata={},
        ),
        payment_id=engine.new_id(IdKind.PAYMENT),
        expires_at=max(work.plan.last_try_at(period.number), engine.now()) + SLACK,
    )
    try:
        if await _bind(engine, scope, new, period):
            count_accepted()
        else:  # another look was faster, or who is paid is suspended
            await check_taking(engine, scope, scope.app_id)
    except asyncpg.UniqueViolationError:
        if not await _is_bound(engine, period):  # the merchant has an order of that number
            await _refused(engine, work, period, "order_exists", final=True)
    except asyncpg.PostgresError as error:
        if (refused := limit_exceeded(error)) is None:
            raise
        await _refused(engine, work, period, refused.code)
    except Conflict as error:
        await _refused(engine, work, period, error.code)


async def _bind(engine: Engine, scope: Scope, new: NewPayment, period: Period) -> bool:
    """Whether both were written: a payment that is no period's never stays."""

    class NotBound(Exception):
        pass

    try:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(
                PAYMENTS.accept_payment,
                *new.values(engine, scope, None),
                scope.app_id,
                CaptureMode.AUTOMATIC,
                False,  # nothing of it is shared
            )
            linked = row and await queries.fetch_row(
                SQL.link_payment,
                period.merchant_id,
                period.subscription_id,
                period.number,
                new.payment_id,
            )
            if linked is None:
                raise NotBound
    except NotBound:
        return False
    return True


async def _is_bound(engine: Engine, period: Period) -> bool:
    """Whether another look, at the same time, has made the period's payment."""
    row = await engine.database.fetch_row(
        SQL.period, period.merchant_id, period.subscription_id, period.number
    )
    return row is not None and row["payment_id"] is not None


async def _last_unpaid(engine: Engine, subscription: Subscription) -> Period | None:
    """The period before the next, if it was left unpaid."""
    row = await engine.database.fetch_row(
        SQL.period,
        subscription.merchant_id,
        subscription.subscription_id,
        subscription.next_period - 1,
    )
    if row is None or row["state"] != PeriodState.UNPAID:
        return None
    return read(Period, row)


async def _finish(
    engine: Engine, subscription: Subscription, event: SubscriptionEvent, reason: str | None
) -> None:
    cancels = event is SubscriptionEvent.CANCEL
    states = CANCELLABLE if cancels else COMPLETABLE
    then = SUBSCRIPTION[SubscriptionState(states[0]), event]
    await engine.database.fetch_row(
        SQL.move_subscription,
        subscription.merchant_id,
        subscription.subscription_id,
        states,
        then,
        f"subscription.{then}",
        reason,
        engine.new_id(IdKind.EVENT),
        engine.now(),
        None,
    )
    engine.wake()


async def _let_go(engine: Engine, subscription: Subscription) -> None:
    """Close what is open of one that is over; end one whose agreement ended while it paused."""
    if subscription.state is SubscriptionState.PAUSED:
        agreement = await agreement_now(engine, subscription.merchant_id, subscription.agreement_id)
        if agreement.state is not AgreementState.ACTIVE or agreement.end_requested_at is not None:
            await _finish(engine, subscription, SubscriptionEvent.CANCEL, AGREEMENT_ENDED)
        return
    await engine.database.execute(
        SQL.give_up_open,
        subscription.merchant_id,
        subscription.subscription_id,
        engine.now(),
    )
    engine.wake()


async def _expect(engine: Engine, subscription: Subscription, moment: datetime) -> None:
    await engine.database.execute(
        SQL.expect_charge, subscription.merchant_id, subscription.subscription_id, moment
    )


async def _ask_about(engine: Engine, agreement: Agreement) -> None:
    """The channel says that it has ended, and has not told: it is asked."""
    await enqueue(
        engine.database,
        merchant_id=agreement.merchant_id,
        kind="work_agreement",
        subject_id=agreement.agreement_id,
        run_at=engine.now(),
    )


async def subscription_now(engine: Engine, merchant_id: str, subscription_id: str) -> Subscription:
    """The subscription as it is now, in whichever mode."""
    row = await engine.database.fetch_row(
        SQL.subscription_of_any_mode, merchant_id, subscription_id
    )
    if row is None:
        raise LookupError(subscription_id)
    return read(Subscription, row)


def plan_of(subscription: Subscription, window: ChargeWindow | None) -> Plan:
    """When each of its periods is tried."""
    return Plan(
        schedule=Schedule(
            unit=subscription.period_unit,
            count=subscription.period_count,
            first_on=subscription.first_charge_on,
            anchor_day=subscription.anchor_day,
            at=subscription.charge_time,
            zone=subscription.time_zone,
        ),
        lead_days=subscription.lead_days,
        retry_days=tuple(subscription.retry_days),
        window=window,
    )


def is_past_the_end(
    schedule: Schedule, number: int, periods: int | None, ends_on: date | None
) -> bool:
    """Whether there is no such period any more."""
    if periods is not None and number > periods:
        return True
    try:
        return ends_on is not None and schedule.due_on(number) > ends_on
    except OverflowError:
        return True
