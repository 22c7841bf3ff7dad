"""Who asks: the API key of the request, and what every handler works with."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler

from qiao.engine.merchants import ApiKeys
from qiao.engine.runtime import Engine, Scope
from qiao.web.limits import STATE, Limits, Taken
from qiao.web.problems import Refused

TheEngine: TypeAlias = NamedDependency[Engine]
TheMerchant: TypeAlias = NamedDependency[Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the doors share; kept in the application's state."""

    engine: Engine
    keys: ApiKeys
    limits: Limits = field(default_factory=Limits)


def doors_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Doors:
    doors: Doors = connection.app.state["doors"]
    return doors


async def require_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: lets in who brings an API key, and remembers whose it is. Raises Refused."""
    doors, scope = doors_of(connection), None
    scheme, _space, key = connection.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() == "bearer" and key and key.isascii():
        address = connection.client.host if connection.client else ""
        # Not even looked up; but a good key is let in, whoever guesses behind the same address.
        if not doors.keys.holds(key) and (taken := doors.limits.is_guessing(address)):
            raise _too_many(connection, taken, "too many wrong keys came from this address")
        scope = await doors.keys.scope_of(key)
        if scope is None:
            doors.limits.note_wrong_key(address)
    if scope is None:
        raise Refused(
            401,
            "unauthorized",
            "the API key is missing, unknown or revoked",
            field="Authorization",
            remedy="send 'Authorization: Bearer sk_…' with a key of this server",
        )
    connection.scope["state"]["merchant"] = scope
    taken = doors.limits.take(scope.merchant_id, key)
    if taken is not None:
        connection.scope["state"][STATE] = taken
        if not taken.admitted:
            raise _too_many(connection, taken, "this key asks more often than it may")


def _too_many(connection: ASGIConnection[Any, Any, Any, Any], taken: Taken, title: str) -> Refused:
    connection.scope["state"][STATE] = taken
    return Refused(
        429,
        "rate_limited",
        title,
        field="Authorization",
        remedy="wait as long as Retry-After says; nothing was done",
    )


async def provide_engine(request: Request[Any, Any, Any]) -> Engine:
    return doors_of(request).engine


async def provide_merchant(request: Request[Any, Any, Any]) -> Scope:
    """Whose key it was; only behind ``require_key``."""
    scope: Scope = request.scope["state"]["merchant"]
    return scope
