"""Who asks: the API key of the request, and what every handler works with."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler

from qiao.engine.actors import Actor
from qiao.engine.key_policy import KeyPolicy, KeyScope
from qiao.engine.merchants import ApiKeys
from qiao.engine.runtime import Engine, Scope
from qiao.engine.watching import Watchers
from qiao.web.limits import Limits, Taken, note_rate
from qiao.web.problems import Refused
from qiao.web.signatures import Signatures

HttpScope: TypeAlias = MutableMapping[str, Any]
TheEngine: TypeAlias = NamedDependency[Engine]
TheMerchant: TypeAlias = NamedDependency[Scope]
NEEDS: Final = "key_scope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the doors share; kept in the application's state."""

    engine: Engine
    keys: ApiKeys
    watchers: Watchers
    limits: Limits = field(default_factory=Limits)
    signatures: Signatures = field(default_factory=Signatures)


def doors_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Doors:
    doors: Doors = connection.app.state["doors"]
    return doors


def needs(scope: KeyScope) -> dict[str, Any]:
    """What a handler needs of the key: its ``opt``. One that says nothing needs every scope."""
    return {NEEDS: scope}


async def require_key(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: lets in who brings an API key, and remembers whose it is. Raises Refused."""
    connection.scope["state"]["merchant"] = await who_asks(
        doors_of(connection),
        cast("Any", connection.scope),
        handler.opt.get(NEEDS),
        cast("Request[Any, Any, Any]", connection).body,
    )


async def who_asks(
    doors: Doors,
    request: HttpScope,
    needed: KeyScope | None,
    body: Callable[[], Awaitable[bytes]],
) -> Scope:
    """Whose API key the request brings, if it may ask this just now. Raises Refused.

    ``body`` is asked for only where the key's requests must be signed.
    """
    key, address = _key(request), _address(request)
    known = doors.keys.held(key) if key else None
    if key and known is None:
        # Not even looked up; but a good key is let in, whoever guesses behind the same address.
        if not doors.keys.holds(key) and (taken := doors.limits.is_guessing(address or "")):
            raise _too_many(request, taken, "too many wrong keys came from this address")
        known = await doors.keys.find(key)
        if known is None:
            doors.limits.note_wrong_key(address or "")
    if known is None:
        raise Refused(
            401,
            "unauthorized",
            "the API key is missing, unknown or revoked",
            field="Authorization",
            remedy="send 'Authorization: Bearer sk_…' with a key of this server",
        )
    scope, policy = known.scope, known.policy
    # Before the key's own limit: who may not use it cannot use that up either.
    _check_key(doors, policy, address)
    taken = doors.limits.take(scope.merchant_id, key)
    if taken is not None:
        note_rate(request, taken)
        if not taken.admitted:
            raise _too_many(request, taken, "this key asks more often than it may")
    if known.signing is not None:
        doors.signatures.check(doors.engine, known, request, await body())
    if not policy.allows(needed):
        raise _lacks(needed)
    doors.keys.note_use(known, address)
    actor = Actor(kind=scope.actor.kind, id=scope.actor.id, origin=address)
    return Scope(merchant_id=scope.merchant_id, live=scope.live, app_id=scope.app_id, actor=actor)


def _check_key(doors: Doors, policy: KeyPolicy, address: str | None) -> None:
    if not policy.admits(address):
        raise Refused(
            403,
            "address_not_allowed",
            "this key may not be used from this address",
            field="Authorization",
            remedy="ask from an address of the key's list; behind a proxy, see trusted_proxies",
        )
    if policy.expires_at is not None and policy.has_expired(doors.engine.now()):
        raise Refused(
            401,
            "key_expired",
            "the API key has expired",
            field="Authorization",
            remedy="send a key that is in use; qiao key list shows them",
        )


def _lacks(needed: KeyScope | None) -> Refused:
    name = needed or "every scope"
    return Refused(
        403,
        "scope_missing",
        f"this key lacks {name}",
        field="Authorization",
        remedy=f"use a key that was issued with {name}",
    )


def _too_many(request: HttpScope, taken: Taken, title: str) -> Refused:
    note_rate(request, taken)
    return Refused(
        429,
        "rate_limited",
        title,
        field="Authorization",
        remedy="wait as long as Retry-After says; nothing was done",
    )


def _key(request: HttpScope) -> str:
    """The key that the header Authorization holds; empty when it holds none."""
    given = next((text for name, text in request["headers"] if name == b"authorization"), b"")
    scheme, _space, key = given.partition(b" ")
    return key.strip().decode() if scheme.lower() == b"bearer" and key.isascii() else ""


def _address(request: HttpScope) -> str | None:
    client = request.get("client")
    return str(client[0]) if client else None


async def provide_engine(request: Request[Any, Any, Any]) -> Engine:
    return doors_of(request).engine


async def provide_merchant(request: Request[Any, Any, Any]) -> Scope:
    """Whose key it was; only behind ``require_key``."""
    scope: Scope = request.scope["state"]["merchant"]
    return scope
