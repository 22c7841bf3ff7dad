"""Profit sharing: receivers, shares of a payment, what is left to the merchant, and returns."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from qiao.domain.states import ShareState
from qiao.engine.key_policy import KeyScope
from qiao.engine.runtime import Engine
from qiao.engine.share_receivers import (
    MAX_TEXT,
    ReceiverOrder,
    bind,
    list_receivers,
    show_receiver,
    unbind,
    who_it_is,
)
from qiao.engine.share_records import (
    PartState,
    ProfitShare,
    Receiver,
    ReceiverState,
    SharePart,
    ShareReturn,
)
from qiao.engine.share_returns import return_share, show_return
from qiao.engine.shares import (
    MAX_DESCRIPTION,
    MAX_SHARES,
    SharedPayment,
    ShareLine,
    list_shares,
    release,
    share,
    show_in_full,
)
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Amount, Limit, Page, page_of
from qiao.web.api.payments import Key
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key

AnyRequest = Request[Any, Any, Any]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Description = Annotated[str, Meta(min_length=1, max_length=MAX_DESCRIPTION)]
TAGS: Final = ["Profit sharing"]


class ReceiverInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may get shares. ``number`` is your own, once for ever; the rest is the channel's."""

    number: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    channel: Text
    receiver_type: Text
    receiver: Text
    name: Text | None = None
    relation: Text | None = None
    memo: Text | None = None


class ShareInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one receiver is to get."""

    receiver_id: Text
    amount: Amount
    description: Description


class ProfitShareInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each receiver is to get. With ``finish`` what is left is the merchant's for good."""

    shares: Annotated[list[ShareInput], Meta(min_length=1, max_length=MAX_SHARES)]
    finish: bool = False


class ReturnInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a receiver gives back: all that it still has when ``amount`` is not given."""

    line: Annotated[int, Meta(ge=1, le=MAX_SHARES)]
    amount: Amount | None = None
    description: Description = "returned"


class ReceiverDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver. ``receiver`` and ``name`` are shown when one is asked for."""

    id: str
    live: bool
    number: str
    channel: str
    receiver_type: str
    relation: str | None
    memo: str | None
    state: ReceiverState
    code: str | None
    channel_code: str | None
    channel_message: str | None
    created_at: datetime
    receiver: str | None = None
    name: str | None = None
    object: str = "share_receiver"


class PartDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver's part; ``returning`` is on its way back, ``returned`` has come."""

    line: int
    receiver_id: str
    amount: int
    description: str
    state: PartState
    channel_code: str | None
    channel_message: str | None
    returning: int
    returned: int


class ReturnDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Money of one part on its way back."""

    id: str
    live: bool
    profit_share_id: str
    line: int
    payment_id: str
    reference: Annotated[str, Meta(description="our number at the channel")]
    amount: int
    currency: str
    description: str
    state: ShareState
    code: str | None
    channel_code: str | None
    channel_message: str | None
    channel_reference: str | None
    returned_at: datetime | None
    created_at: datetime
    object: str = "profit_share_return"


class ProfitShareDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A payment's money divided; ``arrived`` is what receivers got of ``amount``."""

    id: str
    live: bool
    payment_id: str
    reference: Annotated[str, Meta(description="our number at the channel")]
    amount: int
    arrived: int
    currency: str
    finish: bool
    state: ShareState
    shares: list[PartDocument]
    code: str | None
    channel_code: str | None
    channel_message: str | None
    channel_reference: str | None
    shared_at: datetime | None
    created_at: datetime
    returns: list[ReturnDocument] = []
    object: str = "profit_share"


KNOWN_NUMBER: Final = ResponseSpec(
    data_container=ReceiverDocument,
    generate_examples=False,
    description="The number was given before; this is its receiver.",
)


def receiver_document(
    receiver: Receiver, who: str | None = None, name: str | None = None
) -> ReceiverDocument:
    return ReceiverDocument(
        id=receiver.receiver_id,
        live=receiver.live,
        number=receiver.number,
        channel=receiver.channel,
        receiver_type=receiver.receiver_type,
        relation=receiver.relation,
        memo=receiver.memo,
        state=receiver.state,
        code=receiver.code,
        channel_code=receiver.channel_code,
        channel_message=receiver.channel_message,
        created_at=receiver.created_at,
        receiver=who,
        name=name,
    )


def part_document(part: SharePart) -> PartDocument:
    return PartDocument(
        line=part.line,
        receiver_id=part.receiver_id,
        amount=part.amount_minor,
        description=part.description,
        state=part.state,
        channel_code=part.channel_code,
        channel_message=part.channel_message,
        returning=part.returning_minor,
        returned=part.returned_minor,
    )


def return_document(given: ShareReturn) -> ReturnDocument:
    return ReturnDocument(
        id=given.return_id,
        live=given.live,
        profit_share_id=given.share_id,
        line=given.line,
        payment_id=given.payment_id,
        reference=given.reference,
        amount=given.amount_minor,
        currency=given.currency,
        description=given.description,
        state=given.state,
        code=given.code,
        channel_code=given.channel_code,
        channel_message=given.channel_message,
        channel_reference=given.channel_reference,
        returned_at=given.returned_at,
        created_at=given.created_at,
    )


def share_document(shared: SharedPayment) -> ProfitShareDocument:
    one: ProfitShare = shared.share
    return ProfitShareDocument(
        id=one.share_id,
        live=one.live,
        payment_id=one.payment_id,
        reference=one.reference,
        amount=one.amount_minor,
        arrived=one.arrived_minor,
        currency=one.currency,
        finish=one.finish,
        state=one.state,
        shares=[part_document(part) for part in shared.parts],
        code=one.code,
        channel_code=one.channel_code,
        channel_message=one.channel_message,
        channel_reference=one.channel_reference,
        shared_at=one.shared_at,
        created_at=one.created_at,
        returns=[return_document(given) for given in shared.returns],
    )


async def _in_full(engine: Engine, receiver: Receiver) -> ReceiverDocument:
    return receiver_document(receiver, *await who_it_is(engine, receiver))


@post(
    "/payments/{payment_id:str}/profit-shares",
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def create_share(
    payment_id: FromPath[str],
    data: JSONBody[ProfitShareInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> ProfitShareDocument:
    """Divide some of a paid payment that was accepted with ``profit_sharing``."""
    lines = [
        ShareLine(receiver_id=one.receiver_id, amount_minor=one.amount, description=one.description)
        for one in data.shares
    ]
    key = idempotency_key(request, await request.body())
    made = await share(engine, merchant, payment_id, lines, finish=data.finish, key=key)
    return share_document(await show_in_full(engine, merchant, made.share_id))


@post(
    "/payments/{payment_id:str}/profit-shares/release",
    responses=refusals(404, 409),
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def release_rest(
    payment_id: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> ProfitShareDocument:
    """Leave what is not shared to the merchant for good; nothing can be shared afterwards."""
    key = idempotency_key(request, await request.body())
    made = await release(engine, merchant, payment_id, key=key)
    return share_document(await show_in_full(engine, merchant, made.share_id))


@get("/profit-shares", responses=refusals(), tags=TAGS, opt=needs(KeyScope.PAYMENTS_READ))
async def get_shares(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    payment_id: FromQuery[str | None] = None,
    in_state: Annotated[ShareState | None, QueryParameter(name="state")] = None,
) -> Page[ProfitShareDocument]:
    """The newest first; of one payment, or in one state, when it is named."""
    found = await list_shares(
        engine, merchant, before=before, state=in_state, payment_id=payment_id, limit=limit
    )
    return page_of([share_document(one) for one in found], limit)


@get(
    "/profit-shares/{profit_share_id:str}",
    responses=refusals(404),
    tags=TAGS,
    opt=needs(KeyScope.PAYMENTS_READ),
)
async def get_share(
    profit_share_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> ProfitShareDocument:
    """The share as it is now, with what was returned of it."""
    return share_document(await show_in_full(engine, merchant, profit_share_id))


@post(
    "/profit-shares/{profit_share_id:str}/returns",
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def create_return(
    profit_share_id: FromPath[str],
    data: JSONBody[ReturnInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> ReturnDocument:
    """Have the receiver of one line give its share back, so that it can be refunded."""
    given = await return_share(
        engine,
        merchant,
        profit_share_id,
        data.line,
        amount_minor=data.amount,
        description=data.description,
        key=idempotency_key(request, await request.body()),
    )
    return return_document(given)


@get(
    "/profit-shares/returns/{return_id:str}",
    responses=refusals(404),
    tags=TAGS,
    opt=needs(KeyScope.PAYMENTS_READ),
)
async def get_return(
    return_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> ReturnDocument:
    """The return as it is now."""
    return return_document(await show_return(engine, merchant, return_id))


@post(
    "/profit-shares/receivers",
    before_request=check_body,
    responses={200: KNOWN_NUMBER, **refusals(404, 409, 413)},
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def bind_receiver(
    data: JSONBody[ReceiverInput], engine: TheEngine, merchant: TheMerchant
) -> Response[ReceiverDocument]:
    """Bind a receiver at its channel. Again it asks the channel again, with 200 instead of 201."""
    order = ReceiverOrder(
        number=data.number,
        channel=data.channel,
        receiver_type=data.receiver_type,
        receiver=data.receiver,
        name=data.name,
        relation=data.relation,
        memo=data.memo,
    )
    done = await bind(engine, merchant, order)
    status = 201 if done.created else 200
    return Response(await _in_full(engine, done.receiver), status_code=status)


@get("/profit-shares/receivers", responses=refusals(), tags=TAGS, opt=needs(KeyScope.PAYMENTS_READ))
async def get_receivers(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
) -> Page[ReceiverDocument]:
    """The newest first, without who they are."""
    found = await list_receivers(engine, merchant, before=before, limit=limit)
    return page_of([receiver_document(one) for one in found], limit)


@get(
    "/profit-shares/receivers/{receiver_id:str}",
    responses=refusals(404),
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def get_receiver(
    receiver_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> ReceiverDocument:
    """The receiver, with who it is."""
    return await _in_full(engine, await show_receiver(engine, merchant, receiver_id))


@post(
    "/profit-shares/receivers/{receiver_id:str}/unbind",
    status_code=200,
    responses=refusals(404),
    tags=TAGS,
    opt=needs(KeyScope.PROFIT_SHARES_WRITE),
)
async def unbind_receiver(
    receiver_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> ReceiverDocument:
    """Let it get no share any more; what it got it keeps."""
    return await _in_full(engine, await unbind(engine, merchant, receiver_id))


profit_shares = Router(
    "/",
    route_handlers=[
        create_share,
        release_rest,
        get_shares,
        get_share,
        create_return,
        get_return,
        bind_receiver,
        get_receivers,
        get_receiver,
        unbind_receiver,
    ],
)
