"""Sending webhooks: read, signed, posted, noted. Reading and noting is done for several at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from asyncpg import Record

from qiao.channels.wire import HttpRequest, Operation
from qiao.engine.runtime import Engine
from qiao.engine.together import Together
from qiao.engine.webhooks import (
    READ_BYTES,
    RETRY_AFTER_SECONDS,
    SQL,
    SUCCESS,
    TIMEOUT_SECONDS,
    event_body,
    signed_headers,
)
from qiao.telemetry import metrics
from qiao.telemetry.tracing import is_on, link_to, operation

SECRETS_HELD: Final = 1024
"""Of so many endpoints, by what is sealed: a secret that was changed is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What came of one sending. ``delivered`` is None when there was nothing to send."""

    delivered: bool | None = None
    again_seconds: float | None = None


class Deliveries:
    """Sends events to endpoints, each try once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Opening one takes longer than the signing does.
        self._secret_of = lru_cache(maxsize=SECRETS_HELD)(self._open_secret)
        self._read: Together[tuple[str, str, str], Record] = Together(self._read_all)
        self._note: Together[tuple[object, ...], None] = Together(self._note_all)

    async def deliver(self, merchant_id: str, event_id: str, endpoint_id: str) -> Try:
        """Send an event once."""
        engine = self._engine
        row = await self._read.ask((merchant_id, event_id, endpoint_id))
        if row["state"] != "pending" or not row["enabled"]:
            return Try()
        body = event_body(event_id, row["type"], row["created_at"], row["data"])
        secret = self._secret_of(row["sealed_secret"])
        headers = signed_headers(secret, event_id, engine.now(), body)
        if is_on():
            cause = await engine.database.fetch_value(SQL.trace_of_event, merchant_id, event_id)
            link_to(cause)
        with operation("webhook"):
            answer = await engine.transport.run(_post(row["url"], headers, body))
        retry_after, status, error = None, None, None
        if isinstance(answer, int):
            status = answer
            error = None if status in SUCCESS else f"it answered {status}"
        else:
            error = answer.reason
        if error is not None and row["tries"] < len(RETRY_AFTER_SECONDS):
            retry_after = float(RETRY_AFTER_SECONDS[row["tries"]])
        state = "delivered" if error is None else "pending" if retry_after else "failed"
        await self._note.ask((merchant_id, event_id, endpoint_id, state, status, error))
        metrics.count(metrics.WEBHOOKS, "retry" if retry_after else state)
        if error is None:
            age = (engine.now() - row["created_at"]).total_seconds()
            metrics.observe(metrics.WEBHOOK_AGE_SECONDS, max(age, 0.0))
        return Try(delivered=error is None, again_seconds=retry_after)

    def _open_secret(self, sealed: bytes) -> str:
        return self._engine.seal.open(sealed).decode()

    async def _read_all(self, keys: Sequence[tuple[str, str, str]]) -> Sequence[Record]:
        return await self._engine.database.fetch_many(SQL.delivery, keys)

    async def _note_all(self, tries: Sequence[tuple[object, ...]]) -> Sequence[None]:
        await self._engine.database.fetch_many(SQL.note_delivery, tries)
        return [None] * len(tries)


def _post(url: str, headers: Mapping[str, str], body: bytes) -> Operation[int]:
    answer = yield HttpRequest(
        method="POST",
        url=url,
        headers={**headers, "content-type": "application/json", "user-agent": "Qiao"},
        body=body,
        timeout_seconds=TIMEOUT_SECONDS,
        public_only=True,
        read_bytes=READ_BYTES,
    )
    return answer.status
