"""Subscriptions: begin to charge by an agreement, look, pause, resume, cancel."""

from datetime import date, datetime, time
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from qiao.domain.money import Money
from qiao.domain.periods import MAX_PERIODS, MAX_RETRIES, MAX_RETRY_DAY, RETRY_DAYS
from qiao.domain.states import PeriodState, SubscriptionState
from qiao.engine.key_policy import KeyScope
from qiao.engine.records import Period, Subscription, WhenUnpaid
from qiao.engine.runtime import Engine
from qiao.engine.subscriptions import (
    DEFAULT_TIME,
    DEFAULT_ZONE,
    SubscriptionOrder,
    cancel,
    create_subscription,
    list_subscriptions,
    pause,
    periods_of,
    resume,
    show_subscription,
)
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.agreements import Limit, Number, PeriodShape
from qiao.web.api.documents import Amount, Page
from qiao.web.api.payments import Key
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key

AnyRequest = Request[Any, Any, Any]
RetryDay = Annotated[int, Meta(ge=1, le=MAX_RETRY_DAY)]


class SubscriptionInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be charged every period of the agreement, from its first day on.

    ``number`` is your own, once for ever. It ends after ``periods`` of them, counted from the
    agreement's first, or with the last that is due by ``ends_on``; with neither, when somebody ends
    it.
    """

    number: Number
    agreement_id: Annotated[str, Meta(max_length=64)]
    amount: Amount
    description: Annotated[str, Meta(min_length=1, max_length=127)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")] = "CNY"
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = DEFAULT_ZONE
    charge_time: Annotated[
        str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM in time_zone")
    ] = f"{DEFAULT_TIME:%H:%M}"
    anchor_day: (
        Annotated[int, Meta(ge=1, le=31, description="day of the month; 31: every month's last")]
        | None
    ) = None
    periods: Annotated[int, Meta(ge=1, le=MAX_PERIODS)] | None = None
    ends_on: date | None = None
    lead_days: (
        Annotated[int, Meta(ge=0, le=30, description="how long before it is due it is tried")]
        | None
    ) = None
    retry_days: Annotated[
        list[RetryDay],
        Meta(max_length=MAX_RETRIES, description="after the first try, when it was refused"),
    ] = msgspec.field(default_factory=lambda: list(RETRY_DAYS))
    when_unpaid: WhenUnpaid = WhenUnpaid.CANCEL
    metadata: dict[str, str] = {}


class PeriodDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One period. ``code`` is why its charge was refused last."""

    number: int
    due_on: date
    state: PeriodState
    payment_id: str | None
    tries: Annotated[int, Meta(description="how often it was refused")]
    next_try_at: datetime | None
    code: str | None
    channel_code: str | None
    settled_at: datetime | None


class SubscriptionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription; its last periods, the newest first, when one subscription is asked for."""

    id: str
    live: bool
    app_id: str | None
    number: str
    agreement_id: str
    amount: int
    currency: str
    description: str
    period: PeriodShape
    first_charge_on: date
    anchor_day: int
    charge_time: str
    time_zone: str
    periods: int | None
    ends_on: date | None
    lead_days: int
    retry_days: list[int]
    when_unpaid: WhenUnpaid
    metadata: dict[str, str]
    state: SubscriptionState
    reason: str | None
    next_period: int
    next_charge_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    charged_periods: list[PeriodDocument] = []
    object: str = "subscription"


KNOWN_NUMBER: Final = ResponseSpec(
    data_container=SubscriptionDocument,
    generate_examples=False,
    description="The number was given before; this is its subscription.",
)


def _period_document(period: Period) -> PeriodDocument:
    return PeriodDocument(
        number=period.number,
        due_on=period.due_on,
        state=period.state,
        payment_id=period.payment_id,
        tries=period.tries,
        next_try_at=period.next_try_at,
        code=period.code,
        channel_code=period.channel_code,
        settled_at=period.settled_at,
    )


def subscription_document(
    one: Subscription, periods: list[Period] | None = None
) -> SubscriptionDocument:
    return SubscriptionDocument(
        id=one.subscription_id,
        live=one.live,
        app_id=one.app_id,
        number=one.number,
        agreement_id=one.agreement_id,
        amount=one.amount_minor,
        currency=one.currency,
        description=one.description,
        period=PeriodShape(unit=one.period_unit, count=one.period_count),
        first_charge_on=one.first_charge_on,
        anchor_day=one.anchor_day,
        charge_time=f"{one.charge_time:%H:%M}",
        time_zone=one.time_zone,
        periods=one.periods,
        ends_on=one.ends_on,
        lead_days=one.lead_days,
        retry_days=one.retry_days,
        when_unpaid=one.when_unpaid,
        metadata=one.metadata,
        state=one.state,
        reason=one.reason,
        next_period=one.next_period,
        next_charge_at=one.next_charge_at,
        ended_at=one.ended_at,
        created_at=one.created_at,
        charged_periods=[_period_document(period) for period in periods or []],
    )


async def _in_full(engine: Engine, one: Subscription) -> SubscriptionDocument:
    return subscription_document(one, await periods_of(engine, one))


@post(
    "/subscriptions",
    before_request=check_body,
    responses={200: KNOWN_NUMBER, **refusals(404, 409, 413)},
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def create_a_subscription(
    data: JSONBody[SubscriptionInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> Response[SubscriptionDocument]:
    """Begin to charge by an agreement that is signed, and has no other that is not over.

    The same number gives the same subscription, with 200 instead of 201.
    """
    order = SubscriptionOrder(
        number=data.number,
        agreement_id=data.agreement_id,
        amount=Money(data.amount, data.currency),
        description=data.description,
        time_zone=data.time_zone,
        charge_time=time.fromisoformat(data.charge_time),
        anchor_day=data.anchor_day,
        periods=data.periods,
        ends_on=data.ends_on,
        lead_days=data.lead_days,
        retry_days=tuple(data.retry_days),
        when_unpaid=data.when_unpaid,
        metadata=data.metadata,
    )
    key = idempotency_key(request, await request.body())
    done = await create_subscription(engine, merchant, order, key=key)
    document = await _in_full(engine, done.subscription)
    return Response(document, status_code=201 if done.created else 200)


@get(
    "/subscriptions",
    responses=refusals(),
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def get_subscriptions(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    agreement_id: FromQuery[str | None] = None,
    in_state: Annotated[SubscriptionState | None, QueryParameter(name="state")] = None,
) -> Page[SubscriptionDocument]:
    """The newest first; those in one state, or of one agreement, when one is named."""
    found = await list_subscriptions(
        engine, merchant, before=before, state=in_state, agreement_id=agreement_id, limit=limit
    )
    return Page(data=[subscription_document(one) for one in found], has_more=len(found) == limit)


@get(
    "/subscriptions/{subscription_id:str}",
    responses=refusals(404),
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def get_subscription(
    subscription_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> SubscriptionDocument:
    """The subscription as it is now, with its last periods."""
    return await _in_full(engine, await show_subscription(engine, merchant, subscription_id))


@post(
    "/subscriptions/{subscription_id:str}/pause",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def pause_subscription(
    subscription_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> SubscriptionDocument:
    """Charge nothing from here on, until it is resumed."""
    return await _in_full(engine, await pause(engine, merchant, subscription_id))


@post(
    "/subscriptions/{subscription_id:str}/resume",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def resume_subscription(
    subscription_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> SubscriptionDocument:
    """Charge again, from the next period on whose time has not gone by."""
    return await _in_full(engine, await resume(engine, merchant, subscription_id))


@post(
    "/subscriptions/{subscription_id:str}/cancel",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Subscriptions"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def cancel_subscription(
    subscription_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> SubscriptionDocument:
    """End it for good. The agreement stays, for another subscription."""
    return await _in_full(engine, await cancel(engine, merchant, subscription_id))


subscriptions = Router(
    "/",
    route_handlers=[
        create_a_subscription,
        get_subscriptions,
        get_subscription,
        pause_subscription,
        resume_subscription,
        cancel_subscription,
    ],
)
