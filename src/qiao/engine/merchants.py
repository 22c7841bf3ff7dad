"""Merchants and their API keys. A key is shown once; only its digest is kept."""

import hashlib
import secrets
import time
from datetime import datetime
from typing import Final

import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.audit import record, record_for
from qiao.engine.errors import Missing
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("merchants")
MAX_NAME: Final = 64
KEY_PREFIX: Final = {False: "sk_test_", True: "sk_live_"}
HELD_SECONDS: Final = 1.0
"""How long a revoked key may still work in a process that has just seen it."""
MAX_HELD: Final = 10_000


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was issued; ``hint`` is how it begins."""

    api_key_id: str
    live: bool
    hint: str
    created_at: datetime
    revoked_at: datetime | None


async def add_merchant(
    engine: Engine, name: str, *, merchant_id: str | None = None, actor: Actor = SYSTEM
) -> str:
    """A new merchant's id; the given id again changes nothing. Raises InvalidInput."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput(
            "not a name", field="name", remedy=f"give 1 to {MAX_NAME} printable characters"
        )
    merchant_id = merchant_id or engine.new_id(IdKind.MERCHANT)
    async with engine.database.transaction() as queries:
        if await queries.fetch_value(SQL.add_merchant, merchant_id, name) is not None:
            await record(
                queries,
                "merchant.added",
                at=engine.now(),
                chain=merchant_id,
                actor=actor,
                subject_id=merchant_id,
            )
    return merchant_id


async def merchant_name(engine: Engine, merchant_id: str) -> str | None:
    """The merchant's name, as customers see it; None when there is no such merchant."""
    name: str | None = await engine.database.fetch_value(SQL.merchant_name, merchant_id)
    return name


async def issue_api_key(engine: Engine, scope: Scope, *, key: str | None = None) -> str:
    """A new key for the scope, or the given one, which only development should ever give."""
    key = key or KEY_PREFIX[scope.live] + secrets.token_urlsafe(32)
    async with engine.database.transaction() as queries:
        key_id = await queries.fetch_value(
            SQL.add_api_key,
            scope.merchant_id,
            engine.new_id(IdKind.API_KEY),
            scope.live,
            _digest(key),
            f"{key[: len(KEY_PREFIX[scope.live]) + 4]}…",
        )
        if key_id is not None:
            await record_for(engine, queries, scope, "api_key.issued", key_id)
    return key


async def api_keys(engine: Engine, merchant_id: str) -> list[ApiKey]:
    """The merchant's keys in both modes, the oldest first; revoked ones too."""
    rows = await engine.database.fetch(SQL.api_keys, merchant_id)
    return [msgspec.convert(dict(row.items()), ApiKey) for row in rows]


async def revoke_api_key(
    engine: Engine, merchant_id: str, api_key_id: str, *, actor: Actor = SYSTEM
) -> None:
    """The key works no more, within seconds everywhere; again changes nothing. Raises Missing."""
    parse_id(IdKind.API_KEY, api_key_id, field="api_key_id")
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(SQL.revoke_api_key, merchant_id, api_key_id)
        if row is None:
            raise Missing("no such key", field="api_key_id", remedy="list the merchant's keys")
        if row["revoked_now"]:
            scope = Scope(merchant_id=merchant_id, live=row["live"], actor=actor)
            await record_for(engine, queries, scope, "api_key.revoked", api_key_id)


class ApiKeys:
    """Whose a key is. What was found is held for seconds, to spare a query for each request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[bytes, tuple[float, Scope]] = {}

    def holds(self, key: str) -> bool:
        """Whether it was a good key when this process saw it last."""
        return _digest(key) in self._held

    def held(self, key: str) -> Scope | None:
        """What ``scope_of`` says, where that is known without asking the database."""
        found = self._held.get(_digest(key))
        return found[1] if found is not None and time.monotonic() < found[0] else None

    async def scope_of(self, key: str) -> Scope | None:
        """None for a key that nobody has, or that was revoked."""
        if (held := self.held(key)) is not None:
            return held
        digest = _digest(key)
        row = await self._engine.database.fetch_row(SQL.api_key_of_digest, digest)
        if row is None:
            self._held.pop(digest, None)
            return None
        scope = Scope(
            merchant_id=row["merchant_id"],
            live=row["live"],
            actor=Actor(kind="api_key", id=row["api_key_id"]),
        )
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[digest] = (time.monotonic() + HELD_SECONDS, scope)
        return scope


def _digest(key: str) -> bytes:
    # The keys are 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(key.encode()).digest()
