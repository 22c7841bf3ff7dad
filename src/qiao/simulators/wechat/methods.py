"""The API's methods: what each takes, does and answers."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.kit.scenarios import Scenario, scenario_of
from qiao.simulators.wechat.book import (
    NUMBER,
    OPENID,
    Order,
    Refund,
    State,
    Transfer,
    china_time,
    fen_of,
    text_of,
)
from qiao.simulators.wechat.codec import Refusal, Request

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

Reply = tuple[int, dict[str, Any] | None]
TRADE_TYPES: Final = {
    "native": "NATIVE",
    "jsapi": "JSAPI",
    "h5": "MWEB",
    "app": "APP",
    "codepay": "MICROPAY",
}
DECLINES: Final = {
    Scenario.INSUFFICIENT_FUNDS: (403, "NOT_ENOUGH", "余额不足"),
    Scenario.ACCOUNT_RESTRICTED: (403, "USER_ACCOUNT_ABNORMAL", "用户账户异常"),
    Scenario.INVALID_AUTH_CODE: (400, "AUTH_CODE_INVALID", "付款码无效"),
}
PASSWORD_SECONDS: Final = 3.0
REFUND_SECONDS: Final = 5.0
LATE_SECONDS: Final = 2.0
LIFE: Final = timedelta(hours=2)


def create(simulator: "Simulator", request: Request, product: str) -> Reply:
    """Make an order, one way for each product."""
    body = request.body
    if product == "jsapi":
        payer = body.get("payer")
        text_of(payer, "sp_openid" if request.merchant.sub_mchid else "openid", most=128)
    if product == "h5":
        text_of(body.get("scene_info"), "payer_client_ip", most=45)
    if product == "codepay":
        return code_pay(simulator, request)
    order = _order(simulator, request, product)
    match product:
        case "native":
            return 200, {"code_url": f"{simulator.base_url}/wallet/{order.token}"}
        case "h5":
            return 200, {"h5_url": f"{simulator.base_url}/h5?prepay_id={order.prepay_id}"}
        case _:
            return 200, {"prepay_id": order.prepay_id}


def code_pay(simulator: "Simulator", request: Request) -> Reply:
    """The customer's payment code was scanned."""
    if not isinstance(request.body.get("scene_info"), dict):
        raise Refusal(400, "PARAM_ERROR", "参数错误: scene_info")
    number = str(request.body.get("out_trade_no"))
    if (request.owner, number) not in simulator.book.orders:
        simulator.book.use_code(text_of(request.body.get("payer"), "auth_code", most=18))
    order = _order(simulator, request, "codepay")
    charge(simulator, order)
    return 200, transaction(order, request)


def charge(simulator: "Simulator", order: Order) -> None:
    """What becomes of a scanned code, by the order's amount. Raises Refusal unless it is paid."""
    match order.scenario:
        case Scenario.INSUFFICIENT_FUNDS | Scenario.ACCOUNT_RESTRICTED | Scenario.INVALID_AUTH_CODE:
            order.state = State.PAYERROR
            raise Refusal(*DECLINES[order.scenario])
        case Scenario.PASSWORD_THEN_PAID | Scenario.PASSWORD_THEN_CANCELLED:
            order.state = State.USERPAYING
            if order.scenario is Scenario.PASSWORD_THEN_PAID:
                simulator.later(PASSWORD_SECONDS, lambda: simulator.pay(order))
            else:
                simulator.later(PASSWORD_SECONDS, lambda: simulator.book.close(order))
            raise Refusal(400, "USERPAYING", "用户支付中，需要输入密码")
        case _:
            simulator.pay(order)


def query(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The order by our number."""
    _check_merchant(request, request.query)
    order = simulator.book.find(request.owner, number, simulator.clock.now())
    return 200, transaction(order, request)


def query_by_id(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The order by WeChat Pay's number."""
    _check_merchant(request, request.query)
    for order in simulator.book.orders.values():
        if (order.owner, order.transaction_id) == (request.owner, number) and order.paid_at:
            return 200, transaction(order, request)
    raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")


def close(simulator: "Simulator", request: Request, number: str) -> Reply:
    """Close it; with the scenario for it, money arrives all the same."""
    _check_merchant(request, request.body)
    simulator.close(simulator.book.find(request.owner, number, simulator.clock.now()))
    return 204, None


def reverse(simulator: "Simulator", request: Request, number: str) -> Reply:
    """Take a code payment back. A service provider may leave its app out."""
    now, merchant = simulator.clock.now(), request.merchant
    _check_merchant(request, request.body)
    if not merchant.sub_mchid and request.body.get("appid") != merchant.appid:
        raise Refusal(400, "PARAM_ERROR", "参数错误: appid")
    order = simulator.book.find(request.owner, number, now)
    simulator.book.reverse(order, now)
    return 200, {**_identity(order, request), "out_trade_no": number}


def refund(simulator: "Simulator", request: Request) -> Reply:
    """Give money back."""
    body, now = request.body, simulator.clock.now()
    check_sub_merchant(request, body)
    number = text_of(body, "out_refund_no", most=64)
    amount = body.get("amount")
    if not isinstance(amount, dict):
        raise Refusal(400, "PARAM_ERROR", "参数错误: amount")
    order = _refundable(simulator, request)
    if amount.get("total") != order.fen or amount.get("currency") != "CNY":
        raise Refusal(400, "INVALID_REQUEST", "订单金额不一致")
    made, new = simulator.book.refund(
        order,
        Refund(
            out_refund_no=number,
            refund_id=simulator.book.number(now, "50000000"),
            fen=fen_of(amount.get("refund"), name="amount.refund"),
            at=now,
            notify_url=body.get("notify_url"),
        ),
    )
    if new:
        simulator.refunded(order, made)
    return 200, refund_view(order, made)


def query_refund(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The refund by our number."""
    check_sub_merchant(request, request.query)
    for order in simulator.book.orders.values():
        if order.owner == request.owner and number in order.refunds:
            return 200, refund_view(order, order.refunds[number])
    raise Refusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在")


def transfer(simulator: "Simulator", request: Request, announced: str) -> Reply:
    """Money to a person, who confirms it a little later."""
    body, now = request.body, simulator.clock.now()
    number, openid = text_of(body, "out_bill_no", most=32), text_of(body, "openid", most=64)
    fen = fen_of(body.get("transfer_amount"), name="transfer_amount")
    text_of(body, "transfer_scene_id", most=36)
    text_of(body, "transfer_remark", most=32)
    if not body.get("transfer_scene_report_infos"):
        raise Refusal(400, "PARAM_ERROR", "参数错误: transfer_scene_report_infos")
    if "user_name" in body:
        simulator.codec.unseal(announced, str(body["user_name"]))
    if scenario_of(fen) is Scenario.INSUFFICIENT_FUNDS:
        raise Refusal(403, "NOT_ENOUGH", "余额不足")
    made = Transfer(
        out_bill_no=number,
        transfer_bill_no=simulator.book.number(now, "13300000"),
        fen=fen,
        openid=openid,
        at=now,
    )
    known = simulator.book.transfers.setdefault((request.owner, number), made)
    if (known.fen, known.openid) != (fen, openid):
        raise Refusal(400, "INVALID_REQUEST", "商户单号重复，参数不一致")
    if known is made:
        simulator.later(PASSWORD_SECONDS, lambda: setattr(known, "state", "SUCCESS"))
    told = _transfer(known)
    return 200, {**told, "package_info": secrets.token_hex(16)}


def query_transfer(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The transfer by our number."""
    known = simulator.book.transfers.get((request.owner, number))
    if known is None:
        raise Refusal(404, "NOT_FOUND", "记录不存在")
    return 200, {
        **_transfer(known),
        "mch_id": request.merchant.mchid,
        "appid": request.merchant.appid,
        "openid": known.openid,
        "transfer_amount": known.fen,
        "update_time": china_time(known.at),
    }


def transaction(order: Order, request: Request) -> dict[str, Any]:
    """The order as its merchant sees it."""
    sub = request.merchant.sub_mchid
    told: dict[str, Any] = {
        **_identity(order, request),
        "out_trade_no": order.out_trade_no,
        "trade_state": str(order.state),
        "trade_state_desc": str(order.state),
        "amount": {"total": order.fen, "currency": "CNY"},
    }
    if order.paid_at:
        told |= {
            "transaction_id": order.transaction_id,
            "trade_type": order.trade_type,
            "bank_type": "OTHERS",
            "success_time": china_time(order.paid_at),
            "payer": {"sp_openid" if sub else "openid": OPENID},
        }
        told["amount"] |= {"payer_total": order.fen, "payer_currency": "CNY"}
    return told


def refund_view(order: Order, made: Refund) -> dict[str, Any]:
    """The refund as its merchant sees it."""
    told = {
        "refund_id": made.refund_id,
        "out_refund_no": made.out_refund_no,
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": china_time(made.at),
        "status": made.status,
        "amount": {
            **_refund_amount(order, made),
            "settlement_total": order.fen,
            "settlement_refund": made.fen,
            "discount_refund": 0,
            "currency": "CNY",
        },
    }
    if made.done:
        told["success_time"] = china_time(made.at)
    return told


def refund_notice(order: Order, made: Refund) -> dict[str, Any]:
    """The refund as a notification tells it: less, and its state by another name.

    Source: facts of WeChat Pay API v3, section 8.
    """
    sub = order.owner != order.mchid
    whose = {"sp_mchid": order.mchid, "sub_mchid": order.owner} if sub else {"mchid": order.mchid}
    return {
        **whose,
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "refund_id": made.refund_id,
        "out_refund_no": made.out_refund_no,
        "refund_status": made.status,
        "success_time": china_time(made.at),
        "user_received_account": "支付用户零钱",
        "amount": _refund_amount(order, made),
    }


def _refund_amount(order: Order, made: Refund) -> dict[str, int]:
    return {
        "total": order.fen,
        "refund": made.fen,
        "payer_total": order.fen,
        "payer_refund": made.fen,
    }


def _order(simulator: "Simulator", request: Request, product: str) -> Order:
    body, merchant, now = request.body, request.merchant, simulator.clock.now()
    prefix = "sp_" if merchant.sub_mchid else ""
    named = (body.get(f"{prefix}mchid"), body.get(f"{prefix}appid"))
    if named != (merchant.mchid, merchant.appid):
        raise Refusal(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
    check_sub_merchant(request, body)
    number = text_of(body, "out_trade_no", most=32)
    if not NUMBER.fullmatch(number):
        raise Refusal(400, "PARAM_ERROR", "参数错误: out_trade_no")
    amount = body.get("amount")
    if not isinstance(amount, dict) or amount.get("currency", "CNY") != "CNY":
        raise Refusal(400, "PARAM_ERROR", "参数错误: amount")
    order = Order(
        owner=request.owner,
        mchid=merchant.mchid,
        appid=merchant.appid,
        out_trade_no=number,
        transaction_id=simulator.book.number(now),
        token=secrets.token_urlsafe(12),
        prepay_id=f"wx{secrets.token_hex(17)}",
        fen=fen_of(amount.get("total")),
        description=text_of(body, "description", most=127),
        trade_type=TRADE_TYPES[product],
        created_at=now,
        expires_at=_expiry(body, now),
        notify_url=text_of(body, "notify_url") if product != "codepay" else None,
        profit_sharing=_shareable(body),
    )
    return simulator.book.make(order, now)


def _shareable(body: Mapping[str, Any]) -> bool:
    settle = body.get("settle_info")
    return isinstance(settle, dict) and settle.get("profit_sharing") is True


def _expiry(body: Mapping[str, Any], now: datetime) -> datetime:
    text = body.get("time_expire")
    if text is None:
        return now + LIFE
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = now
    if moment.tzinfo is None or moment <= now:
        raise Refusal(400, "PARAM_ERROR", "参数错误: time_expire")
    return moment


def _identity(order: Order, request: Request) -> dict[str, str]:
    """Whose order it is."""
    if sub := request.merchant.sub_mchid:
        return {"sp_mchid": order.mchid, "sp_appid": order.appid, "sub_mchid": sub}
    return {"mchid": order.mchid, "appid": order.appid}


def _check_merchant(request: Request, told: Mapping[str, Any]) -> None:
    """Whoever asks names itself, and a service provider its merchant too. Raises Refusal."""
    name = "sp_mchid" if request.merchant.sub_mchid else "mchid"
    if told.get(name) != request.merchant.mchid:
        raise Refusal(400, "PARAM_ERROR", f"参数错误: {name}")
    check_sub_merchant(request, told)


def check_sub_merchant(request: Request, told: Mapping[str, Any]) -> None:
    """A service provider says for which of its merchants it asks. Raises Refusal."""
    ours, named = request.merchant.sub_mchid, told.get("sub_mchid")
    if ours and not named:
        raise Refusal(400, "PARAM_ERROR", "参数错误: sub_mchid")
    if ours and named != ours:
        raise Refusal(403, "NO_AUTH", "无此子商户的权限")


def _refundable(simulator: "Simulator", request: Request) -> Order:
    if "out_trade_no" in request.body:
        number = text_of(request.body, "out_trade_no", most=32)
        found = simulator.book.orders.get((request.owner, number))
    else:
        trade = text_of(request.body, "transaction_id", most=32)
        orders = simulator.book.orders.values()
        found = next((one for one in orders if one.transaction_id == trade), None)
    if found is None or found.owner != request.owner:
        raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单不存在")
    return found


def _transfer(known: Transfer) -> dict[str, Any]:
    return {
        "out_bill_no": known.out_bill_no,
        "transfer_bill_no": known.transfer_bill_no,
        "create_time": china_time(known.at),
        "state": known.state,
    }
