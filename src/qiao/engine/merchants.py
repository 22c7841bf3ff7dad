"""Merchants and their API keys. A key is shown once; only its digest is kept."""

import asyncio
import hashlib
import secrets
import time
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.audit import record, record_for
from qiao.engine.errors import Conflict, Missing
from qiao.engine.held import MAX_HELD, Held
from qiao.engine.key_policy import KeyPolicy
from qiao.engine.organisations import check_name, show_organisation
from qiao.engine.runtime import Engine, Scope
from qiao.engine.signing import SigningAlgorithm, SigningKey
from qiao.store.clock import loop_seconds
from qiao.store.database import Queries
from qiao.store.sql import load_statements

log = structlog.get_logger(__name__)
SQL = load_statements("merchants")
KEY_PREFIX: Final = {False: "sk_test_", True: "sk_live_"}
NOTE_SECONDS: Final = 60.0
"""How often a process writes that a key is in use, at most."""
MAX_OVERLAP: Final = timedelta(days=30)
POLICY_COLUMNS: Final = ("scopes", "expires_at", "allowed_addresses")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was issued; ``hint`` is how it begins.

    ``scopes`` and ``allowed_addresses`` are None where nothing is limited. ``last_used_at`` and
    ``last_used_from`` are true to the minute or so.
    """

    api_key_id: str
    live: bool
    hint: str
    created_at: datetime
    revoked_at: datetime | None
    app_id: str | None = None
    scopes: list[str] | None = None
    expires_at: datetime | None = None
    allowed_addresses: list[str] | None = None
    signing_algorithm: str | None = None
    replaced_by: str | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None


async def add_merchant(
    engine: Engine,
    name: str,
    *,
    merchant_id: str | None = None,
    organisation_id: str | None = None,
    actor: Actor = SYSTEM,
) -> str:
    """A new merchant's id; the given id again changes nothing. Raises InvalidInput, Missing."""
    check_name(name)
    if organisation_id is not None:
        await show_organisation(engine, organisation_id)
    merchant_id = merchant_id or engine.new_id(IdKind.MERCHANT)
    async with engine.database.transaction() as queries:
        if (
            await queries.fetch_value(SQL.add_merchant, merchant_id, name, organisation_id)
            is not None
        ):
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


async def issue_api_key(
    engine: Engine,
    scope: Scope,
    *,
    key: str | None = None,
    policy: KeyPolicy = KeyPolicy(),  # noqa: B008 - frozen
    signing: SigningKey | None = None,
) -> str:
    """A new key for the scope, or the given one, which only development should ever give.

    It is a key of the scope's app, where the scope has one. With ``signing`` every request must be
    signed. Raises Missing, InvalidInput.
    """
    if policy.has_expired(engine.now()):
        raise InvalidInput("it is over already", field="expires_at", remedy="give a later time")
    key = key or _new_key(live=scope.live)
    async with engine.database.transaction() as queries:
        try:
            key_id = await _add(engine, queries, scope, key, policy, signing)
        except asyncpg.ForeignKeyViolationError as error:
            if scope.app_id is None:
                raise
            raise Missing("no such app", field="app_id", remedy="list the merchant's") from error
        if key_id is not None:
            columns = zip(POLICY_COLUMNS, policy.columns(), strict=True)
            limited = [name for name, value in columns if value is not None]
            given = {"app_id": scope.app_id, "signing": signing}
            own = [name for name, value in given.items() if value is not None]
            await record_for(
                engine, queries, scope, "api_key.issued", key_id, fields=[*own, *limited]
            )
    return key


async def rotate_api_key(
    engine: Engine,
    merchant_id: str,
    api_key_id: str,
    *,
    overlap: timedelta,
    actor: Actor = SYSTEM,
) -> str:
    """A new key that may do what the old one may; the old one ends after ``overlap``.

    A key that was to end at a time gives one that lasts as long as the old one would have. What
    its requests are signed with stays. Raises
    Missing, InvalidInput, and Conflict when the key works no more or was replaced already.
    """
    parse_id(IdKind.API_KEY, api_key_id, field="api_key_id")
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise InvalidInput(
            "no such overlap", field="overlap", remedy=f"give 0 to {MAX_OVERLAP.days} days"
        )
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(SQL.lock_api_key, merchant_id, api_key_id)
        if row is None:
            raise _missing()
        now = engine.now()
        old = KeyPolicy.of_row(row)
        if row["revoked_at"] is not None or row["replaced_by"] is not None or old.has_expired(now):
            raise Conflict(
                "the key was revoked, has expired or was replaced already",
                code="key_not_in_use",
                field="api_key_id",
                remedy="list the merchant's keys, and rotate the one that is in use",
            )
        lasts = None if old.expires_at is None else old.expires_at - row["created_at"]
        policy = replace(old, expires_at=None if lasts is None else now + lasts)
        scope = Scope(merchant_id=merchant_id, live=row["live"], app_id=row["app_id"], actor=actor)
        key = _new_key(live=row["live"])
        signing = _signing(engine, row)
        new_id = await _add(engine, queries, scope, key, policy, signing)
        await queries.execute(SQL.replace_api_key, merchant_id, api_key_id, new_id, now + overlap)
        await record_for(
            engine, queries, scope, "api_key.rotated", api_key_id, fields=["expires_at"]
        )
        await record_for(engine, queries, scope, "api_key.issued", new_id)
    return key


async def _add(
    engine: Engine,
    queries: Queries,
    scope: Scope,
    key: str,
    policy: KeyPolicy,
    signing: SigningKey | None,
) -> str | None:
    """The new key's id; None when the key is there already."""
    key_id: str | None = await queries.fetch_value(
        SQL.add_api_key,
        scope.merchant_id,
        engine.new_id(IdKind.API_KEY),
        scope.live,
        _digest(key),
        f"{key[: len(KEY_PREFIX[scope.live]) + 4]}…",
        scope.app_id,
        *policy.columns(),
        None if signing is None else signing.algorithm,
        None if signing is None else engine.seal.close(signing.material),
    )
    return key_id


def _signing(engine: Engine, row: asyncpg.Record) -> SigningKey | None:
    if row["signing_algorithm"] is None:
        return None
    return SigningKey(
        algorithm=SigningAlgorithm(row["signing_algorithm"]),
        material=engine.seal.open(row["sealed_signing_key"]),
    )


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
            raise _missing()
        if row["revoked_now"]:
            scope = Scope(merchant_id=merchant_id, live=row["live"], actor=actor)
            await record_for(engine, queries, scope, "api_key.revoked", api_key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """Whose a key is, what it may do, and with what its requests must be signed, if at all."""

    scope: Scope
    policy: KeyPolicy
    signing: SigningKey | None = None


class ApiKeys:
    """Whose a key is. What was found is held for a second: so long may one that was revoked still
    work in a process that has just seen it.

    When and from where keys are used is written beside the requests, one key after the other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: Held[bytes, KnownKey] = Held()
        self._noted: dict[str, float] = {}
        self._uses: dict[str, tuple[str, datetime, str | None]] = {}
        self._writing: asyncio.Task[None] | None = None

    def holds(self, key: str) -> bool:
        """Whether it was a good key when this process saw it last."""
        return self._held.peek(_digest(key)) is not None

    def held(self, key: str) -> KnownKey | None:
        """What ``find`` gives, where it need not be asked for just now."""
        return self._held.held(_digest(key))

    async def find(self, key: str) -> KnownKey | None:
        """Ask the database. None for a key that nobody has, or that was revoked. It may have
        expired."""
        digest, since = _digest(key), loop_seconds()
        row = await self._engine.database.fetch_row(SQL.api_key_of_digest, digest)
        if row is None:
            self._held.forget(digest)
            return None
        scope = Scope(
            merchant_id=row["merchant_id"],
            live=row["live"],
            app_id=row["app_id"],
            actor=Actor(kind="api_key", id=row["api_key_id"]),
        )
        known = KnownKey(
            scope=scope, policy=KeyPolicy.of_row(row), signing=_signing(self._engine, row)
        )
        self._held.hold(digest, known, since=since)
        return known

    def note_use(self, known: KnownKey, address: str | None) -> None:
        """Have it written down, unless this process did so within the last minute."""
        key_id, now = known.scope.actor.id, time.monotonic()
        if now < self._noted.get(key_id, now):
            return
        if len(self._noted) >= MAX_HELD:
            self._noted.clear()
        self._noted[key_id] = now + NOTE_SECONDS
        self._uses[key_id] = (known.scope.merchant_id, self._engine.now(), address)
        if self._writing is None or self._writing.done():
            # In a context of its own: the request's time and trace are not those of the writing.
            self._writing = asyncio.create_task(self._write_uses(), context=Context())

    async def finish(self) -> None:
        """Wait until what was noted is written."""
        if self._writing is not None:
            await self._writing

    async def _write_uses(self) -> None:
        while self._uses:
            key_id, (merchant_id, at, address) = self._uses.popitem()
            try:
                await self._engine.database.execute(
                    SQL.note_key_use, merchant_id, key_id, at, address
                )
            except Exception as error:  # noqa: BLE001 - it is written again in a minute
                log.warning("key_use_not_noted", error=type(error).__name__)


def _new_key(*, live: bool) -> str:
    return KEY_PREFIX[live] + secrets.token_urlsafe(32)


def _missing() -> Missing:
    return Missing("no such key", field="api_key_id", remedy="list the merchant's keys")


def _digest(key: str) -> bytes:
    # The keys are 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(key.encode()).digest()
