"""Where the customer signs an agreement and ends it: wallet pages, and as JSON for tests."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from qiao.simulators.alipay import agreements
from qiao.simulators.alipay.agreements import Agreement
from qiao.simulators.alipay.book import yuan_of
from qiao.simulators.alipay.pages import page
from qiao.simulators.kit.pages import json_answer

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator


def signing_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """Pages under ``/wallet/agreement``."""

    def of_token(request: web.Request) -> Agreement:
        return _first(simulator, "token", request.match_info["token"])

    def show(agreement: Agreement, message: str = "") -> web.Response:
        return page(
            "agreement.html",
            agreement=agreement,
            merchant=simulator.app(agreement.app_id).merchant,
            yuan=yuan_of(agreement.single_fen),
            message=message,
        )

    async def look(request: web.Request) -> web.Response:
        return show(of_token(request))

    async def approve(request: web.Request) -> web.Response:
        agreement = of_token(request)
        agreements.signed(simulator, agreement)
        return show(agreement)

    async def refuse(request: web.Request) -> web.Response:
        return show(of_token(request), "您没有开通 You have not agreed")

    async def end(request: web.Request) -> web.Response:
        agreement = of_token(request)
        agreements.ended(simulator, agreement)
        return show(agreement)

    return [
        web.get("/wallet/agreement/{token}", look),
        web.post("/wallet/agreement/{token}/approve", approve),
        web.post("/wallet/agreement/{token}/refuse", refuse),
        web.post("/wallet/agreement/{token}/end", end),
    ]


def agreement_control_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """Agreements as JSON under ``/_control``, for tests and for the sandbox's commands."""

    def of_number(request: web.Request) -> Agreement:
        return _first(simulator, "external_agreement_no", request.match_info["number"])

    async def every(_: web.Request) -> web.Response:
        return json_answer([_view(one) for one in simulator.book.agreements.values()])

    async def end_it(request: web.Request) -> web.Response:
        agreement = of_number(request)
        done = agreements.ended(simulator, agreement)
        return json_answer(_view(agreement), status=200 if done else 409)

    return [
        web.get("/_control/agreements", every),
        web.post("/_control/agreements/{number}/end", end_it),
    ]


def _first(simulator: "Simulator", name: str, value: str) -> Agreement:
    for agreement in simulator.book.agreements.values():
        if getattr(agreement, name) == value:
            return agreement
    raise web.HTTPNotFound


def _view(agreement: Agreement) -> dict[str, Any]:
    return {
        "external_agreement_no": agreement.external_agreement_no,
        "agreement_no": agreement.agreement_no,
        "seller_id": agreement.seller_id,
        "status": agreement.status,
        "next_on": agreement.next_on.isoformat(),
        "charges": agreement.charges,
        "wallet": f"/wallet/agreement/{agreement.token}",
    }
