"""Send a transfer, ask what became of it, and settle what the channel says.

It has one number for ever. While it is unknown it stays in the books, and is asked about; it is
sent again only when the channel, after its time, does not know the number: at worst it is told
twice.
"""

import json
from datetime import timedelta
from functools import partial
from typing import Any, Final, assert_never, cast

from qiao.channels.interface import Transfers
from qiao.channels.requests import TransferQuery, TransferRequest
from qiao.channels.wire import Operation
from qiao.domain.ids import IdKind
from qiao.domain.outcomes import (
    NotFound,
    NotSent,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
    Unknown,
)
from qiao.domain.states import TRANSFER, TransferEvent, TransferState, after, sources
from qiao.engine.accounts import Account
from qiao.engine.attempts import SETTLING_WINDOW
from qiao.engine.calls import believed, call
from qiao.engine.records import Transfer, read
from qiao.engine.runtime import Engine
from qiao.engine.sending import primed
from qiao.engine.settlement import action_document
from qiao.store.sql import load_statements

SQL = load_statements("transfers")
LEASE: Final = timedelta(seconds=30)
SENDABLE: Final = sorted(sources(TRANSFER, TransferEvent.SEND))
FINAL: Final = frozenset({TransferState.SUCCEEDED, TransferState.FAILED, TransferState.REJECTED})
WAITING: Final = frozenset({TransferState.REQUESTED, *FINAL})
"""States in which there is nothing to do with the channel."""


async def work(engine: Engine, transfer: Transfer) -> Transfer:
    """Do the next thing for a transfer: send it, or ask about it. Again does no harm."""
    if transfer.state in WAITING:
        return transfer
    if transfer.state is TransferState.APPROVED:
        return await _send(engine, transfer)
    sent_at = transfer.sent_at or transfer.created_at
    if transfer.state is TransferState.SENDING and engine.now() < sent_at + LEASE:
        return transfer  # somebody waits for its answer
    account = await engine.accounts.of_id(transfer.merchant_id, transfer.account_id)
    outcome = await _ask(engine, account, transfer)
    if isinstance(outcome, NotFound) and transfer.state is not TransferState.PENDING:
        if transfer.state is TransferState.SENDING:
            await _move(engine, transfer, TransferEvent.LOSE)
        if engine.now() > sent_at + SETTLING_WINDOW:
            return await _send(engine, transfer)  # the same number: at worst it is told twice
        return await transfer_now(engine, transfer.merchant_id, transfer.transfer_id)
    return await settle_transfer(engine, transfer, outcome)


async def settle_transfer(engine: Engine, transfer: Transfer, outcome: TransferOutcome) -> Transfer:
    """Make what the channel said of a transfer true in the books; again changes nothing."""
    match outcome:
        case Transferred():
            if outcome.amount == transfer.amount:
                await engine.database.fetch_row(
                    SQL.settle_transferred,
                    transfer.merchant_id,
                    transfer.transfer_id,
                    sorted(sources(TRANSFER, TransferEvent.SUCCEED)),
                    outcome.channel_reference,
                    outcome.transferred_at,
                    engine.new_id(IdKind.EVENT),
                )
            else:
                detail = {"amount": outcome.amount.minor, "currency": outcome.amount.currency}
                await note_anomaly(engine, transfer, "other_amount", detail)
        case TransferRefused():
            await engine.database.fetch_row(
                SQL.settle_transfer_failed,
                transfer.merchant_id,
                transfer.transfer_id,
                sorted(sources(TRANSFER, TransferEvent.FAIL)),
                outcome.code,
                outcome.channel_code,
                outcome.channel_message,
                engine.new_id(IdKind.EVENT),
            )
        case TransferPending():
            action = None if outcome.action is None else action_document(outcome.action)
            await _move(engine, transfer, TransferEvent.WAIT, outcome.channel_reference, action)
        case Unknown():
            await _move(engine, transfer, TransferEvent.LOSE)
        case NotFound() | NotSent():
            pass
        case _:
            assert_never(outcome)
    engine.wake()
    return await transfer_now(engine, transfer.merchant_id, transfer.transfer_id)


async def transfer_now(engine: Engine, merchant_id: str, transfer_id: str) -> Transfer:
    """The transfer as it is now."""
    row = await engine.database.fetch_row(SQL.transfer_of_any_mode, merchant_id, transfer_id)
    if row is None:
        raise LookupError(transfer_id)
    return read(Transfer, row)


async def note_anomaly(
    engine: Engine, transfer: Transfer, kind: str, detail: dict[str, Any]
) -> None:
    """Keep for the operator what may not happen and did."""
    await engine.database.execute(
        SQL.note_anomaly,
        transfer.merchant_id,
        engine.new_id(IdKind.EVENT),
        f"transfer_{kind}",
        {"transfer_id": transfer.transfer_id, **detail},
    )


def sending(
    engine: Engine,
    account: Account,
    request: TransferRequest,
) -> Operation[TransferOutcome]:
    """The channel's operation, run up to its first request. Raises InvalidInput."""
    return primed(_pays(account).transfer(request, engine.context))


async def payee_of(engine: Engine, merchant_id: str, transfer_id: str) -> tuple[str, str | None]:
    """Who gets the money, and by what name: personal data, for whoever decides about it."""
    sealed = await engine.database.fetch_value(SQL.payee, merchant_id, transfer_id)
    payee, name = json.loads(engine.seal.open(sealed))
    return payee, name


def seal_payee(engine: Engine, payee: str, payee_name: str | None) -> bytes:
    """As ``payee_of`` opens it."""
    return engine.seal.close(json.dumps([payee, payee_name]).encode())


async def _ask(engine: Engine, account: Account, transfer: Transfer) -> TransferOutcome:
    query = TransferQuery(reference=transfer.reference, amount=transfer.amount)
    operation = _pays(account).query_transfer(query, engine.context)
    return await call(engine, account, "query_transfer", operation)


async def _send(engine: Engine, transfer: Transfer) -> Transfer:
    account = await engine.accounts.of_id(transfer.merchant_id, transfer.account_id)
    payee, payee_name = await payee_of(engine, transfer.merchant_id, transfer.transfer_id)
    request = TransferRequest(
        reference=transfer.reference,
        amount=transfer.amount,
        payee=payee,
        payee_name=payee_name,
        description=transfer.description,
        scene=transfer.scene,
        notify_url=engine.notify_url(transfer.merchant_id, transfer.account_id),
    )
    operation = sending(engine, account, request)
    row = await engine.database.fetch_row(
        SQL.send_transfer, transfer.merchant_id, transfer.transfer_id, SENDABLE, engine.now()
    )
    if row is None:
        operation.close()
        return await transfer_now(engine, transfer.merchant_id, transfer.transfer_id)
    outcome = await call(engine, account, "transfer", operation)
    resent = transfer.state is not TransferState.APPROVED
    if resent:
        ask = partial(_ask, engine, account, transfer)
        outcome = await believed(outcome, TransferRefused, ask)
    if isinstance(outcome, NotSent) and not resent:
        await _move(engine, transfer, TransferEvent.FAIL_TO_SEND)
    elif isinstance(outcome, NotSent):  # an earlier sending of the number may have arrived
        await _move(engine, transfer, TransferEvent.LOSE)
    else:
        return await settle_transfer(engine, transfer, outcome)
    return await transfer_now(engine, transfer.merchant_id, transfer.transfer_id)


async def _move(
    engine: Engine,
    transfer: Transfer,
    event: TransferEvent,
    channel_reference: str | None = None,
    action: dict[str, Any] | None = None,
) -> None:
    states = sorted(sources(TRANSFER, event))
    await engine.database.execute(
        SQL.move_transfer,
        transfer.merchant_id,
        transfer.transfer_id,
        after(TRANSFER, TransferState(states[0]), event),
        states,
        channel_reference,
        action,
    )


def _pays(account: Account) -> Transfers:
    return cast("Transfers", account.channel)
