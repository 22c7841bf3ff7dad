"""Who asks: the API key of the request, and what every handler works with."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler

from qiao.engine.merchants import ApiKeys
from qiao.engine.runtime import Engine, Scope
from qiao.web.problems import Refused

TheEngine: TypeAlias = NamedDependency[Engine]
TheMerchant: TypeAlias = NamedDependency[Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the doors share; kept in the application's state."""

    engine: Engine
    keys: ApiKeys


def doors_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Doors:
    doors: Doors = connection.app.state["doors"]
    return doors


async def require_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: lets in who brings an API key, and remembers whose it is. Raises Refused."""
    scheme, _space, key = connection.headers.get("authorization", "").partition(" ")
    scope = None
    if scheme.lower() == "bearer" and key.isascii():
        scope = await doors_of(connection).keys.scope_of(key.strip())
    if scope is None:
        raise Refused(
            401,
            "unauthorized",
            "the API key is missing, unknown or revoked",
            field="Authorization",
            remedy="send 'Authorization: Bearer sk_…' with a key of this server",
        )
    client = connection.client
    actor = replace(scope.actor, origin=client.host if client else None)
    connection.scope["state"]["merchant"] = replace(scope, actor=actor)


async def provide_engine(request: Request[Any, Any, Any]) -> Engine:
    return doors_of(request).engine


async def provide_merchant(request: Request[Any, Any, Any]) -> Scope:
    """Whose key it was; only behind ``require_key``."""
    scope: Scope = request.scope["state"]["merchant"]
    return scope
