"""Disputes: what channels tell of them, kept once by the channel's number, and answered in time.

A dispute's state is the channel's word. Notifications only say where to look, and are lost now
and then: open ones are asked about, and new ones listed, every so often (``dispute_watch.py``).
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never, cast

import asyncpg
import msgspec

from qiao.channels.disputes import Dispute, DisputeKind, DisputeQuery, DisputeReply, DisputeState
from qiao.channels.interface import Disputes
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import Money
from qiao.domain.outcomes import DisputeAnswered, DisputeAnswerRefused, NotFound, NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.audit import record_for
from qiao.engine.calls import call
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import check_page
from qiao.engine.records import read
from qiao.engine.runtime import Engine, Scope
from qiao.engine.sending import primed
from qiao.store.database import Queries
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements

SQL = load_statements("disputes")
LEAD: Final = timedelta(hours=6)
"""How long before its end a dispute is told of again."""
OVER: Final = frozenset({DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED})
DUE_SOON: Final = "dispute.due_soon"
Answer = Literal["reply", "finish"]


class DisputeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute as it is kept; what the customer wrote stays sealed. Amounts are minor units."""

    merchant_id: str
    dispute_id: str
    live: bool
    account_id: str
    channel: str
    number: str
    kind: DisputeKind
    state: DisputeState
    payment_id: str | None
    amount_minor: int
    currency: str
    reason: str
    due_by: datetime | None
    reminded_of: datetime | None
    withdrawn_minor: int
    returned_minor: int
    charged_minor: int
    opened_at: datetime
    updated_at: datetime
    created_at: datetime


async def keep(engine: Engine, account: Account, told: Dispute) -> DisputeRow:
    """Keep what a channel tells of a dispute; the same again changes nothing.

    State, entries, event and reminder commit together.
    """
    try:
        async with engine.database.transaction() as queries:
            kept = await _keep(engine, queries, account, told)
    except asyncpg.UniqueViolationError:  # told twice at the same time
        return await keep(engine, account, told)
    engine.wake()
    return kept


async def _keep(engine: Engine, queries: Queries, account: Account, told: Dispute) -> DisputeRow:
    row = await queries.fetch_row(
        SQL.lock_dispute, account.merchant_id, account.account_id, told.number
    )
    before = None if row is None else read(DisputeRow, row)
    kept_text = "" if row is None else _opened(engine, row["sealed_text"])
    text = told.text or kept_text
    if before is not None:
        known = Money(before.amount_minor, before.currency)
        told = replace(told, amount=told.amount if told.amount.minor else known)
    moved = _moved(before, told)
    sealed = engine.seal.close(json.dumps(text).encode())
    if before is None:
        dispute_id = engine.new_id(IdKind.DISPUTE)
        made = await queries.fetch_row(
            SQL.put_dispute,
            account.merchant_id,
            dispute_id,
            account.live,
            account.account_id,
            account.channel_id,
            told.number,
            told.kind,
            told.state,
            await _payment(queries, account, told),
            told.amount.minor,
            told.amount.currency,
            told.reason,
            sealed,
            told.due_by,
            *moved,
            told.opened_at,
            engine.now(),
        )
        event = "dispute.created"
    else:
        dispute_id = before.dispute_id
        if _same(before, told, moved):
            if text != kept_text:
                await queries.execute(SQL.keep_text, account.merchant_id, dispute_id, sealed)
            return before
        made = await queries.fetch_row(
            SQL.change_dispute,
            account.merchant_id,
            dispute_id,
            told.state,
            told.amount.minor,
            told.reason,
            sealed,
            told.due_by,
            *moved,
            engine.now(),
        )
        over = told.state in OVER and before.state not in OVER
        event = "dispute.closed" if over else "dispute.updated"
    assert made is not None  # noqa: S101 - INSERT and UPDATE … RETURNING of a locked row
    now = read(DisputeRow, made)
    await _tell(engine, queries, now, event, before)
    return now


async def _tell(
    engine: Engine, queries: Queries, now: DisputeRow, event: str, before: DisputeRow | None
) -> None:
    """The event, what it books, and the reminder."""
    event_id = engine.new_id(IdKind.EVENT)
    await queries.execute(SQL.tell_dispute, now.merchant_id, now.dispute_id, event_id, event)
    receivable = f"channel_receivable:{now.account_id}"
    entries = [
        ("chargebacks", receivable, now.withdrawn_minor, before and before.withdrawn_minor),
        (receivable, "chargebacks", now.returned_minor, before and before.returned_minor),
        ("merchant_payable", "chargebacks", now.charged_minor, before and before.charged_minor),
    ]
    for line, (debit, credit, minor, was) in enumerate(entries, 1):
        if minor > (was or 0):
            await queries.execute(
                SQL.book_dispute,
                *(now.merchant_id, now.dispute_id, event_id, line, debit, credit, minor),
            )
    if _waits(now) and now.due_by is not None:
        await enqueue(
            queries,
            merchant_id=now.merchant_id,
            kind="remind_of_dispute",
            subject_id=now.dispute_id,
            run_at=now.due_by - LEAD,
        )


def _moved(before: DisputeRow | None, told: Dispute) -> tuple[int, int, int]:
    """What was withdrawn, returned and charged by now: each happens once, and whole."""
    withdrawn = told.withdrawn.minor if told.withdrawn else 0
    if before is not None and before.withdrawn_minor:
        withdrawn = before.withdrawn_minor
    returned = before.returned_minor if before else 0
    charged = before.charged_minor if before else 0
    if not returned and not charged:
        returned = withdrawn if told.state is DisputeState.WON else 0
        charged = withdrawn if told.state is DisputeState.LOST else 0
    return withdrawn, returned, charged


def _same(before: DisputeRow, told: Dispute, moved: tuple[int, int, int]) -> bool:
    return (
        (before.state, before.amount_minor, before.reason, before.due_by)
        == (told.state, told.amount.minor, told.reason, told.due_by)
    ) and moved == (before.withdrawn_minor, before.returned_minor, before.charged_minor)


async def _payment(queries: Queries, account: Account, told: Dispute) -> str | None:
    if told.payment_reference is None:
        return None
    found: str | None = await queries.fetch_value(
        SQL.payment_of_reference,
        account.merchant_id,
        account.account_id,
        told.payment_reference,
    )
    return found


async def look(engine: Engine, account: Account, number: str) -> Dispute | NotFound | None:
    """Ask the channel for a dispute, and keep what it tells; None when it could not be asked."""
    operation = disputing(account).query_dispute(DisputeQuery(number=number), engine.context)
    found = await call(engine, account, "query_dispute", operation)
    if isinstance(found, NotSent | Unknown):
        return None
    if isinstance(found, Dispute):
        await keep(engine, account, found)
    return found


async def remind(engine: Engine, merchant_id: str, dispute_id: str) -> float | None:
    """Tell of a dispute whose end is near and that is not over; once for each end.

    Gives after how many seconds to look again when the end was put off.
    """
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(SQL.lock_dispute_of_id, merchant_id, dispute_id)
        if row is None:
            return None
        now = read(DisputeRow, row)
        if not _waits(now) or now.due_by is None:
            return None
        left = (now.due_by - LEAD - engine.now()).total_seconds()
        if left > 0:
            return left
        event_id = engine.new_id(IdKind.EVENT)
        await queries.execute(SQL.tell_dispute, merchant_id, dispute_id, event_id, DUE_SOON)
        await queries.execute(SQL.reminded, merchant_id, dispute_id)
    engine.wake()
    return None


def _waits(now: DisputeRow) -> bool:
    """Whether the merchant must act by a time of which nobody has reminded them."""
    return now.state not in OVER and now.reminded_of != now.due_by


async def show_dispute(engine: Engine, scope: Scope, dispute_id: str) -> DisputeRow:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    return read(DisputeRow, await _row(engine, scope, dispute_id))


async def show_in_full(
    engine: Engine, scope: Scope, dispute_id: str
) -> tuple[DisputeRow, str, str | None]:
    """The dispute as the channel tells it now, what the customer wrote, and their phone.

    The phone is not kept: it is None when the channel tells none, or cannot be asked.
    """
    row = await show_dispute(engine, scope, dispute_id)
    account = await engine.accounts.of_id(row.merchant_id, row.account_id)
    found = await look(engine, account, row.number)
    phone = found.phone if isinstance(found, Dispute) else None
    now = await _row(engine, scope, dispute_id)
    return read(DisputeRow, now), _opened(engine, now["sealed_text"]), phone


async def list_disputes(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: DisputeState | None = None,
    payment_id: str | None = None,
    limit: int = 20,
) -> list[DisputeRow]:
    """The newest first; ``before`` is the id that ended the page before."""
    check_page(limit, before, IdKind.DISPUTE)
    if payment_id is not None:
        parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    rows = await engine.database.fetch(
        SQL.disputes, scope.merchant_id, scope.live, before, state, payment_id, limit
    )
    return [read(DisputeRow, row) for row in rows]


async def answer(
    engine: Engine, scope: Scope, dispute_id: str, text: str, *, how: Answer
) -> DisputeRow:
    """Write to the customer, or say that it is dealt with; then ask how it stands.

    It is never told twice by itself, for a customer would read it twice. Raises Missing,
    InvalidInput, and Conflict when the channel refused it, or its answer was lost.
    """
    row = await show_dispute(engine, scope, dispute_id)
    account = await engine.accounts.of_id(row.merchant_id, row.account_id)
    channel = disputing(account)
    verb = channel.reply_to_dispute if how == "reply" else channel.finish_dispute
    operation = primed(verb(DisputeReply(number=row.number, text=text), engine.context))
    async with engine.database.transaction() as queries:
        await record_for(engine, queries, scope, f"dispute.{how}", dispute_id)
    outcome = await call(
        engine, account, "reply_to_dispute" if how == "reply" else "finish_dispute", operation
    )
    match outcome:
        case DisputeAnswered():
            await look(engine, account, row.number)
            return await show_dispute(engine, scope, dispute_id)
        case DisputeAnswerRefused():
            raise _not_taken(
                f"the channel refused it: {outcome.channel_code}", "dispute_answer_refused"
            )
        case NotSent():
            raise _not_taken("it did not reach the channel", "dispute_answer_not_sent")
        case Unknown():
            raise _not_taken("the channel's answer was lost", "dispute_answer_unknown")
        case _:
            assert_never(outcome)


def disputing(account: Account) -> Disputes:
    return cast("Disputes", account.channel)


def _not_taken(message: str, code: str) -> Conflict:
    return Conflict(
        message,
        code=code,
        field="text",
        remedy="look at the dispute again; what is sent once more may be read twice",
    )


async def _row(engine: Engine, scope: Scope, dispute_id: str) -> asyncpg.Record:
    parse_id(IdKind.DISPUTE, dispute_id, field="dispute_id")
    row = await engine.database.fetch_row(
        SQL.dispute_of_id, scope.merchant_id, scope.live, dispute_id
    )
    if row is None:
        raise Missing(
            "no such dispute", field="dispute_id", remedy="look at the id, and at the key's mode"
        )
    return row


def _opened(engine: Engine, sealed: bytes) -> str:
    text: str = json.loads(engine.seal.open(sealed))
    return text
