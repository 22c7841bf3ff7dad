"""Where the customer signs a contract and ends it: wallet pages, and as JSON for tests."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from qiao.simulators.kit.pages import json_answer
from qiao.simulators.wechat.book import Contract
from qiao.simulators.wechat.pages import page
from qiao.simulators.wechat.v2 import papay
from qiao.simulators.wechat.v2.codec import Failure

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

BY_CUSTOMER = "2"


def entrust_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """The address that WeChat's own browser is sent to, with the merchant's signature in it."""

    async def entrust(request: web.Request) -> web.Response:
        try:
            contract = papay.entrust(simulator, request.query)
        except Failure as failure:
            raise web.HTTPBadRequest(text=failure.message) from None
        raise web.HTTPFound(f"{simulator.base_url}/wallet/contract/{contract.token}")

    return [web.get("/papay/entrustweb", entrust)]


def contract_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """Pages under ``/wallet/contract``, and contracts as JSON under ``/_control``."""

    def show(contract: Contract, message: str = "") -> web.Response:
        merchant = simulator.merchant(contract.mchid).name
        return page("contract.html", contract=contract, merchant=merchant, message=message)

    async def look(request: web.Request) -> web.Response:
        return show(_of(simulator, request))

    async def approve(request: web.Request) -> web.Response:
        contract = _of(simulator, request)
        papay.signed(simulator, contract)
        return show(contract)

    async def refuse(request: web.Request) -> web.Response:
        return show(_of(simulator, request), "您没有开通 You have not agreed")

    async def end(request: web.Request) -> web.Response:
        contract = _of(simulator, request)
        papay.ended(simulator, contract, BY_CUSTOMER)
        return show(contract)

    async def every(_: web.Request) -> web.Response:
        return json_answer([_view(one) for one in simulator.book.contracts.values()])

    async def resend(request: web.Request) -> web.Response:
        papay.tell(simulator, _of(simulator, request))
        return web.Response(status=202)

    return [
        web.get("/wallet/contract/{token}", look),
        web.post("/wallet/contract/{token}/approve", approve),
        web.post("/wallet/contract/{token}/refuse", refuse),
        web.post("/wallet/contract/{token}/end", end),
        web.get("/_control/contracts", every),
        web.post("/_control/contracts/{token}/resend", resend),
    ]


def _of(simulator: "Simulator", request: web.Request) -> Contract:
    for contract in simulator.book.contracts.values():
        if contract.token == request.match_info["token"]:
            return contract
    raise web.HTTPNotFound


def _view(contract: Contract) -> dict[str, Any]:
    return {
        "contract_code": contract.contract_code,
        "contract_id": contract.contract_id,
        "mchid": contract.mchid,
        "token": contract.token,
        "signed": contract.signed_at is not None,
        "open": contract.open,
        "wallet": f"/wallet/contract/{contract.token}",
    }
