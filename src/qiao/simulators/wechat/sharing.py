"""Profit sharing (分账): receivers, orders that divide a payment, what is let go, and returns.

As https://pay.weixin.qq.com/doc/v3/merchant/4012466848 and its siblings tell it; done at once.
"""

from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.kit.scenarios import Scenario, scenario_of
from qiao.simulators.wechat.book import Order, china_time, fen_of, text_of
from qiao.simulators.wechat.codec import Refusal, Request
from qiao.simulators.wechat.methods import Reply, check_sub_merchant

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

ORDERS: Final = "/v3/profitsharing/orders"
RETURNS: Final = "/v3/profitsharing/return-orders"
RECEIVERS: Final = "/v3/profitsharing/receivers"
KINDS: Final = ("MERCHANT_ID", "PERSONAL_OPENID", "PERSONAL_SUB_OPENID")
MAX_RECEIVERS: Final = 50
CLOSED: Final = {Scenario.ACCOUNT_RESTRICTED: "ACCOUNT_ABNORMAL"}
"""The amounts that do not reach their receiver, and why."""


def bind(simulator: "Simulator", request: Request, announced: str) -> Reply:
    """Add a receiver; a merchant must be told with its whole name, encrypted."""
    body = request.body
    kind, account = _receiver(request)
    text_of(body, "relation_type", most=32)
    if kind == "MERCHANT_ID" or "name" in body:
        simulator.codec.unseal(announced, text_of(body, "name", most=1024))
    if body["relation_type"] == "CUSTOM":
        text_of(body, "custom_relation", most=10)
    simulator.book.share_receivers.add((request.owner, kind, account))
    told = {
        name: body[name] for name in ("type", "account", "name", "relation_type") if name in body
    }
    return 200, told


def unbind(simulator: "Simulator", request: Request) -> Reply:
    """Delete a receiver."""
    kind, account = _receiver(request)
    simulator.book.share_receivers.discard((request.owner, kind, account))
    return 200, {"type": kind, "account": account}


def share(simulator: "Simulator", request: Request) -> Reply:
    """Divide a paid order."""
    body = request.body
    number, order = _shareable(simulator, request)
    receivers = body.get("receivers")
    if not isinstance(receivers, list) or not 0 < len(receivers) <= MAX_RECEIVERS:
        raise Refusal(400, "PARAM_ERROR", "参数错误: receivers")
    known = simulator.book.sharings.get((request.owner, number))
    if known is None:
        if order.unfrozen:
            raise Refusal(400, "INVALID_REQUEST", "订单已完结，不能继续分账")
        lines = [_line(simulator, request, one) for one in receivers]
        if sum(line["amount"] for line in lines) > _left(order):
            raise Refusal(403, "NOT_ENOUGH", "分账金额不足")
        known = _order(simulator, request, order, number, lines)
        order.shared += sum(line["amount"] for line in lines if line["result"] == "SUCCESS")
        if body.get("unfreeze_unsplit") is True:
            _let_go(simulator, request, order, known)
    return 200, {**known, "state": "PROCESSING"}


def unfreeze(simulator: "Simulator", request: Request) -> Reply:
    """Let go of what was not divided."""
    text_of(request.body, "description", most=80)
    number, order = _shareable(simulator, request)
    known = simulator.book.sharings.get((request.owner, number))
    if known is None:
        if order.unfrozen:
            raise Refusal(400, "INVALID_REQUEST", "订单已完结")
        known = _order(simulator, request, order, number, [])
        _let_go(simulator, request, order, known)
    return 200, {**known, "state": "PROCESSING"}


def query(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The sharing by our number."""
    check_sub_merchant(request, request.query)
    known = simulator.book.sharings.get((request.owner, number))
    if known is None or known["transaction_id"] != request.query.get("transaction_id"):
        raise Refusal(404, "RESOURCE_NOT_EXISTS", "记录不存在")
    return 200, known


def give_back(simulator: "Simulator", request: Request) -> Reply:
    """A merchant gives its share back."""
    body, now = request.body, simulator.clock.now()
    check_sub_merchant(request, body)
    sharing_number, number = (
        text_of(body, f"out_{one}_no", most=64) for one in ("order", "return")
    )
    merchant, fen = (
        text_of(body, "return_mchid", most=32),
        fen_of(body.get("amount"), name="amount"),
    )
    text_of(body, "description", most=80)
    known = simulator.book.share_returns.get((request.owner, number))
    asked = {"out_order_no": sharing_number, "return_mchid": merchant, "amount": fen}
    if known is not None:
        if {name: known[name] for name in asked} != asked:
            raise Refusal(400, "INVALID_REQUEST", "商户回退单号重复，参数不一致")
        return 200, known
    sharing = simulator.book.sharings.get((request.owner, sharing_number))
    if sharing is None:
        raise Refusal(404, "RESOURCE_NOT_EXISTS", "分账单不存在")
    order = _paid(simulator, request, sharing["transaction_id"])
    got = sum(
        line["amount"]
        for line in sharing["receivers"]
        if (line["type"], line["account"], line["result"]) == ("MERCHANT_ID", merchant, "SUCCESS")
    )
    gone = sum(
        one["amount"]
        for (owner, _), one in simulator.book.share_returns.items()
        if (owner, one["out_order_no"], one["return_mchid"])
        == (request.owner, sharing_number, merchant)
    )
    if fen > got - gone or merchant == request.owner:
        raise Refusal(400, "INVALID_REQUEST", "剩余可回退的金额不足")
    order.shared -= fen
    made = {
        **asked,
        "order_id": sharing["order_id"],
        "out_return_no": number,
        "return_id": simulator.book.number(now, "30800000"),
        "description": body["description"],
        "result": "SUCCESS",
        "create_time": china_time(now),
        "finish_time": china_time(now),
    }
    simulator.book.share_returns[request.owner, number] = made
    return 200, made


def query_return(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The return by our number."""
    check_sub_merchant(request, request.query)
    known = simulator.book.share_returns.get((request.owner, number))
    if known is None or known["out_order_no"] != request.query.get("out_order_no"):
        raise Refusal(404, "RESOURCE_NOT_EXISTS", "回退单不存在")
    return 200, known


def _receiver(request: Request) -> tuple[str, str]:
    body = request.body
    check_sub_merchant(request, body)
    kind, account = text_of(body, "type", most=32), text_of(body, "account", most=64)
    if kind not in KINDS or body.get("appid") != request.merchant.appid:
        raise Refusal(400, "PARAM_ERROR", "参数错误: type, appid")
    return kind, account


def _shareable(simulator: "Simulator", request: Request) -> tuple[str, Order]:
    """Our number, and the order that may be divided under it."""
    body = request.body
    check_sub_merchant(request, body)
    number, trade = text_of(body, "out_order_no", most=64), text_of(body, "transaction_id", most=32)
    order = _paid(simulator, request, trade)
    if not order.profit_sharing:
        raise Refusal(400, "INVALID_REQUEST", "非分账订单不支持分账")
    return number, order


def _paid(simulator: "Simulator", request: Request, trade: str) -> Order:
    for order in simulator.book.orders.values():
        if (order.owner, order.transaction_id) == (request.owner, trade) and order.paid_at:
            return order
    raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单不存在")


def _line(simulator: "Simulator", request: Request, one: object) -> dict[str, Any]:
    """What one receiver is to get, and whether it does."""
    kind, account = text_of(one, "type", most=32), text_of(one, "account", most=64)
    fen = fen_of(one.get("amount") if isinstance(one, dict) else None, name="receivers.amount")
    if (request.owner, kind, account) not in simulator.book.share_receivers:
        raise Refusal(400, "PARAM_ERROR", "分账接收方关系不存在，请检查参数中每个接收方的关系")
    scenario, now = scenario_of(fen), simulator.clock.now()
    line = {
        "type": kind,
        "account": account,
        "amount": fen,
        "description": text_of(one, "description", most=80),
        "result": "SUCCESS",
        "detail_id": simulator.book.number(now, "36000000"),
        "create_time": china_time(now),
        "finish_time": china_time(now),
    }
    if scenario in CLOSED:
        line |= {"result": "CLOSED", "fail_reason": CLOSED[scenario]}
    return line


def _order(
    simulator: "Simulator",
    request: Request,
    order: Order,
    number: str,
    lines: list[dict[str, Any]],
) -> dict[str, Any]:
    made = {
        "transaction_id": order.transaction_id,
        "out_order_no": number,
        "order_id": simulator.book.number(simulator.clock.now(), "30000000"),
        "state": "FINISHED",
        "receivers": lines,
    }
    simulator.book.sharings[request.owner, number] = made
    return made


def _let_go(
    simulator: "Simulator", request: Request, order: Order, sharing: dict[str, Any]
) -> None:
    """What is left goes to the merchant, which is told as a receiver like the others."""
    order.unfrozen = True
    if _left(order):
        now = simulator.clock.now()
        sharing["receivers"].append(
            {
                "type": "MERCHANT_ID",
                "account": request.owner,
                "amount": _left(order),
                "description": "解冻给分账方",
                "result": "SUCCESS",
                "detail_id": simulator.book.number(now, "36000000"),
                "create_time": china_time(now),
                "finish_time": china_time(now),
            }
        )


def _left(order: Order) -> int:
    return order.fen - order.refunded - order.shared
