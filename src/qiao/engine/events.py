"""What happened, as it was told to the merchant: events are written once and never changed."""

from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from qiao.domain.ids import IdKind, parse_id
from qiao.engine.archived import refuse_events_before, refuse_payments_before
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("payments")
OVERLAP_SECONDS: Final = 120
"""Whoever follows events goes back so far from the newest id, and leaves out what it has seen.

Longer than the database lets a statement run and its transaction idle after it (store.database),
with room for the clocks of several servers.
"""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; ``data`` is what it was about, as it was then.

    ``payment_id`` is None for a transfer's.
    """

    event_id: str
    type: str
    payment_id: str | None
    data: dict[str, Any]
    created_at: datetime


async def list_events(
    engine: Engine,
    scope: Scope,
    *,
    payment_id: str | None = None,
    before: str | None = None,
    limit: int = 20,
) -> list[Event]:
    """The newest first; ``before`` is the id that ended the page before. Raises InvalidId.

    The list ends where the archive begins. Raises Archived for a payment, or a cursor, of which
    nothing is left here.
    """
    if payment_id is not None:
        parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    if before is not None:
        parse_id(IdKind.EVENT, before, field="before")
    rows = await engine.database.fetch(
        SQL.events, scope.merchant_id, scope.live, payment_id, before, limit
    )
    if not rows and payment_id is not None:
        await refuse_payments_before(engine.database, payment_id, field="payment_id")
    if not rows and before is not None:
        await refuse_events_before(engine.database, before, field="before")
    return [_event(row) for row in rows]


async def events_after(
    engine: Engine,
    scope: Scope,
    after: str,
    *,
    payment_id: str | None = None,
    limit: int = 20,
) -> list[Event]:
    """What has a larger id than ``after``, the oldest first. Raises InvalidId, and Archived where
    the next ones are in the archive.

    An id is made before its event commits, so one that is smaller than the last of a page may
    still appear: see OVERLAP_SECONDS.
    """
    if payment_id is not None:
        parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    parse_id(IdKind.EVENT, after, field="after")
    rows = await engine.database.fetch(
        SQL.events_after, scope.merchant_id, scope.live, payment_id, after, limit
    )
    await refuse_events_before(engine.database, after, field="after")
    return [_event(row) for row in rows]


def _event(row: asyncpg.Record) -> Event:
    return msgspec.convert(dict(row.items()), Event)
