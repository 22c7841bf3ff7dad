"""Transfers out: ask, look, approve or reject, one by one and in batches."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.domain.states import TransferState
from qiao.engine.batches import (
    MAX_LINES,
    Batch,
    approve_batch,
    read_csv,
    reject_batch,
    request_batch,
    show_batch,
)
from qiao.engine.key_policy import KeyScope
from qiao.engine.records import Transfer
from qiao.engine.runtime import Engine
from qiao.engine.transfer_work import payee_of
from qiao.engine.transfers import (
    MAX_REASON,
    MAX_TEXT,
    TransferOrder,
    approve,
    list_transfers,
    reject,
    request_transfer,
    show_transfer,
)
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Amount, Limit, Page, page_of
from qiao.web.api.payments import Key
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key

AnyRequest = Request[Any, Any, Any]
Number = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class TransferInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money to pay out. ``number`` is your own, once for ever; ``payee`` the channel's id."""

    number: Number
    channel: Text
    amount: Amount
    payee: Text
    description: Text
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")] = "CNY"
    payee_name: Text | None = None
    scene: Text | None = None


class BatchInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Transfers to be taken together or not at all: as a list, or as the text of a CSV file."""

    number: Number
    transfers: Annotated[list[TransferInput], Meta(max_length=MAX_LINES)] = []
    csv: Annotated[str, Meta(max_length=60_000)] | None = None


class RejectionInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why not."""

    reason: Annotated[str, Meta(min_length=1, max_length=MAX_REASON)] | None = None


class TransferDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Money paid out. ``payee`` and ``payee_name`` are shown when one transfer is asked for."""

    id: str
    live: bool
    batch_id: str | None
    number: str
    channel: str
    reference: Annotated[str, Meta(description="our number at the channel")]
    amount: int
    currency: str
    description: str
    scene: str | None
    state: TransferState
    requested_by: Annotated[str, Meta(description="an API key's id, or an operator's name")]
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    action: Annotated[
        dict[str, Any] | None, Meta(description="what the payee must do, if anything")
    ]
    code: str | None
    channel_code: str | None
    channel_message: str | None
    channel_reference: str | None
    transferred_at: datetime | None
    created_at: datetime
    payee: str | None = None
    payee_name: str | None = None
    object: str = "transfer"


class BatchDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: how many of its transfers are in each state, and the transfers."""

    id: str
    live: bool
    number: str
    requested_by: str
    amount: int
    currency: str
    states: Annotated[dict[str, int], Meta(description="the number of transfers in each state")]
    transfers: list[TransferDocument]
    created_at: datetime
    object: str = "transfer_batch"


KNOWN_NUMBER: Final = ResponseSpec(
    data_container=TransferDocument,
    generate_examples=False,
    description="The number was given before; this is its transfer.",
)


def read_order(given: TransferInput) -> TransferOrder:
    return TransferOrder(
        number=given.number,
        channel=given.channel,
        amount=Money(given.amount, given.currency),
        payee=given.payee,
        payee_name=given.payee_name,
        description=given.description,
        scene=given.scene,
    )


def transfer_document(
    transfer: Transfer, payee: str | None = None, payee_name: str | None = None
) -> TransferDocument:
    return TransferDocument(
        id=transfer.transfer_id,
        live=transfer.live,
        batch_id=transfer.batch_id,
        number=transfer.number,
        channel=transfer.channel,
        reference=transfer.reference,
        amount=transfer.amount_minor,
        currency=transfer.currency,
        description=transfer.description,
        scene=transfer.scene,
        state=transfer.state,
        requested_by=transfer.requested_by,
        decided_by=transfer.decided_by,
        decided_at=transfer.decided_at,
        reason=transfer.reason,
        action=transfer.action,
        code=transfer.code,
        channel_code=transfer.channel_code,
        channel_message=transfer.channel_message,
        channel_reference=transfer.channel_reference,
        transferred_at=transfer.transferred_at,
        created_at=transfer.created_at,
        payee=payee,
        payee_name=payee_name,
    )


async def _in_full(engine: Engine, transfer: Transfer) -> TransferDocument:
    payee, name = await payee_of(engine, transfer.merchant_id, transfer.transfer_id)
    return transfer_document(transfer, payee, name)


def _batch_document(batch: Batch) -> BatchDocument:
    states = [one.state for one in batch.transfers]
    return BatchDocument(
        id=batch.row.batch_id,
        live=batch.row.live,
        number=batch.row.number,
        requested_by=batch.row.requested_by,
        amount=sum(one.amount_minor for one in batch.transfers),
        currency=batch.transfers[0].currency,
        states={state: states.count(state) for state in TransferState if state in states},
        transfers=[transfer_document(one) for one in batch.transfers],
        created_at=batch.row.created_at,
    )


@post(
    "/transfers",
    before_request=check_body,
    responses={200: KNOWN_NUMBER, **refusals(404, 409, 413)},
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def create_transfer(
    data: JSONBody[TransferInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> Response[TransferDocument]:
    """Ask for a transfer. Unless it is below the merchant's threshold, another key approves it.

    The same number gives the same transfer, with 200 instead of 201.
    """
    key = idempotency_key(request, await request.body())
    done = await request_transfer(engine, merchant, read_order(data), key=key)
    document = await _in_full(engine, done.transfer)
    return Response(document, status_code=201 if done.created else 200)


@get("/transfers", responses=refusals(), tags=["Transfers"], opt=needs(KeyScope.TRANSFERS_WRITE))
async def get_transfers(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
    in_state: Annotated[TransferState | None, QueryParameter(name="state")] = None,
) -> Page[TransferDocument]:
    """The newest first; those in one state, when one is named."""
    found = await list_transfers(engine, merchant, before=before, state=in_state, limit=limit)
    return page_of([transfer_document(one) for one in found], limit)


@get(
    "/transfers/{transfer_id:str}",
    responses=refusals(404),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def get_transfer(
    transfer_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> TransferDocument:
    """The transfer as it is now, with its payee."""
    return await _in_full(engine, await show_transfer(engine, merchant, transfer_id))


@post(
    "/transfers/{transfer_id:str}/approve",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def approve_transfer(
    transfer_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> TransferDocument:
    """Let it go, with another API key than asked for it."""
    return await _in_full(engine, await approve(engine, merchant, transfer_id))


@post(
    "/transfers/{transfer_id:str}/reject",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def reject_transfer(
    transfer_id: FromPath[str],
    data: JSONBody[RejectionInput],
    engine: TheEngine,
    merchant: TheMerchant,
) -> TransferDocument:
    """Let it come to nothing while it waits."""
    gone = await reject(engine, merchant, transfer_id, reason=data.reason)
    return await _in_full(engine, gone)


@post(
    "/transfers/batches",
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def create_batch(
    data: JSONBody[BatchInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> BatchDocument:
    """Ask for many transfers at once: all of them are taken, or none."""
    if bool(data.transfers) == (data.csv is not None):
        raise InvalidInput(
            "either a list or a CSV file",
            field="transfers",
            remedy="give one of: transfers, csv",
        )
    if data.csv is not None:
        orders = read_csv(data.csv)
    else:
        orders = [read_order(one) for one in data.transfers]
    key = idempotency_key(request, await request.body())
    return _batch_document(await request_batch(engine, merchant, data.number, orders, key=key))


@get(
    "/transfers/batches/{batch_id:str}",
    responses=refusals(404),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def get_batch(
    batch_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> BatchDocument:
    """The batch as it is now."""
    return _batch_document(await show_batch(engine, merchant, batch_id))


@post(
    "/transfers/batches/{batch_id:str}/approve",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def approve_whole_batch(
    batch_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> BatchDocument:
    """Let every transfer of it go that waits, with another API key than asked for it."""
    return _batch_document(await approve_batch(engine, merchant, batch_id))


@post(
    "/transfers/batches/{batch_id:str}/reject",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Transfers"],
    opt=needs(KeyScope.TRANSFERS_WRITE),
)
async def reject_whole_batch(
    batch_id: FromPath[str],
    data: JSONBody[RejectionInput],
    engine: TheEngine,
    merchant: TheMerchant,
) -> BatchDocument:
    """Let every transfer of it that waits come to nothing."""
    gone = await reject_batch(engine, merchant, batch_id, reason=data.reason)
    return _batch_document(gone)


transfers = Router(
    "/",
    route_handlers=[
        create_transfer,
        get_transfers,
        get_transfer,
        approve_transfer,
        reject_transfer,
        create_batch,
        get_batch,
        approve_whole_batch,
        reject_whole_batch,
    ],
)
