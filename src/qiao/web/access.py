"""Who asks: the API key of the request, and what every handler works with."""

from dataclasses import dataclass
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
    scope = await who_asks(doors_of(connection), connection.headers.get("authorization", ""))
    if scope is None:
        raise Refused(
            401,
            "unauthorized",
            "the API key is missing, unknown or revoked",
            field="Authorization",
            remedy="send 'Authorization: Bearer sk_…' with a key of this server",
        )
    connection.scope["state"]["merchant"] = scope


async def who_asks(doors: Doors, authorization: str) -> Scope | None:
    """Whose key the header holds; None when it is nobody's."""
    scheme, _space, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.isascii():
        return None
    return await doors.keys.scope_of(key.strip())


async def provide_engine(request: Request[Any, Any, Any]) -> Engine:
    return doors_of(request).engine


async def provide_merchant(request: Request[Any, Any, Any]) -> Scope:
    """Whose key it was; only behind ``require_key``."""
    scope: Scope = request.scope["state"]["merchant"]
    return scope
