"""The books: balances, statements of account, and the proof that they are right.

Nothing here writes. Every statement that changes a state books its entries itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.ledger import NORMAL_SIDE, Balance, Side, kind_of
from qiao.domain.money import exponent
from qiao.engine.archived import archive_end, refuse_times_before
from qiao.engine.payments import MAX_PAGE
from qiao.engine.runtime import Engine, Scope
from qiao.store.database import Queries
from qiao.store.sql import load_statements

SQL = load_statements("ledger")
KINDS: Final = (
    *("wrong_entries", "wrong_payments", "wrong_reserves", "wrong_fees", "wrong_shares"),
    "overdrawn",
)
"""The statements that look for mistakes; each names what it finds."""
BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Before anything can have been booked."""
SHOWN: Final = 20
"""How many of each kind of mistake a check names."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. ``subject_id``: the attempt, refund, transfer or share whose money it is."""

    event_id: str
    line: int
    debit: str
    credit: str
    amount_minor: int
    currency: str
    payment_id: str | None
    subject_id: str
    booked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOfAccount:
    """An account's entries in a span of time, the oldest first, between two balances.

    ``closing`` is the balance at ``until``, also when ``has_more`` says that this is not the last
    page of entries.
    """

    opening: Balance
    closing: Balance
    entries: Sequence[Entry]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing in the books that is wrong."""

    kind: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a check of the whole ledger found; the books are right when there is no mistake."""

    entries: int
    merchants: int
    trial_balance: Sequence[tuple[bool, Balance]]
    """Live or test, and every merchant's accounts of one kind together."""
    mistakes: Sequence[Mistake]


async def balances(engine: Engine, scope: Scope, *, at: datetime | None = None) -> list[Balance]:
    """Every account's balance, now or as it was at ``at`` (exclusive). Raises Archived."""
    found = await _balances(engine, scope, at)
    if at is not None:
        await refuse_times_before(engine.database, at, field="at")
    return found


async def _balances(engine: Engine, scope: Scope, at: datetime | None) -> list[Balance]:
    rows = await engine.database.fetch(SQL.balances, scope.merchant_id, scope.live, at)
    return [_balance(row) for row in rows]


async def beginning(engine: Engine) -> datetime:
    """From when on statements can be given."""
    end = await archive_end(engine.database)
    return BEGINNING if end is None else end.until


async def statement_of_account(
    engine: Engine,
    scope: Scope,
    account: str,
    *,
    currency: str,
    since: datetime,
    until: datetime,
    after: tuple[str, int] | None = None,
    limit: int = 20,
) -> StatementOfAccount:
    """What happened on ``account`` from ``since`` to ``until`` (exclusive). Raises InvalidInput,
    and Archived when it began before what is still here.

    ``after`` is the event's id and the line that ended the page before.
    """
    _check_account(account)
    exponent(currency)
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    if until <= since:
        raise InvalidInput(
            "ends before it begins", field="until", remedy="give a time later than since"
        )
    event_id, line = after or (None, None)
    if event_id is not None:
        parse_id(IdKind.EVENT, event_id, field="after")
    rows = await engine.database.fetch(
        SQL.statement,
        scope.merchant_id,
        scope.live,
        account,
        currency,
        since,
        until,
        event_id,
        line,
        limit + 1,
    )
    opening, closing = [
        _of(await _balances(engine, scope, moment), account, currency) for moment in (since, until)
    ]
    await refuse_times_before(engine.database, since, field="since")
    return StatementOfAccount(
        opening=opening,
        closing=closing,
        entries=[msgspec.convert(dict(row.items()), Entry) for row in rows[:limit]],
        has_more=len(rows) > limit,
    )


async def prove(queries: Queries) -> Proof:
    """Check every merchant's books against the payments, from nothing.

    Each statement sees one moment, so it may run beside a working platform.
    """
    counts = await queries.fetch_row(SQL.counts)
    assert counts is not None  # noqa: S101 - a SELECT without FROM
    trial = [(row["live"], _balance(row)) for row in await queries.fetch(SQL.trial_balance)]
    mistakes = [*_out_of_balance(trial)]
    for kind in KINDS:
        rows = await queries.fetch(SQL[kind], SHOWN)
        mistakes += [Mistake(kind=kind, detail=dict(row.items())) for row in rows]
    mistakes += [
        Mistake(kind="not_append_only", detail=dict(row.items()))
        for row in await queries.fetch(SQL.unguarded)
    ]
    return Proof(
        entries=counts["entries"],
        merchants=counts["merchants"],
        trial_balance=trial,
        mistakes=mistakes,
    )


def _out_of_balance(trial: Sequence[tuple[bool, Balance]]) -> list[Mistake]:
    sums: dict[tuple[bool, str], int] = {}
    for live, one in trial:
        key = (live, one.currency)
        sums[key] = sums.get(key, 0) + one.debits_minor - one.credits_minor
    return [
        Mistake(kind="out_of_balance", detail={"live": live, "currency": currency, "by": by})
        for (live, currency), by in sums.items()
        if by
    ]


def _balance(row: Any) -> Balance:
    return Balance(
        account=row["account"],
        currency=row["currency"],
        debits_minor=int(row["debits_minor"]),
        credits_minor=int(row["credits_minor"]),
    )


def _of(found: Sequence[Balance], account: str, currency: str) -> Balance:
    for one in found:
        if (one.account, one.currency) == (account, currency):
            return one
    return Balance(account=account, currency=currency, debits_minor=0, credits_minor=0)


def _check_account(account: str) -> None:
    try:
        kind_of(account)
    except ValueError:
        raise InvalidInput(
            "no such account",
            field="account",
            remedy="take one that the balances show",
        ) from None


def grows_by(entry: Entry, account: str) -> int:
    """What the entry adds to the account's balance, in minor units."""
    side = Side.DEBIT if entry.debit == account else Side.CREDIT
    return entry.amount_minor if side is NORMAL_SIDE[kind_of(account)] else -entry.amount_minor
