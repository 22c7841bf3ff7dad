"""``/gateway.do``: one address for every method, for servers and for browsers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from qiao.simulators.alipay import agreements
from qiao.simulators.alipay.book import YUAN, fen_of
from qiao.simulators.alipay.codec import Refusal
from qiao.simulators.alipay.methods import CREATING, FOR_BROWSERS, METHODS, order_of
from qiao.simulators.kit.faults import NOT_DONE, Fault, FaultKind, deliver
from qiao.simulators.kit.scenarios import Scenario, scenario_of

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

FAULTS_OF: Final = {
    Scenario.ANSWER_LOST: FaultKind.LOSE_ANSWER,
    Scenario.NEVER_ARRIVED: FaultKind.RESET,
    Scenario.SYSTEM_ERROR_BUT_DONE: FaultKind.SYSTEM_ERROR_BUT_DONE,
    Scenario.SYSTEM_ERROR_NOT_DONE: FaultKind.SYSTEM_ERROR,
    Scenario.BAD_SIGNATURE: FaultKind.BAD_SIGNATURE,
    Scenario.REFUND_ANSWER_LOST: FaultKind.LOSE_ANSWER,
}
MESSAGES: Final = {
    "10000": "Success",
    "20000": "Service Currently Unavailable",
    "20001": "Insufficient Token Permissions",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
}
SYSTEM_ERROR: Final = Refusal("20000", "isp.unknow-error", "系统繁忙")


def gateway_routes(simulator: "Simulator") -> list[web.RouteDef]:
    """The gateway, and the download of bills."""
    seen: set[tuple[str, str]] = set()

    async def gateway(http: web.Request) -> web.StreamResponse:
        parameters = simulator.codec.merge(http.rel_url.raw_query_string, await http.read())
        method = parameters.get("method", "")
        try:
            request = simulator.codec.read(parameters, simulator.clock.now())
            if method == agreements.SIGN:
                asked = agreements.asked_for(simulator, request)
                raise web.HTTPFound(f"/wallet/agreement/{asked.token}")
            if method in FOR_BROWSERS:
                trade = order_of(simulator, request, method)
                raise web.HTTPFound(f"/wallet/{trade.token}")
            if method not in METHODS:
                raise Refusal("40002", "isv.invalid-method", "不存在的方法名")
        except Refusal as refusal:
            return _answer(parameters, _refusal_node(refusal), signed=refusal.signed)
        fault = simulator.faults.take_for_answer(method) or _fault_of_amount(
            simulator, request.seller_id, method, request.content, seen
        )
        kind = fault.kind if fault else None
        if kind in NOT_DONE:
            node = _refusal_node(SYSTEM_ERROR)
        else:
            try:
                node = {
                    "code": "10000",
                    "msg": "Success",
                    **await METHODS[method](simulator, request),
                }
            except Refusal as refusal:
                node = _refusal_node(refusal)
            if kind is FaultKind.SYSTEM_ERROR_BUT_DONE:
                node = _refusal_node(SYSTEM_ERROR)
        answer = _answer(parameters, node, wrongly=kind is FaultKind.BAD_SIGNATURE)
        return await deliver(http, answer, fault)

    def _answer(
        parameters: Mapping[str, str], node: Mapping[str, Any], **how: bool
    ) -> web.Response:
        method = parameters.get("method", "")
        known = method in METHODS
        body = simulator.codec.answer(parameters, method if known else "error", node, **how)
        charset = parameters.get("charset", "utf-8")
        return web.Response(body=body, headers={"content-type": f"text/html;charset={charset}"})

    async def bill(http: web.Request) -> web.Response:
        found = simulator.bill(http.match_info["token"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found, content_type="application/zip")

    return [
        web.route("*", "/gateway.do", gateway),
        web.get("/bill/{token}", bill),
    ]


def _refusal_node(refusal: Refusal) -> dict[str, str]:
    return {
        "code": refusal.code,
        "msg": MESSAGES[refusal.code],
        "sub_code": refusal.sub_code,
        "sub_msg": refusal.text,
    }


def _fault_of_amount(
    simulator: "Simulator",
    seller_id: str,
    method: str,
    content: Mapping[str, Any],
    seen: set[tuple[str, str]],
) -> Fault | None:
    """What the amount's scenario does to the first request of a number; a resend goes well."""
    number = str(content.get("out_trade_no"))
    if method in CREATING and YUAN.fullmatch(str(content.get("total_amount"))):
        scenario, key = scenario_of(fen_of(content["total_amount"])), (seller_id, number)
        if scenario is Scenario.REFUND_ANSWER_LOST:
            return None
    elif method == "alipay.trade.refund" and (seller_id, number) in simulator.book.trades:
        scenario = simulator.book.trades[seller_id, number].scenario
        key = (seller_id, f"refund:{content.get('out_request_no')}")
        if scenario is not Scenario.REFUND_ANSWER_LOST:
            return None
    else:
        return None
    if scenario not in FAULTS_OF or key in seen:
        return None
    seen.add(key)
    return Fault(kind=FAULTS_OF[scenario])
