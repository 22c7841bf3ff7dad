"""The API's methods: what each takes, does and answers."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.alipay import agreements, complaints, holds, sharing
from qiao.simulators.alipay.book import (
    BUYER_ID,
    BUYER_LOGON_ID,
    NUMBER,
    State,
    Trade,
    Transfer,
    fen_of,
    refused,
    yuan_of,
)
from qiao.simulators.alipay.codec import CHINA, Refusal, Request, china_time
from qiao.simulators.kit.scenarios import Scenario, scenario_of

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

Node = dict[str, Any]
PRODUCT_CODES: Final = {
    "alipay.trade.pay": {"FACE_TO_FACE_PAYMENT", holds.PRODUCT_CODE, *agreements.PRODUCTS},
    "alipay.trade.precreate": {"FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"},
    "alipay.trade.create": {"JSAPI_PAY", "FACE_TO_FACE_PAYMENT"},
    "alipay.trade.page.pay": {"FAST_INSTANT_TRADE_PAY"},
    "alipay.trade.wap.pay": {"QUICK_WAP_WAY", "QUICK_WAP_PAY"},
    "alipay.trade.app.pay": {"QUICK_MSECURITY_PAY"},
}
DECLINES: Final = {
    Scenario.INSUFFICIENT_FUNDS: ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足"),
    Scenario.ACCOUNT_RESTRICTED: ("ACQ.BUYER_ENABLE_STATUS_FORBID", "买家状态异常"),
    Scenario.INVALID_AUTH_CODE: ("ACQ.PAYMENT_AUTH_CODE_INVALID", "付款码无效"),
}
PASSWORD_SECONDS: Final = 3.0
REFUND_SECONDS: Final = 5.0
LATE_SECONDS: Final = 2.0


def order_of(simulator: "Simulator", request: Request, method: str) -> Trade:
    """The order that a request asks for, made or known. Raises Refusal."""
    content, now = request.content, simulator.clock.now()
    number = content.get("out_trade_no")
    if not isinstance(number, str) or not NUMBER.fullmatch(number):
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: out_trade_no")
    subject = content.get("subject")
    if not isinstance(subject, str) or not subject:
        raise Refusal("40001", "isv.missing-parameter", "缺少参数: subject")
    code = content.get("product_code")
    if code is not None and code not in PRODUCT_CODES[method]:
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: product_code")
    trade = Trade(
        app_id=request.app.app_id,
        seller_id=request.seller_id,
        out_trade_no=number,
        trade_no=simulator.book.number(now),
        token=secrets.token_urlsafe(12),
        fen=fen_of(content.get("total_amount")),
        subject=subject,
        method=method,
        charset=request.parameters["charset"],
        created_at=now,
        expires_at=_expiry(content, now),
        notify_url=request.parameters.get("notify_url"),
        return_url=request.parameters.get("return_url"),
    )
    return simulator.book.order(trade, now)


def _expiry(content: Mapping[str, Any], now: datetime) -> datetime:
    text = content.get("time_expire")
    if text is None:
        return now + timedelta(days=15)
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
    except (TypeError, ValueError):
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: time_expire") from None
    if moment <= now:
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: time_expire 已过")
    return moment


async def precreate(simulator: "Simulator", request: Request) -> Node:
    trade = order_of(simulator, request, "alipay.trade.precreate")
    return {
        "out_trade_no": trade.out_trade_no,
        "qr_code": f"{simulator.base_url}/wallet/{trade.token}",
    }


async def create(simulator: "Simulator", request: Request) -> Node:
    if not (request.content.get("buyer_id") or request.content.get("buyer_open_id")):
        raise Refusal("40001", "isv.missing-parameter", "缺少参数: buyer_open_id")
    trade = order_of(simulator, request, "alipay.trade.create")
    simulator.book.open(trade, simulator.clock.now())
    return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}


async def pay(simulator: "Simulator", request: Request) -> Node:
    if request.content.get("auth_no"):
        return await _pay_held(simulator, request)
    if request.content.get("agreement_params"):
        return await _pay_by_agreement(simulator, request)
    if request.content.get("scene") != "bar_code":
        raise refused("ACQ.INVALID_PARAMETER", "参数无效: scene")
    key = (request.seller_id, str(request.content.get("out_trade_no")))
    if key not in simulator.book.trades:
        simulator.book.use_code(str(request.content.get("auth_code")))
    trade = order_of(simulator, request, "alipay.trade.pay")
    now = simulator.clock.now()
    simulator.book.open(trade, now)
    match trade.scenario:
        case Scenario.INSUFFICIENT_FUNDS | Scenario.ACCOUNT_RESTRICTED | Scenario.INVALID_AUTH_CODE:
            simulator.book.close(trade, now)
            raise refused(*DECLINES[trade.scenario])
        case Scenario.PASSWORD_THEN_PAID:
            simulator.later(PASSWORD_SECONDS, lambda: simulator.pay(trade))
        case Scenario.PASSWORD_THEN_CANCELLED:
            simulator.later(PASSWORD_SECONDS, lambda: simulator.close(trade))
        case _:
            simulator.pay(trade)
            return {**_trade(trade), "gmt_payment": china_time(now)}
    return {**_trade(trade), "code": "10003", "msg": "order success pay inprocess"}


async def _pay_held(simulator: "Simulator", request: Request) -> Node:
    """A trade that is paid out of an authorization (预授权转支付)."""
    key = (request.seller_id, str(request.content.get("out_trade_no")))
    if key not in simulator.book.trades:
        fen = fen_of(request.content.get("total_amount"))
        holds.take(simulator, request, fen)
    trade = order_of(simulator, request, "alipay.trade.pay")
    now = simulator.clock.now()
    simulator.book.open(trade, now)
    simulator.pay(trade)
    return {**_trade(trade), "gmt_payment": china_time(now)}


async def _pay_by_agreement(simulator: "Simulator", request: Request) -> Node:
    """A charge that the customer agreed to before (代扣); one that is declined closes its trade."""
    key = (request.seller_id, str(request.content.get("out_trade_no")))
    agreement = None
    if key not in simulator.book.trades:
        fen = fen_of(request.content.get("total_amount"))
        agreement = agreements.may_charge(simulator, request, fen)
    trade = order_of(simulator, request, "alipay.trade.pay")
    now = simulator.clock.now()
    simulator.book.open(trade, now)
    if trade.scenario in DECLINES:
        simulator.book.close(trade, now)
        raise refused(*DECLINES[trade.scenario])
    simulator.pay(trade)
    if agreement is not None:
        agreement.next_on, agreement.charges = agreement.moved_on(), agreement.charges + 1
    return {**_trade(trade), "gmt_payment": china_time(now)}


async def query(simulator: "Simulator", request: Request) -> Node:
    trade = _find(simulator, request)
    node = {**_trade(trade), "trade_status": str(trade.state)}
    if trade.paid_at:
        node["send_pay_date"] = china_time(trade.paid_at)
    return node


async def close(simulator: "Simulator", request: Request) -> Node:
    trade = _find(simulator, request)
    simulator.close(trade)
    return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}


async def cancel(simulator: "Simulator", request: Request) -> Node:
    number = str(request.content.get("out_trade_no", ""))
    try:
        trade = _find(simulator, request)
    except Refusal:
        return {"out_trade_no": number, "retry_flag": "N"}
    node = {"out_trade_no": number, "trade_no": trade.trade_no, "retry_flag": "N"}
    now = simulator.clock.now()
    if trade.state is State.WAITING:
        simulator.close(trade)
        return {**node, "action": "close"}
    if trade.state is State.SUCCESS:
        if trade.refunds:
            raise refused("ACQ.CANCEL_NOT_ALLOWED", "交易不允许撤销")
        simulator.book.refund(trade, number, trade.fen, now)
        return {**node, "action": "refund"}
    return {**node, "action": "refund" if trade.refunds else "close"}


async def refund(simulator: "Simulator", request: Request) -> Node:
    trade = _find(simulator, request)
    if request.content.get("refund_royalty_parameters"):
        return {**_parties(trade), **sharing.give_back(simulator, request, trade)}
    fen = fen_of(request.content.get("refund_amount"), name="refund_amount")
    number = request.content.get("out_request_no")
    if number is None and fen != trade.fen:
        raise refused("ACQ.INVALID_PARAMETER", "部分退款需要 out_request_no")
    made, new = simulator.book.refund(
        trade, str(number or trade.out_trade_no), fen, simulator.clock.now()
    )
    if new:
        simulator.refunded(trade, made)
    return {
        **_parties(trade),
        "fund_change": "Y" if new and made.done else "N",
        "refund_fee": yuan_of(trade.refunded),
        "gmt_refund_pay": china_time(made.at),
    }


async def query_refund(simulator: "Simulator", request: Request) -> Node:
    trade = _find(simulator, request)
    number = str(request.content.get("out_request_no"))
    if number in trade.share_returns:
        return sharing.returned(trade, number)
    made = trade.refunds.get(number)
    if made is None:
        return {}
    node = {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "out_request_no": made.out_request_no,
        "total_amount": yuan_of(trade.fen),
        "refund_amount": yuan_of(made.fen),
        "refund_status": "REFUND_SUCCESS" if made.done else "REFUND_PROCESSING",
    }
    if made.done and "gmt_refund_pay" in request.content.get("query_options", []):
        node["gmt_refund_pay"] = china_time(made.at)
    return node


async def transfer(simulator: "Simulator", request: Request) -> Node:
    content, now = request.content, simulator.clock.now()
    payee = content.get("payee_info")
    if not isinstance(payee, dict) or not payee.get("identity"):
        raise Refusal("40004", "INVALID_PARAMETER", "参数无效: payee_info")
    fen = fen_of(content.get("trans_amount"), name="trans_amount")
    if scenario_of(fen) is Scenario.INSUFFICIENT_FUNDS:
        raise Refusal("40004", "PAYER_BALANCE_NOT_ENOUGH", "付款方余额不足")
    key = (request.seller_id, str(content.get("out_biz_no")))
    known = simulator.book.transfers.get(key)
    if known is None:
        known = Transfer(
            out_biz_no=key[1],
            order_id=simulator.book.number(now),
            fen=fen,
            payee=str(payee["identity"]),
            at=now,
        )
        simulator.book.transfers[key] = known
    elif (known.fen, known.payee) != (fen, payee["identity"]):
        raise Refusal("40004", "ORDER_INCONSISTENT", "请求信息不一致")
    return {**_transfer(known), "trans_date": china_time(known.at)}


async def query_transfer(simulator: "Simulator", request: Request) -> Node:
    known = simulator.book.transfers.get(
        (request.seller_id, str(request.content.get("out_biz_no")))
    )
    if known is None:
        raise Refusal("40004", "ORDER_NOT_EXIST", "转账订单不存在")
    return {
        **_transfer(known),
        "trans_amount": yuan_of(known.fen),
        "pay_date": china_time(known.at),
    }


async def bill_url(simulator: "Simulator", request: Request) -> Node:
    if request.content.get("bill_type") != "trade":
        raise Refusal("40004", "isp.bill_not_exist", "账单不存在")
    token = simulator.bill_token(request.seller_id, str(request.content.get("bill_date")))
    if token is None:
        raise Refusal("40004", "isp.bill_not_exist", "账单不存在")
    return {"bill_download_url": f"{simulator.base_url}/bill/{token}"}


async def oauth_token(simulator: "Simulator", request: Request) -> Node:
    code = request.parameters.get("code", "")
    if request.parameters.get("grant_type") != "authorization_code" or code not in (
        simulator.oauth_codes
    ):
        raise Refusal("40002", "isv.code-invalid", "授权码code无效")
    simulator.oauth_codes.discard(code)
    return {
        "user_id": BUYER_ID,
        "access_token": f"authusrB{secrets.token_hex(16)}",
        "expires_in": "1296000",
    }


def _find(simulator: "Simulator", request: Request) -> Trade:
    return simulator.book.trade(
        request.seller_id,
        str(request.content.get("out_trade_no") or ""),
        str(request.content.get("trade_no") or ""),
        simulator.clock.now(),
    )


def _parties(trade: Trade) -> Node:
    return {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "buyer_user_id": BUYER_ID,
        "buyer_logon_id": BUYER_LOGON_ID,
    }


def _trade(trade: Trade) -> Node:
    return {
        **_parties(trade),
        "total_amount": yuan_of(trade.fen),
        "receipt_amount": yuan_of(trade.fen if trade.paid_at else 0),
        "buyer_pay_amount": yuan_of(trade.fen if trade.paid_at else 0),
    }


def _transfer(known: Transfer) -> Node:
    return {
        "out_biz_no": known.out_biz_no,
        "order_id": known.order_id,
        "pay_fund_order_id": known.order_id,
        "status": "SUCCESS",
    }


Method = Callable[["Simulator", Request], Awaitable[Node]]
METHODS: Final[dict[str, Method]] = {
    "alipay.trade.precreate": precreate,
    "alipay.trade.create": create,
    "alipay.trade.pay": pay,
    "alipay.trade.query": query,
    "alipay.trade.close": close,
    "alipay.trade.cancel": cancel,
    "alipay.trade.refund": refund,
    "alipay.trade.fastpay.refund.query": query_refund,
    "alipay.fund.auth.order.freeze": holds.freeze,
    "alipay.fund.auth.order.voucher.create": holds.create_voucher,
    "alipay.fund.auth.order.unfreeze": holds.unfreeze,
    "alipay.fund.auth.operation.detail.query": holds.query_operation,
    "alipay.fund.auth.operation.cancel": holds.cancel_operation,
    "alipay.user.agreement.query": agreements.query,
    "alipay.user.agreement.unsign": agreements.unsign,
    "alipay.fund.trans.uni.transfer": transfer,
    "alipay.fund.trans.common.query": query_transfer,
    **sharing.METHODS,
    **complaints.METHODS,
    "alipay.data.dataservice.bill.downloadurl.query": bill_url,
    "alipay.system.oauth.token": oauth_token,
}
FOR_BROWSERS: Final = frozenset({"alipay.trade.page.pay", "alipay.trade.wap.pay", agreements.SIGN})
CREATING: Final = frozenset({"alipay.trade.precreate", "alipay.trade.create", "alipay.trade.pay"})
