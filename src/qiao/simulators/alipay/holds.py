"""Authorizations (预授权): an amount of a customer's is held, paid out of, or let go.

A hold is shown and paid in the wallet as an order is; for the API it is none. Its states are those
of alipay.fund.auth.operation.detail.query.
"""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.alipay.book import (
    BUYER_ID,
    BUYER_LOGON_ID,
    NUMBER,
    State,
    Trade,
    fen_of,
    refused,
    yuan_of,
)
from qiao.simulators.alipay.codec import Refusal, Request, china_time

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

Node = dict[str, Any]
PRODUCT_CODE: Final = "PRE_AUTH"
DEFAULT_MINUTES: Final = 15
MAX_MINUTES: Final = 15 * 24 * 60


@dataclass(kw_only=True)
class Hold(Trade):
    """An authorization. ``rest_fen`` is what is still held of it."""

    rest_fen: int = 0
    taken_fen: int = 0
    unfrozen: dict[str, int] = field(default_factory=dict)

    @property
    def order_status(self) -> str:
        if self.state is State.SUCCESS:
            return "AUTHORIZED" if self.rest_fen else ("FINISH" if self.taken_fen else "CLOSED")
        return "CLOSED" if self.state is State.CLOSED else "INIT"


def _asked(simulator: "Simulator", request: Request, method: str) -> Hold:
    content, now = request.content, simulator.clock.now()
    number = content.get("out_order_no")
    if not isinstance(number, str) or not NUMBER.fullmatch(number):
        raise refused("ILLEGAL_ARGUMENT", "参数异常: out_order_no")
    if content.get("out_request_no") != number and not content.get("out_request_no"):
        raise refused("ILLEGAL_ARGUMENT", "参数异常: out_request_no")
    if not content.get("order_title") or content.get("product_code") != PRODUCT_CODE:
        raise refused("ILLEGAL_ARGUMENT", "参数异常: order_title, product_code")
    fen = fen_of(content.get("amount"), name="amount")
    hold = Hold(
        app_id=request.app.app_id,
        seller_id=request.seller_id,
        out_trade_no=number,
        trade_no=simulator.book.number(now),
        token=secrets.token_urlsafe(12),
        fen=fen,
        subject=str(content["order_title"]),
        method=method,
        charset=request.parameters["charset"],
        created_at=now,
        expires_at=now + timedelta(minutes=_minutes(content.get("pay_timeout"))),
        notify_url=request.parameters.get("notify_url"),
        return_url=None,
        rest_fen=fen,
    )
    return simulator.book.hold(hold, now)


def _minutes(text: object) -> int:
    if text is None:
        return DEFAULT_MINUTES
    digits = text[:-1] if isinstance(text, str) and text.endswith("m") else ""
    if not digits.isdecimal() or not 1 <= int(digits) <= MAX_MINUTES:
        raise refused("ILLEGAL_ARGUMENT", "参数异常: pay_timeout")
    return int(digits)


def _found(simulator: "Simulator", request: Request) -> Hold:
    content, now = request.content, simulator.clock.now()
    auth_no, number = content.get("auth_no"), content.get("out_order_no")
    for hold in simulator.book.holds.values():
        mine = hold.seller_id == request.seller_id and hold.state is not State.PREPARED
        if mine and (hold.trade_no == auth_no if auth_no else hold.out_trade_no == number):
            simulator.book.expire(hold, now)
            return hold
    raise refused("AUTH_ORDER_NOT_EXIST", "支付宝资金授权订单不存在")


def _node(hold: Hold) -> Node:
    return {
        "auth_no": hold.trade_no,
        "out_order_no": hold.out_trade_no,
        "out_request_no": hold.out_trade_no,
        "payer_user_id": BUYER_ID,
        "payer_logon_id": BUYER_LOGON_ID,
    }


async def freeze(simulator: "Simulator", request: Request) -> Node:
    if request.content.get("auth_code_type") != "bar_code":
        raise refused("ILLEGAL_ARGUMENT", "参数异常: auth_code_type")
    key = (request.seller_id, str(request.content.get("out_order_no")))
    if key not in simulator.book.holds:
        simulator.book.use_code(str(request.content.get("auth_code")))
    hold = _asked(simulator, request, "alipay.fund.auth.order.freeze")
    simulator.book.open(hold, simulator.clock.now())
    simulator.pay(hold)
    return {**_node(hold), "amount": yuan_of(hold.fen), "status": "SUCCESS"}


async def create_voucher(simulator: "Simulator", request: Request) -> Node:
    hold = _asked(simulator, request, "alipay.fund.auth.order.voucher.create")
    return {
        "out_order_no": hold.out_trade_no,
        "out_request_no": hold.out_trade_no,
        "code_type": "qrCode",
        "code_value": f"{simulator.base_url}/wallet/{hold.token}",
    }


async def query_operation(simulator: "Simulator", request: Request) -> Node:
    hold = _found(simulator, request)
    if request.content.get("out_request_no") != hold.out_trade_no:
        raise refused("AUTH_OPERATION_NOT_EXIST", "支付宝资金操作流水不存在")
    statuses = {State.SUCCESS: "SUCCESS", State.CLOSED: "CLOSED"}
    return {
        **_node(hold),
        "order_status": hold.order_status,
        "operation_type": "FREEZE",
        "status": statuses.get(hold.state, "INIT"),
        "amount": yuan_of(hold.fen),
        "rest_amount": yuan_of(hold.rest_fen if hold.state is State.SUCCESS else 0),
        "total_freeze_amount": yuan_of(hold.fen),
        "total_pay_amount": yuan_of(hold.taken_fen),
        "order_title": hold.subject,
    }


async def unfreeze(simulator: "Simulator", request: Request) -> Node:
    hold, number = _found(simulator, request), str(request.content.get("out_request_no"))
    fen = fen_of(request.content.get("amount"), name="amount")
    if number in ("None", hold.out_trade_no):
        raise refused("ILLEGAL_ARGUMENT", "参数异常: out_request_no")
    if number not in hold.unfrozen:
        if hold.order_status != "AUTHORIZED" or fen > hold.rest_fen:
            raise refused("ILLEGAL_ARGUMENT", "剩余冻结金额不足")
        hold.unfrozen[number] = fen
        hold.rest_fen -= fen
    elif hold.unfrozen[number] != fen:
        raise refused("ILLEGAL_ARGUMENT", "请求信息不一致")
    return {
        **_node(hold),
        "out_request_no": number,
        "amount": yuan_of(fen),
        "status": "SUCCESS",
        "gmt_trans": china_time(simulator.clock.now()),
    }


async def cancel_operation(simulator: "Simulator", request: Request) -> Node:
    hold = _found(simulator, request)
    action = "close"
    if hold.state is State.SUCCESS and hold.rest_fen:
        hold.rest_fen, action = 0, "unfreeze"
    elif hold.state is State.WAITING:
        simulator.close(hold)
    return {**_node(hold), "action": action}


def take(simulator: "Simulator", request: Request, fen: int) -> None:
    """Pay a new trade out of what is held. Raises Refusal."""
    content = request.content
    if not content.get("buyer_id") or content.get("seller_id") != request.seller_id:
        raise Refusal("40001", "isv.missing-parameter", "缺少参数: buyer_id, seller_id")
    hold = _found(simulator, request)
    if hold.order_status != "AUTHORIZED" or fen > hold.rest_fen:
        raise refused("ACQ.INVALID_PARAMETER", "剩余冻结金额不足")
    hold.rest_fen -= fen
    hold.taken_fen += fen
    if content.get("auth_confirm_mode") == "COMPLETE":
        hold.rest_fen = 0


def notification(hold: Hold) -> dict[str, str]:
    """What ``fund_auth_freeze`` tells, beside what every notification does."""
    return {
        "notify_type": "fund_auth_freeze",
        "auth_no": hold.trade_no,
        "out_order_no": hold.out_trade_no,
        "out_request_no": hold.out_trade_no,
        "operation_type": "FREEZE",
        "status": "SUCCESS",
        "amount": yuan_of(hold.fen),
        "rest_amount": yuan_of(hold.rest_fen),
        "total_freeze_amount": yuan_of(hold.fen),
        "total_pay_amount": yuan_of(hold.taken_fen),
        "payer_user_id": BUYER_ID,
        "payer_logon_id": BUYER_LOGON_ID,
        "gmt_create": china_time(hold.created_at),
    }
