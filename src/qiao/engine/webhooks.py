"""Tell merchants: endpoints, and events delivered to them until they answer, for three days.

Signed as Standard Webhooks says (https://www.standardwebhooks.com/): the event's id, the time of
the sending and the body, by HMAC-SHA256 under the endpoint's secret. An event has one id and one
body, however often it is sent.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from qiao.crypto.keyed_digest import hmac_sha256
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.archived import BEING_ARCHIVED, refuse_events_before
from qiao.engine.audit import record_for
from qiao.engine.errors import Archived, Missing
from qiao.engine.payments import check_url
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("webhooks")
EVENT_TYPES: Final = frozenset(
    {
        "payment.created",
        "payment.authorized",
        "payment.paid",
        "payment.closed",
        "payment.surplus",
        "capture.failed",
        "refund.created",
        "refund.succeeded",
        "refund.failed",
        "profit_share.created",
        "profit_share.succeeded",
        "profit_share.partly",
        "profit_share.failed",
        "profit_share.return_created",
        "profit_share.return_succeeded",
        "profit_share.return_failed",
        "dispute.created",
        "dispute.updated",
        "dispute.due_soon",
        "dispute.closed",
        "transfer.created",
        "transfer.approved",
        "transfer.rejected",
        "transfer.succeeded",
        "transfer.failed",
        "agreement.created",
        "agreement.active",
        "agreement.refused",
        "agreement.expired",
        "agreement.ended",
        "subscription.created",
        "subscription.charge_failed",
        "subscription.past_due",
        "subscription.recovered",
        "subscription.period_missed",
        "subscription.paused",
        "subscription.resumed",
        "subscription.cancelled",
        "subscription.completed",
    }
)
RETRY_AFTER_SECONDS: Final = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 64_800, 86_400)
"""How long to wait after each failed try: twelve tries in three days."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how every secret begins
SECRET_BYTES: Final = 32
TIMEOUT_SECONDS: Final = 15.0
READ_BYTES: Final = 4096
KEY_BYTES: Final = range(24, 65)
SUCCESS: Final = range(200, 300)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go. ``event_types`` limits them, empty means all; so does ``app_id``."""

    endpoint_id: str
    app_id: str | None = None
    url: str
    event_types: list[str]
    enabled: bool
    created_at: datetime


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one event at one endpoint: pending, delivered or failed."""

    event_id: str
    endpoint_id: str
    type: str
    state: str
    tries: int
    last_status: int | None
    last_error: str | None
    last_tried_at: datetime | None
    delivered_at: datetime | None


def new_secret() -> str:
    """A secret for an endpoint, in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def add_endpoint(
    engine: Engine,
    scope: Scope,
    url: str,
    *,
    event_types: Sequence[str] = (),
    secret: str | None = None,
) -> tuple[Endpoint, str]:
    """The endpoint, and its secret, which is shown only here. Raises InvalidInput."""
    check_url(url, field="url")
    if scope.live and not url.startswith("https://"):
        raise InvalidInput(
            "events about real money go only over TLS",
            field="url",
            remedy="give an https address, or use a test key",
        )
    unknown = sorted(set(event_types) - EVENT_TYPES)
    if unknown:
        raise InvalidInput(
            f"no such event type: {unknown[0]}",
            field="event_types",
            remedy=f"choose from: {', '.join(sorted(EVENT_TYPES))}",
        )
    secret = secret or new_secret()
    _key(secret)
    endpoint_id = engine.new_id(IdKind.WEBHOOK_ENDPOINT)
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(
            SQL.add_endpoint,
            scope.merchant_id,
            endpoint_id,
            scope.live,
            url,
            engine.seal.close(secret.encode()),
            sorted(set(event_types)),
            scope.app_id,
        )
        await record_for(engine, queries, scope, "endpoint.added", endpoint_id)
    return _endpoint(row), secret


async def endpoints(engine: Engine, scope: Scope) -> list[Endpoint]:
    rows = await engine.database.fetch(SQL.endpoints, scope.merchant_id, scope.live)
    return [_endpoint(row) for row in rows]


async def remove_endpoint(engine: Engine, scope: Scope, endpoint_id: str) -> None:
    """Nothing is sent there any more, what waits neither. Raises Missing."""
    parse_id(IdKind.WEBHOOK_ENDPOINT, endpoint_id, field="endpoint_id")
    async with engine.database.transaction() as queries:
        gone = await queries.fetch_value(
            SQL.delete_endpoint, scope.merchant_id, scope.live, endpoint_id
        )
        if gone is not None:
            await record_for(engine, queries, scope, "endpoint.removed", endpoint_id)
    if gone is None:
        raise Missing("no such endpoint", field="endpoint_id", remedy="list the endpoints")


async def deliveries(
    engine: Engine, scope: Scope, endpoint_id: str, *, before: str | None = None, limit: int = 20
) -> list[Delivery]:
    """The newest events first; ``before`` is the event's id that ended the page before."""
    await _of_id(engine, scope, endpoint_id)
    rows = await engine.database.fetch(
        SQL.deliveries, scope.merchant_id, endpoint_id, before, limit
    )
    return [msgspec.convert(dict(row.items()), Delivery) for row in rows]


async def replay(engine: Engine, scope: Scope, endpoint_id: str, event_id: str) -> None:
    """Send an event again, or for the first time to an endpoint younger than it. Raises Missing,
    or Archived."""
    await _of_id(engine, scope, endpoint_id)
    parse_id(IdKind.EVENT, event_id, field="event_id")
    try:
        wanted = await engine.database.fetch_value(
            SQL.replay, scope.merchant_id, scope.live, event_id, endpoint_id
        )
    except asyncpg.PostgresError as error:
        if error.sqlstate != BEING_ARCHIVED:
            raise
        raise Archived(
            "its month is on its way to the archive", field="event_id", remedy="it cannot be resent"
        ) from error
    if wanted is None:
        await refuse_events_before(engine.database, event_id, field="event_id")
        raise Missing("no such event", field="event_id", remedy="list the events")
    engine.wake()


def event_body(event_id: str, kind: str, created_at: datetime, data: Mapping[str, Any]) -> bytes:
    """The event as it is sent: the same bytes every time."""
    return msgspec.json.encode(
        {
            "id": event_id,
            "type": kind,
            "timestamp": created_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "data": data,
        },
        order="deterministic",
    )


def signed_headers(secret: str, event_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks, over exactly these bytes."""
    timestamp = str(int(now.timestamp()))
    content = f"{event_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac_sha256(_key(secret), content)).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in KEY_BYTES:
        raise InvalidInput(
            "not a webhook secret",
            field="secret",
            remedy="give whsec_ and 24 to 64 bytes in base64, or let one be made",
        )
    return key


async def _of_id(engine: Engine, scope: Scope, endpoint_id: str) -> Endpoint:
    parse_id(IdKind.WEBHOOK_ENDPOINT, endpoint_id, field="endpoint_id")
    row = await engine.database.fetch_row(
        SQL.endpoint_of_id, scope.merchant_id, scope.live, endpoint_id
    )
    if row is None:
        raise Missing("no such endpoint", field="endpoint_id", remedy="list the endpoints")
    return _endpoint(row)


def _endpoint(row: asyncpg.Record | None) -> Endpoint:
    assert row is not None  # noqa: S101 - callers have looked, or it is an INSERT … RETURNING
    return msgspec.convert(dict(row.items()), Endpoint)
