"""What each address of API v2 takes, does and answers."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from qiao.simulators.wechat.book import (
    CHINA,
    MAX_FEN,
    NUMBER,
    OPENID,
    Order,
    Refund,
    State,
)
from qiao.simulators.wechat.codec import Refusal
from qiao.simulators.wechat.methods import LIFE, charge
from qiao.simulators.wechat.v2.codec import Failure, Refused, Request

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

Fields = dict[str, str]
Method = Callable[["Simulator", Request], Fields]
PRODUCTS: Final = {"NATIVE": "native", "JSAPI": "jsapi", "MWEB": "h5", "APP": "app"}
CODES: Final = {
    "NOT_ENOUGH": "NOTENOUGH",
    "ORDER_CLOSED": "ORDERCLOSED",
    "ORDER_NOT_EXIST": "ORDERNOTEXIST",
    "USER_ACCOUNT_ABNORMAL": "TRADE_ERROR",
}
"""What the same refusal is called here, where it is called otherwise than on API v3."""
_COMPACT: Final = "%Y%m%d%H%M%S"


def refused(refusal: Refusal, **more: str) -> Refused:
    """What the book refuses, in the words of API v2."""
    return Refused(CODES.get(refusal.code, refusal.code), refusal.message, **more)


def unified_order(simulator: "Simulator", request: Request) -> Fields:
    """Make an order for every product but the payment code."""
    kind = request.text("trade_type", most=16)
    if kind not in PRODUCTS:
        raise Failure("invalid trade_type")
    request.text("notify_url", most=256)
    if kind == "JSAPI" and "openid" not in request.fields:
        raise Refused("PARAM_ERROR", "JSAPI支付必须传openid")
    if kind == "MWEB" and "h5_info" not in request.text("scene_info", most=256):
        raise Failure("invalid scene_info")
    order = simulator.book.make(order_of(simulator, request, kind), simulator.clock.now())
    told = {"result_code": "SUCCESS", "trade_type": kind, "prepay_id": order.prepay_id}
    if kind == "NATIVE":
        told["code_url"] = f"{simulator.base_url}/wallet/{order.token}"
    if kind == "MWEB":
        told["mweb_url"] = f"{simulator.base_url}/h5?prepay_id={order.prepay_id}"
    return told


def micropay(simulator: "Simulator", request: Request) -> Fields:
    """The customer's payment code was scanned."""
    order = order_of(simulator, request, "MICROPAY")
    code = request.text("auth_code", most=128)
    if (request.owner, order.out_trade_no) not in simulator.book.orders:
        simulator.book.use_code(code)
    order = simulator.book.make(order, simulator.clock.now())
    charge(simulator, order)
    return {"result_code": "SUCCESS", **paid(order)}


def order_query(simulator: "Simulator", request: Request) -> Fields:
    """The order, by WeChat Pay's number or by the merchant's."""
    return order_view(_found(simulator, request))


def order_view(order: Order) -> Fields:
    """An order as it stands."""
    state = {"trade_state": str(order.state), "trade_state_desc": str(order.state)}
    if order.paid_at is not None:
        return {"result_code": "SUCCESS", **paid(order), **state}
    told = {"out_trade_no": order.out_trade_no, "total_fee": str(order.fen), **state}
    return {"result_code": "SUCCESS", **told, **_echo(order)}


def close_order(simulator: "Simulator", request: Request) -> Fields:
    """Close it; one that is closed already is refused."""
    number = request.text("out_trade_no", most=32)
    order = simulator.book.find(request.owner, number, simulator.clock.now())
    if order.state in (State.CLOSED, State.REVOKED):
        raise Refused("ORDERCLOSED", "订单已关闭，无法重复关闭")
    simulator.close(order)
    return {"result_code": "SUCCESS"}


def reverse(simulator: "Simulator", request: Request) -> Fields:
    """Take a code payment back; while the customer types a password it must be asked for again."""
    now = simulator.clock.now()
    order = _found(simulator, request)
    if order.state is State.USERPAYING:
        raise Refused("USERPAYING", "用户支付中，需要输入密码", recall="Y")
    if order.state is State.REFUND:
        raise Refused("TRADE_STATE_ERROR", "订单状态错误", recall="N")
    simulator.book.reverse(order, now)
    return {"result_code": "SUCCESS", "recall": "N"}


def refund(simulator: "Simulator", request: Request) -> Fields:
    """Give money back; the answer only says that it will be done."""
    number, now = request.text("out_refund_no", most=64), simulator.clock.now()
    total, fen = _fen(request, "total_fee"), _fen(request, "refund_fee")
    if fen > total:
        raise Failure("invalid refund_fee")
    order = _found(simulator, request)
    known = order.refunds.get(number)
    if total != order.fen or (known is not None and known.fen != fen):
        raise Refused("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")
    unpaid = order.state not in (State.SUCCESS, State.REFUND)
    if known is None and (unpaid or order.refunded == order.fen):
        raise Refused("TRADE_STATE_ERROR", "订单状态错误")
    if known is None and order.refunded + fen > order.fen:
        raise Refused("REFUND_FEE_INVALID", "退款金额大于支付金额")
    made, new = simulator.book.refund(
        order,
        Refund(
            out_refund_no=number,
            refund_id=simulator.book.number(now, "50000000"),
            fen=fen,
            at=now,
            notify_url=request.fields.get("notify_url"),
            v2=True,
        ),
    )
    if new:
        simulator.refunded(order, made)
    return {
        "result_code": "SUCCESS",
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "out_refund_no": made.out_refund_no,
        "refund_id": made.refund_id,
        "refund_fee": str(made.fen),
        "total_fee": str(order.fen),
        "cash_fee": str(order.fen),
        "cash_refund_fee": str(made.fen),
    }


def refund_query(simulator: "Simulator", request: Request) -> Fields:
    """One refund by its number, or every refund of an order; their fields are numbered from 0."""
    for order in simulator.book.orders.values():
        found = [one for one in order.refunds.values() if _asked_for(request.fields, order, one)]
        if order.owner == request.owner and found:
            told = {
                "result_code": "SUCCESS",
                "transaction_id": order.transaction_id,
                "out_trade_no": order.out_trade_no,
                "total_fee": str(order.fen),
                "cash_fee": str(order.fen),
                "refund_count": str(len(found)),
            }
            for place, made in enumerate(found):
                told |= {f"{name}_{place}": text for name, text in _refund_view(made).items()}
            return told
    raise Refused("REFUNDNOTEXIST", "退款订单查询失败")


def paid(order: Order) -> Fields:
    """A paid order, as an answer or a notification tells it."""
    return {
        "openid": OPENID,
        "is_subscribe": "N",
        "trade_type": order.trade_type,
        "bank_type": "OTHERS",
        "total_fee": str(order.fen),
        "fee_type": "CNY",
        "cash_fee": str(order.fen),
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
        "time_end": (order.paid_at or order.created_at).astimezone(CHINA).strftime(_COMPACT),
        **_echo(order),
    }


def _echo(order: Order) -> Fields:
    """What is only told when it was sent."""
    return {"attach": order.attach, "device_info": order.device_info}


def _refund_view(made: Refund) -> Fields:
    told = {
        "out_refund_no": made.out_refund_no,
        "refund_id": made.refund_id,
        "refund_channel": "ORIGINAL",
        "refund_fee": str(made.fen),
        "refund_status": made.status,
        "refund_recv_accout": "支付用户零钱",
    }
    if made.done:
        told["refund_success_time"] = f"{made.at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"
    return told


def _asked_for(fields: Mapping[str, str], order: Order, made: Refund) -> bool:
    """By the first number that is given, in WeChat Pay's own order."""
    numbers = {
        "refund_id": made.refund_id,
        "out_refund_no": made.out_refund_no,
        "transaction_id": order.transaction_id,
        "out_trade_no": order.out_trade_no,
    }
    given = next((name for name in numbers if name in fields), None)
    if given is None:
        raise Failure("缺少参数out_refund_no")
    return fields[given] == numbers[given]


def _found(simulator: "Simulator", request: Request) -> Order:
    now = simulator.clock.now()
    if "transaction_id" not in request.fields:
        return simulator.book.find(request.owner, request.text("out_trade_no", most=32), now)
    trade = request.text("transaction_id", most=32)
    for order in simulator.book.orders.values():
        if (order.owner, order.transaction_id) == (request.owner, trade) and order.paid_at:
            return order
    raise Refused("ORDERNOTEXIST", "订单不存在")


def order_of(simulator: "Simulator", request: Request, kind: str) -> Order:
    """The order that is asked for. Raises Failure."""
    now, number = simulator.clock.now(), request.text("out_trade_no", most=32)
    if not NUMBER.fullmatch(number):
        raise Failure("invalid out_trade_no")
    if request.fields.get("fee_type", "CNY") != "CNY":
        raise Failure("invalid fee_type")
    request.text("spbill_create_ip", most=64)
    return Order(
        owner=request.owner,
        mchid=request.merchant.mchid,
        appid=request.merchant.appid,
        out_trade_no=number,
        transaction_id=simulator.book.number(now),
        token=secrets.token_urlsafe(12),
        prepay_id=f"wx{secrets.token_hex(17)}",
        fen=_fen(request, "total_fee"),
        description=request.text("body", most=512),
        trade_type=kind,
        created_at=now,
        expires_at=_expiry(request, now),
        notify_url=request.fields.get("notify_url") if kind != "MICROPAY" else None,
        sign_type=request.sign_type,
        attach=request.fields.get("attach", ""),
        device_info=request.fields.get("device_info", ""),
    )


def _fen(request: Request, name: str) -> int:
    text = request.text(name, most=16)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_FEN):
        raise Failure(f"invalid {name}")
    return int(text)


def _expiry(request: Request, now: datetime) -> datetime:
    text = request.fields.get("time_expire")
    if text is None:
        return now + LIFE
    try:
        moment = datetime.strptime(text, _COMPACT).replace(tzinfo=CHINA)
    except ValueError:
        raise Failure("invalid time_expire") from None
    if moment <= now:
        raise Failure("invalid time_expire")
    return moment


METHODS: Final[Mapping[str, tuple[str, Method]]] = {
    "/pay/unifiedorder": ("create", unified_order),
    "/pay/micropay": ("create.codepay", micropay),
    "/pay/orderquery": ("query", order_query),
    "/pay/closeorder": ("close", close_order),
    "/pay/refundquery": ("query_refund", refund_query),
    "/secapi/pay/reverse": ("reverse", reverse),
    "/secapi/pay/refund": ("refund", refund),
}
"""By address: the operation's name among the faults, and what it does."""
