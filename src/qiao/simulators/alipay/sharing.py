"""Profit sharing (分账): receivers that are bound, trades that are divided, shares that come back.

As alipay.trade.order.settle, alipay.trade.royalty.relation.bind and alipay.trade.refund tell it; in
the asynchronous mode a sharing is done by the time that it is asked about.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.alipay.book import State, Trade, fen_of, refused, yuan_of
from qiao.simulators.alipay.codec import Refusal, Request, china_time
from qiao.simulators.kit.scenarios import Scenario, scenario_of

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

Node = dict[str, Any]
KINDS: Final = ("userId", "loginName", "openId")
MAX_REFERENCE: Final = 32
FAILED: Final = {Scenario.ACCOUNT_RESTRICTED: ("TXN_RESULT_ACCOUNT_STATUS_INVALID", "账户状态异常")}
"""The amounts that do not reach their receiver, and why."""


async def bind(simulator: "Simulator", request: Request) -> Node:
    for kind, account, name in _receivers(request):
        if kind == "loginName" and not name:
            raise refused("ACQ.INVALID_PARAMETER", "参数无效: name")
        simulator.book.share_receivers.add((request.seller_id, kind, account))
    return {"result_code": "SUCCESS"}


async def unbind(simulator: "Simulator", request: Request) -> Node:
    for kind, account, _ in _receivers(request):
        simulator.book.share_receivers.discard((request.seller_id, kind, account))
    return {"result_code": "SUCCESS"}


def _receivers(request: Request) -> list[tuple[str, str, str]]:
    number, given = (request.content.get(name) for name in ("out_request_no", "receiver_list"))
    if not isinstance(number, str) or not 0 < len(number) <= MAX_REFERENCE:
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: out_request_no")
    if not isinstance(given, list) or not given:
        raise refused("ACQ.RECEIVER_LIST_EMPTY", "分账收款方列表为空")
    if any(one.get("type") not in KINDS for one in given):
        raise refused("ACQ.INVALID_RECEIVER_TYPE", "分账收款方类型参数非法")
    return [(one["type"], str(one.get("account")), str(one.get("name") or "")) for one in given]


async def settle(simulator: "Simulator", request: Request) -> Node:
    trade = _trade(simulator, request)
    number = str(request.content.get("out_request_no"))
    parts = request.content.get("royalty_parameters") or []
    finish = (request.content.get("extend_params") or {}).get("royalty_finish") == "true"
    if not parts and not finish:
        raise Refusal("40001", "isv.missing-parameter", "缺少参数: royalty_parameters")
    if number not in trade.sharings:
        fen = sum(fen_of(part.get("amount"), name="amount") for part in parts)
        if trade.state is not State.SUCCESS or trade.shares_finished or fen > _left(trade):
            raise refused("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "分账金额校验失败")
        trade.sharings[number] = [_detail(simulator, request, part) for part in parts]
        trade.shares_finished = finish
    return {"trade_no": trade.trade_no, "settle_no": f"{trade.trade_no}{len(trade.sharings):02}"}


def _detail(simulator: "Simulator", request: Request, part: Node) -> dict[str, str]:
    kind, account = (str(part.get(name)) for name in ("trans_in_type", "trans_in"))
    if (request.seller_id, kind, account) not in simulator.book.share_receivers:
        raise refused("ACQ.ROYALTY_RECEIVER_INVALID", "收入方不在分账关系内")
    fen = fen_of(part.get("amount"), name="amount")
    detail = {
        "operation_type": "transfer",
        "execute_dt": china_time(simulator.clock.now()),
        "trans_in": account,
        "trans_in_type": kind,
        "trans_out": request.seller_id,
        "trans_out_type": "userId",
        "amount": yuan_of(fen),
        "state": "SUCCESS",
        "detail_id": simulator.book.number(simulator.clock.now()),
    }
    if (scenario := scenario_of(fen)) in FAILED:
        code, text = FAILED[scenario]
        detail |= {"state": "FAIL", "error_code": code, "error_desc": text}
    return detail


async def query_settle(simulator: "Simulator", request: Request) -> Node:
    number, trade_no = (str(request.content.get(name)) for name in ("out_request_no", "trade_no"))
    for trade in simulator.book.trades.values():
        mine = trade.seller_id == request.seller_id and trade_no in ("None", trade.trade_no)
        if mine and number in trade.sharings:
            return {
                "out_request_no": number,
                "operation_dt": china_time(simulator.clock.now()),
                "royalty_detail_list": trade.sharings[number],
            }
    raise refused("ACQ.SETTLE_NOT_EXIST", "分账单不存在")


def give_back(simulator: "Simulator", request: Request, trade: Trade) -> Node:
    """A share comes back, and nothing goes to the customer: ``refund_amount`` is 0."""
    parts, number = request.content["refund_royalty_parameters"], request.content["out_request_no"]
    if len(parts) != 1 or request.content.get("refund_amount") not in ("0", "0.0", "0.00"):
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: refund_royalty_parameters")
    [part] = parts
    receiver, fen = str(part.get("trans_out")), fen_of(part.get("amount"), name="amount")
    known = trade.share_returns.get(number)
    if known is not None and known[:2] != (receiver, fen):
        raise refused("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致")
    if known is None:
        if fen > _kept(trade, receiver):
            raise refused("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "退分账金额超限")
        trade.share_returns[number] = (receiver, fen, simulator.clock.now())
    return {"fund_change": "N" if known else "Y", "refund_fee": yuan_of(trade.refunded)}


def returned(trade: Trade, number: str) -> Node:
    """A return, as the query of refunds tells it."""
    receiver, fen, moment = trade.share_returns[number]
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "out_request_no": number,
        "total_amount": yuan_of(trade.fen),
        "refund_amount": yuan_of(0),
        "refund_status": "REFUND_SUCCESS",
        "gmt_refund_pay": china_time(moment),
        "refund_royaltys": [
            {
                "royalty_type": "transfer",
                "refund_amount": yuan_of(fen),
                "result_code": "SUCCESS",
                "trans_out": receiver,
                "trans_in": trade.seller_id,
            }
        ],
    }


def _trade(simulator: "Simulator", request: Request) -> Trade:
    number = str(request.content.get("trade_no") or "")
    return simulator.book.trade(request.seller_id, "", number, simulator.clock.now())


def _kept(trade: Trade, receiver: str | None = None) -> int:
    """What the receiver, or all of them, have and did not give back."""
    got = sum(
        fen_of(one["amount"])
        for details in trade.sharings.values()
        for one in details
        if one["state"] == "SUCCESS" and receiver in (None, one["trans_in"])
    )
    back = (fen for who, fen, _ in trade.share_returns.values() if receiver in (None, who))
    return got - sum(back)


def _left(trade: Trade) -> int:
    return trade.fen - trade.refunded - _kept(trade)


METHODS: Final[dict[str, Callable[["Simulator", Request], Awaitable[Node]]]] = {
    "alipay.trade.order.settle": settle,
    "alipay.trade.order.settle.query": query_settle,
    "alipay.trade.royalty.relation.bind": bind,
    "alipay.trade.royalty.relation.unbind": unbind,
}
