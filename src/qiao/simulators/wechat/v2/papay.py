"""委托代扣 (papay): contracts that customers sign and end, and what is charged by them.

Source: https://pay.weixin.qq.com/wiki/doc/api/wxpay_v2/papay/ (chapter2_8 on 周期扣费, the 3_x on
each address) and https://pay.weixin.qq.com/doc/v2/merchant/4013894074 (查询订单).
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from qiao.simulators.kit.notifier import Message
from qiao.simulators.kit.scenarios import Scenario
from qiao.simulators.wechat.book import CHINA, OPENID, Contract, Order, State
from qiao.simulators.wechat.v2.codec import MD5, Failure, Refused, Request
from qiao.simulators.wechat.v2.methods import Fields, order_of, order_view
from qiao.simulators.wechat.v2.notifications import HEADERS, accepts, payment_message

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

PLAN: Final = re.compile(r"[0-9]{1,28}", re.ASCII)
SERIAL: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
VALID: Final = timedelta(days=3650)
AT_ONCE: Final = timedelta(hours=12)
"""So long after it was signed a contract is charged at once."""
NOTICE_SECONDS: Final = 24 * 3600.0
"""Otherwise the customer is told first, and charged so much later."""
CHARGE_DECLINES: Final[Mapping[Scenario | None, tuple[str, str]]] = {
    Scenario.INSUFFICIENT_FUNDS: ("NOTENOUGH", "余额不足"),
    Scenario.ACCOUNT_RESTRICTED: ("USER_ACCOUNT_ABNORMAL", "用户账户异常"),
}


def entrust(simulator: "Simulator", query: Mapping[str, str]) -> Contract:
    """The contract whose page of signing is opened, made or known. Raises Failure."""
    request = simulator.v2.check(query, bare=True)
    if request.text("version", most=8) != "1.0":
        raise Failure("invalid version")
    plan, serial = request.text("plan_id", most=28), request.text("request_serial", most=20)
    stamp = request.text("timestamp", most=10)
    if not (PLAN.fullmatch(plan) and SERIAL.fullmatch(serial) and stamp.isdigit()):
        raise Failure("参数格式校验错误")
    code = request.text("contract_code", most=32)
    made = Contract(
        mchid=request.merchant.mchid,
        plan_id=plan,
        contract_code=code,
        contract_id=simulator.book.number(simulator.clock.now(), "Wx154"),
        request_serial=serial,
        display_account=request.text("contract_display_account", most=128),
        notify_url=request.text("notify_url", most=256),
        token=secrets.token_urlsafe(12),
    )
    return simulator.book.contracts.setdefault((request.owner, plan, code), made)


def signed(simulator: "Simulator", contract: Contract) -> bool:
    """The customer signs, and the merchant is told; whether that was possible."""
    if contract.signed_at is not None:
        return False
    contract.signed_at = simulator.clock.now()
    tell(simulator, contract)
    return True


def ended(simulator: "Simulator", contract: Contract, mode: str) -> bool:
    """Somebody ends it (2 the customer, 3 the merchant), and the merchant is told."""
    if not contract.open:
        return False
    contract.ended_at, contract.ended_by = simulator.clock.now(), mode
    tell(simulator, contract)
    return True


def tell(simulator: "Simulator", contract: Contract) -> None:
    """Tell the merchant how it stands. The template's own address is the one of signing here."""
    merchant = simulator.merchant(contract.mchid)
    told = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "mch_id": merchant.mchid,
        "contract_code": contract.contract_code,
        "plan_id": contract.plan_id,
        "openid": OPENID,
        "change_type": "ADD" if contract.open else "DELETE",
        "operate_time": _time(contract.ended_at or contract.signed_at),
        "contract_id": contract.contract_id,
        "contract_expired_time": _expiry(contract) if contract.open else "",
        "contract_termination_mode": contract.ended_by,
        "request_serial": contract.request_serial,
    }

    def build(wrongly: bool) -> tuple[Mapping[str, str], bytes]:
        return HEADERS, simulator.v2.message(told, merchant, MD5, wrongly=wrongly)

    simulator.notifier.notify(
        Message(operation="notify.agreement", url=contract.notify_url, build=build, accepts=accepts)
    )


def query_contract(simulator: "Simulator", request: Request) -> Fields:
    """It, as it stands."""
    contract = _found(simulator, request)
    if contract.signed_at is None:
        raise Refused("CONTRACT_NOT_EXIST", "签约协议不存在")
    return {
        **_named(contract),
        "contract_display_account": contract.display_account,
        "contract_state": "0" if contract.open else "1",
        "contract_signed_time": _time(contract.signed_at),
        "contract_expired_time": _expiry(contract),
        "contract_terminated_time": _time(contract.ended_at),
        "contract_termination_mode": contract.ended_by or "0",
        "openid": OPENID,
    }


def delete_contract(simulator: "Simulator", request: Request) -> Fields:
    """End it."""
    request.text("contract_termination_remark", most=256)
    contract = _found(simulator, request)
    if not ended(simulator, contract, "3"):
        raise Refused("CONTRACT_NOT_EXIST", "签约协议不存在")
    return _named(contract)


def apply(simulator: "Simulator", request: Request) -> Fields:
    """Take a charge. Success is only that it was accepted; one number is charged once."""
    now = simulator.clock.now()
    if request.text("trade_type", most=16) != "PAP":
        raise Failure("invalid trade_type")
    request.text("notify_url", most=256)
    number = request.text("contract_id", most=32)
    found = _numbered(simulator, request, number)
    order = replace(order_of(simulator, request, "PAP"), state=State.ACCEPT)
    known = simulator.book.orders.get((request.owner, order.out_trade_no))
    if known is not None and known.state in (State.SUCCESS, State.REFUND):
        raise Refused("ORDERPAID", "该订单已支付")
    if known is not None:
        raise Refused("INVALID_REQUEST", "201 商户订单号重复")
    if found is None or not found.open or found.signed_at is None:
        raise Refused("CONTRACT_NOT_EXIST", "签约协议不存在")
    simulator.book.orders[request.owner, order.out_trade_no] = order
    signed_at = found.signed_at
    seconds = 0.0 if now < signed_at + AT_ONCE else NOTICE_SECONDS
    simulator.later(seconds, lambda: _charge(simulator, order, found))
    return {"result_code": "SUCCESS"}


def pap_order_query(simulator: "Simulator", request: Request) -> Fields:
    """What was charged by a contract, and nothing else."""
    number = request.text("out_trade_no", most=32)
    order = simulator.book.find(request.owner, number, simulator.clock.now())
    if order.trade_type != "PAP":
        raise Refused("ORDERNOTEXIST", "订单不存在")
    return order_view(order)


def _charge(simulator: "Simulator", order: Order, contract: Contract) -> None:
    """The time has come; the merchant is told what came of it."""
    if order.state is not State.ACCEPT:
        return
    code, text = CHARGE_DECLINES.get(order.scenario, ("", ""))
    if not contract.open:
        code, text = "CONTRACT_NOT_EXIST", "签约协议不存在"
    if not code:
        simulator.pay(order)
        return
    order.state = State.PAY_FAIL
    failure = {
        "result_code": "FAIL",
        "err_code": code,
        "err_code_des": text,
        "contract_id": contract.contract_id,
        "total_fee": str(order.fen),
        "out_trade_no": order.out_trade_no,
    }
    if order.notify_url and order.sign_type:
        simulator.notifier.notify(
            payment_message(simulator, order, order.sign_type, order.notify_url, failure)
        )


def _found(simulator: "Simulator", request: Request) -> Contract:
    """By its number, or by its plan and the merchant's own. Raises Failure or Refused."""
    number = request.fields.get("contract_id")
    if request.text("version", most=8) != "1.0":
        raise Failure("invalid version")
    if number is None:
        named = (request.text("plan_id", most=28), request.text("contract_code", most=32))
        found = simulator.book.contracts.get((request.owner, *named))
    else:
        found = _numbered(simulator, request, number)
    if found is None:
        raise Refused("CONTRACT_NOT_EXIST", "签约协议不存在")
    return found


def _numbered(simulator: "Simulator", request: Request, number: str) -> Contract | None:
    every = simulator.book.contracts.items()
    mine = (one for (owner, *_), one in every if owner == request.owner)
    return next((one for one in mine if one.contract_id == number), None)


def _named(contract: Contract) -> Fields:
    return {
        "result_code": "SUCCESS",
        "contract_id": contract.contract_id,
        "plan_id": contract.plan_id,
        "request_serial": contract.request_serial,
        "contract_code": contract.contract_code,
    }


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}" if moment else ""


def _expiry(contract: Contract) -> str:
    return _time(contract.signed_at + VALID if contract.signed_at else None)


METHODS: Final = {
    "/papay/querycontract": ("query_agreement", query_contract),
    "/papay/deletecontract": ("end_agreement", delete_contract),
    "/pay/pappayapply": ("charge", apply),
    "/pay/paporderquery": ("query", pap_order_query),
}
"""By address: the operation's name among the faults, and what it does."""
