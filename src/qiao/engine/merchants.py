"""Merchants and their API keys. A key is shown once; only its digest is kept."""

import hashlib
import secrets
import time
from typing import Final

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("merchants")
MAX_NAME: Final = 64
KEY_PREFIX: Final = {False: "sk_test_", True: "sk_live_"}
HELD_SECONDS: Final = 1.0
"""How long a revoked key may still work in a process that has just seen it."""
MAX_HELD: Final = 10_000


async def add_merchant(engine: Engine, name: str, *, merchant_id: str | None = None) -> str:
    """A new merchant's id; the given id again changes nothing. Raises InvalidInput."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput(
            "not a name", field="name", remedy=f"give 1 to {MAX_NAME} printable characters"
        )
    merchant_id = merchant_id or engine.new_id(IdKind.MERCHANT)
    await engine.database.execute(SQL.add_merchant, merchant_id, name)
    return merchant_id


async def merchant_name(engine: Engine, merchant_id: str) -> str | None:
    """The merchant's name, as customers see it; None when there is no such merchant."""
    name: str | None = await engine.database.fetch_value(SQL.merchant_name, merchant_id)
    return name


async def issue_api_key(engine: Engine, scope: Scope, *, key: str | None = None) -> str:
    """A new key for the scope, or the given one, which only development should ever give."""
    key = key or KEY_PREFIX[scope.live] + secrets.token_urlsafe(32)
    await engine.database.execute(
        SQL.add_api_key,
        scope.merchant_id,
        engine.new_id(IdKind.API_KEY),
        scope.live,
        _digest(key),
        f"{key[: len(KEY_PREFIX[scope.live]) + 4]}…",
    )
    return key


class ApiKeys:
    """Whose a key is. What was found is held for seconds, to spare a query for each request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[bytes, tuple[float, Scope]] = {}

    async def scope_of(self, key: str) -> Scope | None:
        """None for a key that nobody has, or that was revoked."""
        digest = _digest(key)
        held = self._held.get(digest)
        if held is not None and time.monotonic() < held[0]:
            return held[1]
        row = await self._engine.database.fetch_row(SQL.api_key_of_digest, digest)
        if row is None:
            self._held.pop(digest, None)
            return None
        scope = Scope(merchant_id=row["merchant_id"], live=row["live"], actor=row["api_key_id"])
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[digest] = (time.monotonic() + HELD_SECONDS, scope)
        return scope


def _digest(key: str) -> bytes:
    # The keys are 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(key.encode()).digest()
