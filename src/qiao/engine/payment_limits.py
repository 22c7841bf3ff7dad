"""Limits of payments, for a merchant or one of its apps: of one payment, and of a day.

A limit of no channel is checked and counted when a payment is accepted, one of a channel when an
attempt starts there: by the very statement that does so, so that no two payments at the same
moment pass it together. What was accepted counts, whether or not it is ever paid.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg
import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import MAX_MINOR, Money
from qiao.engine.audit import record_for
from qiao.engine.errors import Conflict, Missing
from qiao.engine.organisations import show_app, show_merchant
from qiao.engine.records import read
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("payment_limits")
EXCEEDED: Final = "QL001"
"""The SQLSTATE of take_limits."""


class LimitKind(StrEnum):
    """What is limited: one payment's amount, or a day's sum or number of payments."""

    AMOUNT = "amount"
    DAILY_AMOUNT = "daily_amount"
    DAILY_COUNT = "daily_count"


AT_MOST: Final = {
    LimitKind.AMOUNT: "at most {} {} (minor units) a payment",
    LimitKind.DAILY_AMOUNT: "at most {} {} (minor units) a day",
    LimitKind.DAILY_COUNT: "at most {} payments in {} a day",
}


class PaymentLimit(msgspec.Struct, frozen=True, kw_only=True):
    """``maximum`` in minor units, or a number of payments. ``app_id`` None: of the merchant as a
    whole; ``channel`` None: of all together. A day begins at midnight in ``time_zone``."""

    merchant_id: str
    limit_id: str
    live: bool
    app_id: str | None
    channel: str | None
    currency: str
    kind: LimitKind
    maximum: int
    time_zone: str
    used_today: int


class _Passed(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of the limit that would be passed."""

    limit_id: str
    kind: LimitKind
    maximum: int
    currency: str
    app_id: str | None
    channel: str | None
    resets_at: datetime | None


async def put_limit(
    engine: Engine,
    scope: Scope,
    kind: LimitKind,
    maximum: int,
    *,
    currency: str,
    channel: str | None = None,
    time_zone: str = "UTC",
) -> PaymentLimit:
    """Set a limit of the scope's mode, and of its app where it has one; again changes it.

    What was counted today stays counted. Raises InvalidInput, Missing.
    """
    await show_merchant(engine, scope.merchant_id)
    if scope.app_id is not None:
        await show_app(engine, scope.merchant_id, scope.app_id)
    Money(0, currency)
    if not 0 <= maximum <= MAX_MINOR:
        raise InvalidInput("no such limit", field="maximum", remedy=f"give 0 to {MAX_MINOR}")
    if channel is not None and channel not in engine.accounts.channels:
        raise InvalidInput(
            f"there is no channel {channel!r}",
            field="channel",
            remedy=f"choose one of: {', '.join(sorted(engine.accounts.channels))}",
        )
    try:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(
                SQL.put_limit,
                scope.merchant_id,
                engine.new_id(IdKind.LIMIT),
                scope.live,
                scope.app_id,
                channel,
                currency,
                kind,
                maximum,
                time_zone,
            )
            assert row is not None  # noqa: S101 - or the time zone was refused
            await record_for(
                engine, queries, scope, "limit.set", row["limit_id"], fields=["maximum"]
            )
    except asyncpg.InvalidParameterValueError:
        raise InvalidInput(
            "no such time zone", field="time_zone", remedy="give one such as Asia/Shanghai"
        ) from None
    return read(PaymentLimit, row)


async def limits(engine: Engine, merchant_id: str) -> list[PaymentLimit]:
    """All of the merchant's and its apps', in both modes. Raises Missing."""
    await show_merchant(engine, merchant_id)
    rows = await engine.database.fetch(SQL.limits, merchant_id)
    return [read(PaymentLimit, row) for row in rows]


async def remove_limit(engine: Engine, scope: Scope, limit_id: str) -> None:
    """Limit it no more, and forget what was counted. Raises Missing."""
    parse_id(IdKind.LIMIT, limit_id, field="limit_id")
    async with engine.database.transaction() as queries:
        live = await queries.fetch_value(SQL.remove_limit, scope.merchant_id, limit_id)
        if live is None:
            raise Missing("no such limit", field="limit_id", remedy="list the merchant's limits")
        of_limit = Scope(merchant_id=scope.merchant_id, live=live, actor=scope.actor)
        await record_for(engine, queries, of_limit, "limit.removed", limit_id)


def limit_exceeded(error: asyncpg.PostgresError) -> Conflict | None:
    """The refusal, where it was a limit that the database refused for."""
    if error.sqlstate != EXCEEDED:
        return None
    passed = msgspec.json.decode(error.detail or "", type=_Passed)
    whose = f"app {passed.app_id}" if passed.app_id else "merchant"
    through = f" through {passed.channel}" if passed.channel else ""
    what = AT_MOST[passed.kind].format(passed.maximum, passed.currency)
    until = "it does not reset" if passed.resets_at is None else f"it resets at {_text(passed)}"
    return Conflict(
        f"the {whose} may take {what}{through}: limit {passed.limit_id}; {until}",
        code="limit_exceeded",
        field="amount" if passed.channel is None else "method.channel",
        remedy="pay less, or another way"
        if passed.resets_at is None
        else "pay later or another way, or ask who runs this server",
    )


def _text(passed: _Passed) -> str:
    assert passed.resets_at is not None  # noqa: S101 - the caller has looked
    return f"{passed.resets_at:%Y-%m-%dT%H:%M:%SZ}"
