"""Disputes: listed, shown with what the customer wrote, replied to, and finished."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from qiao.channels.disputes import DisputeKind, DisputeState
from qiao.engine.disputes import DisputeRow, answer, list_disputes, show_in_full
from qiao.engine.key_policy import KeyScope
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Limit, Page, page_of
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body

TAGS: Final = ["Disputes"]


class DisputeAnswerInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the customer reads."""

    text: Annotated[str, Meta(min_length=1, max_length=200)]


class DisputeDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute as its channel tells it. Amounts are minor units.

    Until ``due_by`` the merchant must act. ``withdrawn`` is what the channel took for it;
    ``returned`` came back, ``charged`` is the merchant's loss.
    """

    id: str
    live: bool
    channel: str
    number: Annotated[str, Meta(description="the channel's own")]
    kind: DisputeKind
    state: DisputeState
    payment_id: str | None
    amount: int
    currency: str
    reason: Annotated[str, Meta(description="the channel's word for it")]
    withdrawn: int
    returned: int
    charged: int
    due_by: datetime | None
    opened_at: datetime
    updated_at: datetime
    created_at: datetime
    object: str = "dispute"


class DisputeInFull(DisputeDocument, frozen=True, kw_only=True):
    """With what the customer wrote, and their telephone number when the channel tells it now."""

    text: str
    phone: str | None


def dispute_document(row: DisputeRow) -> DisputeDocument:
    return DisputeDocument(
        id=row.dispute_id,
        live=row.live,
        channel=row.channel,
        number=row.number,
        kind=row.kind,
        state=row.state,
        payment_id=row.payment_id,
        amount=row.amount_minor,
        currency=row.currency,
        reason=row.reason,
        withdrawn=row.withdrawn_minor,
        returned=row.returned_minor,
        charged=row.charged_minor,
        due_by=row.due_by,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        created_at=row.created_at,
    )


@get("/disputes", responses=refusals(), tags=TAGS, opt=needs(KeyScope.PAYMENTS_READ))
async def get_disputes(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    payment_id: FromQuery[str | None] = None,
    in_state: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
) -> Page[DisputeDocument]:
    """The newest first; of one payment, or in one state, when it is named."""
    found = await list_disputes(
        engine, merchant, before=before, state=in_state, payment_id=payment_id, limit=limit
    )
    return page_of([dispute_document(one) for one in found], limit)


@get(
    "/disputes/{dispute_id:str}",
    responses=refusals(404),
    tags=TAGS,
    opt=needs(KeyScope.DISPUTES_WRITE),
)
async def get_dispute(
    dispute_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> DisputeInFull:
    """The dispute as the channel tells it now, with what the customer wrote."""
    row, text, phone = await show_in_full(engine, merchant, dispute_id)
    told = msgspec.structs.asdict(dispute_document(row))
    return DisputeInFull(**told, text=text, phone=phone)


@post(
    "/disputes/{dispute_id:str}/reply",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=TAGS,
    opt=needs(KeyScope.DISPUTES_WRITE),
)
async def reply(
    dispute_id: FromPath[str],
    data: JSONBody[DisputeAnswerInput],
    engine: TheEngine,
    merchant: TheMerchant,
) -> DisputeDocument:
    """Write to the customer. It is sent once and never by itself again."""
    return dispute_document(await answer(engine, merchant, dispute_id, data.text, how="reply"))


@post(
    "/disputes/{dispute_id:str}/finish",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=TAGS,
    opt=needs(KeyScope.DISPUTES_WRITE),
)
async def finish(
    dispute_id: FromPath[str],
    data: JSONBody[DisputeAnswerInput],
    engine: TheEngine,
    merchant: TheMerchant,
) -> DisputeDocument:
    """Tell the channel that it is dealt with, and how."""
    return dispute_document(await answer(engine, merchant, dispute_id, data.text, how="finish"))


disputes = Router("/", route_handlers=[get_disputes, get_dispute, reply, finish])
