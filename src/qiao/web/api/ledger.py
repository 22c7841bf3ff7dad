"""The merchant's books: balances and statements of account. Reading only; nothing writes here."""

from datetime import UTC, datetime
from typing import Annotated, NoReturn

import msgspec
from litestar import Router, get
from litestar.params import FromQuery

from qiao.domain.errors import InvalidInput
from qiao.domain.ledger import Balance
from qiao.engine.key_policy import KeyScope
from qiao.engine.ledger import Entry, balances, beginning, grows_by, statement_of_account
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Limit
from qiao.web.api.responses import refusals


class BalanceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on an account, in minor units: ``balance`` is positive where it grows."""

    account: str
    currency: str
    debits: int
    credits: int
    balance: int
    object: str = "balance"


class BalancesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Every account at one moment. Qiao records claims between others; it holds no funds."""

    at: datetime
    data: list[BalanceDocument]
    object: str = "balances"


class EntryDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: ``amount`` was debited to one account and credited to the other."""

    cursor: str
    event_id: str
    payment_id: Annotated[str | None, msgspec.Meta(description="null for a transfer's")]
    subject_id: Annotated[
        str, msgspec.Meta(description="the attempt, refund or transfer behind it")
    ]
    debit: str
    credit: str
    amount: int
    currency: str
    change: Annotated[int, msgspec.Meta(description="what it added to this account's balance")]
    booked_at: datetime
    object: str = "ledger_entry"


class StatementOfAccountDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An account's entries in a span of time, the oldest first, between two balances."""

    account: str
    currency: str
    since: datetime
    until: datetime
    opening: int
    closing: int
    data: list[EntryDocument]
    has_more: bool
    object: str = "statement_of_account"


def _balance(balance: Balance) -> BalanceDocument:
    return BalanceDocument(
        account=balance.account,
        currency=balance.currency,
        debits=balance.debits_minor,
        credits=balance.credits_minor,
        balance=balance.balance_minor,
    )


def _entry(entry: Entry, account: str) -> EntryDocument:
    return EntryDocument(
        cursor=f"{entry.event_id}:{entry.line}",
        event_id=entry.event_id,
        payment_id=entry.payment_id,
        subject_id=entry.subject_id,
        debit=entry.debit,
        credit=entry.credit,
        amount=entry.amount_minor,
        currency=entry.currency,
        change=grows_by(entry, account),
        booked_at=entry.booked_at,
    )


def _cursor(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    event_id, _, line = text.partition(":")
    if not (line.isascii() and line.isdigit() and len(line) <= 4):
        raise InvalidInput(
            "not a cursor", field="after", remedy="give the cursor of the page's last entry"
        )
    return event_id, int(line)


@get("/ledger/balances", responses=refusals(404), tags=["Ledger"], opt=needs(KeyScope.LEDGER_READ))
async def get_balances(
    engine: TheEngine, merchant: TheMerchant, at: FromQuery[str | None] = None
) -> BalancesDocument:
    """What stands on every account, now or as it was at a time.

    A time before the end of the archive is refused as ``archived``.
    """
    moment = None if at is None else read_moment(at, "at")
    found = await balances(engine, merchant, at=moment)
    return BalancesDocument(at=moment or engine.now(), data=[_balance(one) for one in found])


@get("/ledger/entries", responses=refusals(404), tags=["Ledger"], opt=needs(KeyScope.LEDGER_READ))
async def get_entries(
    engine: TheEngine,
    merchant: TheMerchant,
    account: FromQuery[str],
    currency: FromQuery[str] = "CNY",
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: Limit = 20,
) -> StatementOfAccountDocument:
    """A statement of account, the oldest entries first; the next page is ``after`` a cursor.

    It may begin at the end of the archive, and not before (``archived``).
    """
    begin = await beginning(engine) if since is None else read_moment(since, "since")
    end = engine.now() if until is None else read_moment(until, "until")
    found = await statement_of_account(
        engine,
        merchant,
        account,
        currency=currency,
        since=begin,
        until=end,
        after=_cursor(after),
        limit=limit,
    )
    return StatementOfAccountDocument(
        account=account,
        currency=currency,
        since=begin,
        until=end,
        opening=found.opening.balance_minor,
        closing=found.closing.balance_minor,
        data=[_entry(one, account) for one in found.entries],
        has_more=found.has_more,
    )


def read_moment(text: str, field: str) -> datetime:
    """A time with its zone, as UTC. Raises InvalidInput naming ``field``."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else _refuse(field)
    except (ValueError, OverflowError):
        return _refuse(field)


def _refuse(field: str) -> NoReturn:
    raise InvalidInput(
        "not a time with its zone", field=field, remedy="write it like 2026-01-31T00:00:00Z"
    )


ledger = Router("/", route_handlers=[get_balances, get_entries])
