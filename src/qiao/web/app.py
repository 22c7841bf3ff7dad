"""The web application: every door on one engine."""

from functools import cached_property
from typing import Any, cast

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import (
    ASGIApp,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Receive,
    Scope,
    Send,
)

from qiao.engine.merchants import ApiKeys
from qiao.engine.runtime import Engine
from qiao.engine.watching import Watchers
from qiao.web.access import Doors, provide_engine, provide_merchant, require_key
from qiao.web.api.agreements import agreements
from qiao.web.api.audit import audit
from qiao.web.api.disputes import disputes
from qiao.web.api.ledger import ledger
from qiao.web.api.payments import payments
from qiao.web.api.prices import prices
from qiao.web.api.profit_shares import profit_shares
from qiao.web.api.routing import routing
from qiao.web.api.subscriptions import subscriptions
from qiao.web.api.transfers import transfers
from qiao.web.api.webhooks import webhooks
from qiao.web.bodies import MAX_BODY_BYTES
from qiao.web.cashier.views import cashier
from qiao.web.health import Readiness, livez, readyz
from qiao.web.limits import Limits
from qiao.web.notify import notify
from qiao.web.observed import observed
from qiao.web.problems import answer
from qiao.web.protection import Protection
from qiao.web.quick import QuickDoors
from qiao.web.reference import reference
from qiao.web.simple import simple

MAX_REQUESTS = 128
"""How many are served at once; see ``qiao.web.admission``."""
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


class Application(Litestar):
    """Litestar, behind the doors that are quick.

    Around both stand what bounds a request, and around that what is noted of each.
    """

    doors: Doors
    protection: Protection
    quick: QuickDoors | None

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._observed(cast("Any", scope), cast("Any", receive), cast("Any", send))
        else:
            await super().__call__(scope, receive, send)

    def drain(self) -> None:
        """Ask clients to let go of us, and let go of those who only watch."""
        self.protection.draining = True
        self.doors.watchers.end()

    @cached_property
    def _observed(self) -> ASGIApp:
        return observed(cast("Any", self.protection))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What stands behind the protection."""
        if self.quick is not None:
            reply = await self.quick.reply(cast("Any", scope), receive)
            if reply is not None:
                await reply.send(cast("Any", send))
                return
        await super().__call__(scope, receive, send)


def create_app(
    engine: Engine,
    readiness: Readiness | None = None,
    *,
    limits: Limits | None = None,
    max_requests: int = MAX_REQUESTS,
    quick: bool = True,
) -> Application:
    """The application; it neither opens nor closes the engine.

    Without ``quick`` the framework answers everything; what it answers is the same.
    """
    doors = Doors(
        engine=engine,
        keys=ApiKeys(engine),
        watchers=Watchers(engine.database),
        limits=limits or Limits(),
    )
    merchants_own = Router(
        "/",
        route_handlers=[
            Router(
                "/v1",
                route_handlers=[
                    *(payments, profit_shares, disputes, transfers, agreements, subscriptions),
                    *(ledger, prices, routing, webhooks, audit),
                ],
            ),
            simple,
        ],
        guards=[require_key],
        dependencies={"merchant": Provide(provide_merchant)},
    )

    def begin(config: AppConfig) -> AppConfig:
        config.state = State({"doors": doors, "readiness": readiness or Readiness(engine)})
        return config

    application = Application(
        [merchants_own, cashier, notify, reference, livez, readyz],
        dependencies={"engine": Provide(provide_engine)},
        exception_handlers={Exception: answer},
        openapi_config=OPENAPI,
        request_max_body_size=MAX_BODY_BYTES,
        on_app_init=[begin],
        on_shutdown=[doors.keys.finish],
        logging_config=None,
    )
    application.doors = doors
    application.quick = QuickDoors(doors) if quick else None
    application.protection = Protection(application.answer, slots=max_requests)
    return application
