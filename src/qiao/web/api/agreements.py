"""Agreements: ask a customer to sign one, look at it, end it."""

from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit
from qiao.domain.states import AgreementState
from qiao.engine.agreements import (
    DEFAULT_EXPIRY_SECONDS,
    MAX_EXPIRY_SECONDS,
    MAX_NAME,
    MAX_PLAN,
    MIN_EXPIRY_SECONDS,
    AgreementOrder,
    end_agreement,
    list_agreements,
    request_agreement,
    show_agreement,
)
from qiao.engine.key_policy import KeyScope
from qiao.engine.records import Agreement
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Amount, Page, Text
from qiao.web.api.payments import Key
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key

AnyRequest = Request[Any, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Number = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]


class PeriodShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often: every ``count`` days, weeks or months."""

    unit: PeriodUnit
    count: Annotated[int, Meta(ge=1, le=366)] = 1


class AgreementInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer shall agree to. ``number`` is your own, once for ever.

    ``plan`` is the channel's code for what is agreed on (Alipay's sign_scene, WeChat Pay's
    plan_id); ``display_name`` what you call the customer, who sees it while signing.
    """

    number: Number
    channel: Text
    max_amount: Annotated[Amount, Meta(description="the most that one charge may take")]
    period: PeriodShape
    first_charge_on: Annotated[date, Meta(description="in the channel's own time zone")]
    display_name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    product: Product = Product.QR
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")] = "CNY"
    plan: Annotated[str, Meta(min_length=1, max_length=MAX_PLAN)] | None = None
    return_url: Text | None = None
    metadata: dict[str, str] = {}
    expires_in: Annotated[
        int, Meta(ge=MIN_EXPIRY_SECONDS, le=MAX_EXPIRY_SECONDS, description="seconds, to sign")
    ] = DEFAULT_EXPIRY_SECONDS


class AgreementDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An agreement. ``action`` is what the customer must do to sign, while it is pending."""

    id: str
    live: bool
    app_id: str | None
    number: str
    channel: str
    product: Product
    reference: Annotated[str, Meta(description="our number at the channel")]
    plan: str | None
    max_amount: int
    currency: str
    period: PeriodShape
    first_charge_on: date
    state: AgreementState
    action: dict[str, Any] | None
    channel_reference: Annotated[str | None, Meta(description="the channel's own number")]
    code: str | None
    channel_code: str | None
    channel_message: str | None
    return_url: str | None
    metadata: dict[str, str]
    expires_at: Annotated[datetime, Meta(description="until when it may be signed")]
    signed_at: datetime | None
    valid_until: datetime | None
    end_requested_at: Annotated[
        datetime | None, Meta(description="from here on nothing is charged by it")
    ]
    ended_at: datetime | None
    created_at: datetime
    object: str = "agreement"


KNOWN_NUMBER: Final = ResponseSpec(
    data_container=AgreementDocument,
    generate_examples=False,
    description="The number was given before; this is its agreement.",
)


def agreement_document(agreement: Agreement) -> AgreementDocument:
    return AgreementDocument(
        id=agreement.agreement_id,
        live=agreement.live,
        app_id=agreement.app_id,
        number=agreement.number,
        channel=agreement.channel,
        product=agreement.product,
        reference=agreement.reference,
        plan=agreement.plan,
        max_amount=agreement.max_minor,
        currency=agreement.currency,
        period=PeriodShape(unit=agreement.period_unit, count=agreement.period_count),
        first_charge_on=agreement.first_charge_on,
        state=agreement.state,
        action=agreement.action,
        channel_reference=agreement.channel_reference,
        code=agreement.code,
        channel_code=agreement.channel_code,
        channel_message=agreement.channel_message,
        return_url=agreement.return_url,
        metadata=agreement.metadata,
        expires_at=agreement.expires_at,
        signed_at=agreement.signed_at,
        valid_until=agreement.valid_until,
        end_requested_at=agreement.end_requested_at,
        ended_at=agreement.ended_at,
        created_at=agreement.created_at,
    )


@post(
    "/agreements",
    before_request=check_body,
    responses={200: KNOWN_NUMBER, **refusals(404, 409, 413)},
    tags=["Agreements"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def create_agreement(
    data: JSONBody[AgreementInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> Response[AgreementDocument]:
    """Ask the customer to sign: show them ``action``. The event ``agreement.active`` follows.

    The same number gives the same agreement, with 200 instead of 201.
    """
    order = AgreementOrder(
        number=data.number,
        channel=data.channel,
        product=data.product,
        max_amount=Money(data.max_amount, data.currency),
        period_unit=data.period.unit,
        period_count=data.period.count,
        first_charge_on=data.first_charge_on,
        display_name=data.display_name,
        plan=data.plan,
        return_url=data.return_url,
        metadata=data.metadata,
        expires_in_seconds=data.expires_in,
    )
    key = idempotency_key(request, await request.body())
    done = await request_agreement(engine, merchant, order, key=key)
    document = agreement_document(done.agreement)
    return Response(document, status_code=201 if done.created else 200)


@get(
    "/agreements",
    responses=refusals(),
    tags=["Agreements"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def get_agreements(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    in_state: Annotated[AgreementState | None, QueryParameter(name="state")] = None,
) -> Page[AgreementDocument]:
    """The newest first; those in one state, when one is named."""
    found = await list_agreements(engine, merchant, before=before, state=in_state, limit=limit)
    return Page(data=[agreement_document(one) for one in found], has_more=len(found) == limit)


@get(
    "/agreements/{agreement_id:str}",
    responses=refusals(404),
    tags=["Agreements"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def get_agreement(
    agreement_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> AgreementDocument:
    """The agreement as it is now."""
    return agreement_document(await show_agreement(engine, merchant, agreement_id))


@post(
    "/agreements/{agreement_id:str}/end",
    status_code=200,
    responses=refusals(404),
    tags=["Agreements"],
    opt=needs(KeyScope.SUBSCRIPTIONS_WRITE),
)
async def end_an_agreement(
    agreement_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> AgreementDocument:
    """End it, and every subscription on it. Nothing is charged from here on.

    The event ``agreement.ended`` tells when the channel has been told.
    """
    return agreement_document(await end_agreement(engine, merchant, agreement_id))


agreements = Router(
    "/", route_handlers=[create_agreement, get_agreements, get_agreement, end_an_agreement]
)
