"""The web application: every door on one engine."""

from typing import Any, cast

from litestar import Litestar, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from qiao.engine.merchants import ApiKeys
from qiao.engine.runtime import Engine
from qiao.web.access import Doors, TheEngine, provide_engine, provide_merchant, require_key
from qiao.web.api.ledger import ledger
from qiao.web.api.payments import payments
from qiao.web.api.routing import routing
from qiao.web.api.webhooks import webhooks
from qiao.web.bodies import MAX_BODY_BYTES
from qiao.web.cashier.views import cashier
from qiao.web.notify import notify
from qiao.web.problems import answer
from qiao.web.quick import QuickDoors
from qiao.web.reference import reference
from qiao.web.simple import simple

OPENAPI = OpenAPIConfig(
    title="Qiao",
    version="1",
    description="One bridge from an order to every way of paying.",
    path="/v1/schema",
    render_plugins=[],
    components=Components(
        security_schemes={"key": SecurityScheme(type="http", scheme="bearer")},
    ),
    security=[{"key": []}],
    use_handler_docstrings=True,
)


@get("/health", include_in_schema=False)
async def health(engine: TheEngine) -> dict[str, str]:
    """Whether this process can serve: the database answers."""
    await engine.database.fetch_value("SELECT 1")
    return {"status": "ok"}


class Application(Litestar):
    """Litestar, behind the doors that are quick."""

    quick: QuickDoors | None = None

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        if self.quick is not None and scope["type"] == ScopeType.HTTP:
            reply = await self.quick.reply(scope, cast("Any", receive))
            if reply is not None:
                await reply.send(cast("Any", send))
                return
        await super().__call__(scope, receive, send)


def create_app(engine: Engine, *, quick: bool = True) -> Application:
    """The application; it neither opens nor closes the engine.

    Without ``quick`` the framework answers everything; what it answers is the same.
    """
    doors = Doors(engine=engine, keys=ApiKeys(engine))
    merchants_own = Router(
        "/",
        route_handlers=[
            Router("/v1", route_handlers=[payments, ledger, routing, webhooks]),
            simple,
        ],
        guards=[require_key],
        dependencies={"merchant": Provide(provide_merchant)},
    )

    def begin(config: AppConfig) -> AppConfig:
        config.state = State({"doors": doors})
        return config

    application = Application(
        [merchants_own, cashier, notify, reference, health],
        dependencies={"engine": Provide(provide_engine)},
        exception_handlers={Exception: answer},
        openapi_config=OPENAPI,
        request_max_body_size=MAX_BODY_BYTES,
        on_app_init=[begin],
        logging_config=None,
    )
    application.quick = QuickDoors(doors) if quick else None
    return application
