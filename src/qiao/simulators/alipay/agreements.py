"""Agreements as Alipay keeps them (周期扣款, 商家扣款): signed, ended, and what a charge may take.

Source: the models of alipay.user.agreement.page.sign, .query and .unsign in Alipay's own SDK, the
error codes of alipay.trade.pay, and Alipay's support pages on 修改扣款时间 and on what finds an
agreement.
"""

import calendar
import re
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.alipay.book import BUYER_ID, BUYER_LOGON_ID, fen_of, refused
from qiao.simulators.alipay.codec import CHINA, Refusal, Request, china_time
from qiao.simulators.kit.notifier import Message

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

Node = dict[str, Any]
SIGN: Final = "alipay.user.agreement.page.sign"
PRODUCTS: Final = ("CYCLE_PAY_AUTH", "GENERAL_WITHHOLDING")
NUMBER: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
WAYS: Final = ("ALIPAYAPP", "QRCODE", "QRCODEORSMS")
FOR_EVER: Final = "2115-02-01 00:00:00"
DAYS_BEFORE: Final = 5
OK: Final = 200


@dataclass(kw_only=True)
class Agreement:
    """One customer's word. ``TEMP`` until it is signed, ``UNSIGN`` once it is ended."""

    app_id: str
    seller_id: str
    external_agreement_no: str
    sign_scene: str
    product_code: str
    logon_id: str
    period_type: str
    period: int
    next_on: date
    """The day of the next charge; a charge that is paid moves it on."""
    single_fen: int
    token: str
    charset: str
    notify_url: str | None
    return_url: str | None
    agreement_no: str
    status: str = "TEMP"
    signed_at: datetime | None = None
    charges: int = 0

    def moved_on(self) -> date:
        """The day after ``next_on`` on which a charge is due."""
        if self.period_type == "DAY":
            return self.next_on + timedelta(days=self.period)
        months = self.next_on.month - 1 + self.period
        year, month = self.next_on.year + months // 12, months % 12 + 1
        return date(year, month, min(self.next_on.day, calendar.monthrange(year, month)[1]))


def asked_for(simulator: "Simulator", request: Request) -> Agreement:
    """The agreement that a page of signing is opened for, made or known. Raises Refusal."""
    content, now = request.content, simulator.clock.now()
    number, scene = content.get("external_agreement_no"), content.get("sign_scene")
    if not isinstance(number, str) or not NUMBER.fullmatch(number):
        raise refused("INVALID_PARAMETER", "参数有误: external_agreement_no")
    if not isinstance(scene, str) or scene == "DEFAULT|DEFAULT":
        raise refused("INVALID_PARAMETER", "参数有误: sign_scene")
    if content.get("product_code") not in PRODUCTS or content.get("personal_product_code") != (
        f"{content['product_code']}_P"
    ):
        raise refused("PRODUCT_CODE_NOT_SUPPORTED_ERROR", "无效的个人产品码")
    access = content.get("access_params")
    if not isinstance(access, dict) or access.get("channel") not in WAYS:
        raise refused("INVALID_PARAMETER", "参数有误: access_params")
    rule = _rule(content.get("period_rule_params"))
    known = simulator.book.agreements.get((request.seller_id, number))
    if known is not None:
        return known
    made = Agreement(
        app_id=request.app.app_id,
        seller_id=request.seller_id,
        external_agreement_no=number,
        sign_scene=scene,
        product_code=str(content["product_code"]),
        logon_id=str(content.get("external_logon_id") or ""),
        token=secrets.token_urlsafe(12),
        charset=request.parameters["charset"],
        notify_url=request.parameters.get("notify_url"),
        return_url=request.parameters.get("return_url"),
        agreement_no=f"{now:%Y}{simulator.book.number(now)[-16:]}",
        **rule,
    )
    simulator.book.agreements[request.seller_id, number] = made
    return made


def _rule(given: object) -> dict[str, Any]:
    wrong = refused("INVALID_PARAMETER", "参数有误: period_rule_params")
    if not isinstance(given, dict) or given.get("period_type") not in ("DAY", "MONTH"):
        raise wrong
    period, kind = given.get("period"), given["period_type"]
    try:
        first = date.fromisoformat(str(given.get("execute_time")))
    except ValueError:
        raise wrong from None
    if not isinstance(period, int) or period < (7 if kind == "DAY" else 1):
        raise wrong
    if kind == "MONTH" and first.day > 28:
        raise wrong
    single = fen_of(given.get("single_amount"), name="single_amount")
    return {"period_type": kind, "period": period, "next_on": first, "single_fen": single}


def signed(simulator: "Simulator", agreement: Agreement) -> bool:
    """The customer signs, and the merchant is told; whether that was possible."""
    if agreement.status != "TEMP":
        return False
    agreement.status, agreement.signed_at = "NORMAL", simulator.clock.now()
    tell(simulator, agreement)
    return True


def ended(simulator: "Simulator", agreement: Agreement) -> bool:
    """Somebody ends it, and the merchant is told; whether there was something to end."""
    if agreement.status != "NORMAL":
        return False
    agreement.status = "UNSIGN"
    tell(simulator, agreement)
    return True


def tell(simulator: "Simulator", agreement: Agreement) -> None:
    """Tell the merchant how it stands. Its own gateway (应用网关) is the address of signing."""
    if not agreement.notify_url:
        return
    app, now = simulator.app(agreement.app_id), simulator.clock.now()
    fields = {
        "notify_time": china_time(now),
        "notify_type": "dut_user_sign" if agreement.status == "NORMAL" else "dut_user_unsign",
        "notify_id": f"{now:%Y%m%d}00222{secrets.randbelow(10**21):021}",
        "app_id": agreement.app_id,
        "auth_app_id": app.auth_app_id or agreement.app_id,
        "charset": agreement.charset,
        "version": "1.0",
        "external_agreement_no": agreement.external_agreement_no,
        "alipay_user_id": BUYER_ID,
        **_view(agreement),
    }
    kind = f"application/x-www-form-urlencoded; charset={agreement.charset}"

    def build(wrongly: bool) -> tuple[dict[str, str], bytes]:
        return {"content-type": kind}, simulator.codec.form(app, fields, wrongly=wrongly)

    simulator.notifier.notify(
        Message(
            operation="notify.agreement",
            url=agreement.notify_url,
            build=build,
            accepts=lambda status, body: status == OK and body == b"success",
        )
    )


def _view(agreement: Agreement) -> dict[str, str]:
    signed_at = agreement.signed_at
    return {
        "agreement_no": agreement.agreement_no,
        "alipay_logon_id": BUYER_LOGON_ID,
        "personal_product_code": f"{agreement.product_code}_P",
        "sign_scene": agreement.sign_scene,
        "status": agreement.status,
        "sign_time": china_time(signed_at) if signed_at else "",
        "valid_time": china_time(signed_at) if signed_at else "",
        "invalid_time": FOR_EVER,
    }


def _found(simulator: "Simulator", request: Request) -> Agreement:
    """By Alipay's number, or by the merchant's together with product and scene. Raises Refusal."""
    content = request.content
    for one in simulator.book.agreements.values():
        by_ours = {
            "external_agreement_no": one.external_agreement_no,
            "sign_scene": one.sign_scene,
            "personal_product_code": f"{one.product_code}_P",
        }
        wanted = {"agreement_no": one.agreement_no} if content.get("agreement_no") else by_ours
        mine = one.seller_id == request.seller_id and one.status == "NORMAL"
        if mine and all(content.get(name) == value for name, value in wanted.items()):
            return one
    raise refused("USER_AGREEMENT_NOT_EXIST", "用户协议不存在")


async def query(simulator: "Simulator", request: Request) -> Node:
    agreement = _found(simulator, request)
    told = _view(agreement)
    if "external_agreement_no" in request.content:
        told["external_agreement_no"] = agreement.external_agreement_no
    return {
        **told,
        "principal_id": BUYER_ID,
        "pricipal_type": "CARD",
        "next_deduct_time": f"{agreement.next_on}",
    }


async def unsign(simulator: "Simulator", request: Request) -> Node:
    ended(simulator, _found(simulator, request))
    return {}


def may_charge(simulator: "Simulator", request: Request, fen: int) -> Agreement:
    """The agreement by which so much may be taken today. Raises Refusal."""
    given = request.content.get("agreement_params")
    number = given.get("agreement_no") if isinstance(given, dict) else None
    of_seller = (
        one for one in simulator.book.agreements.values() if one.seller_id == request.seller_id
    )
    found = next((one for one in of_seller if one.agreement_no == number), None)
    if found is None or found.status == "UNSIGN":
        raise refused("ACQ.AGREEMENT_NOT_EXIST", "用户协议不存在")
    if found.status != "NORMAL":
        raise refused("ACQ.AGREEMENT_STATUS_NOT_NORMAL", "用户协议状态非NORMAL")
    if request.content.get("product_code") != found.product_code:
        raise Refusal("40004", "ACQ.INVALID_PARAMETER", "参数无效: product_code")
    if fen > found.single_fen:
        raise refused("ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED", "周期扣款的单笔金额超过签约时限制")
    today = simulator.clock.now().astimezone(CHINA).date()
    if not found.next_on - timedelta(days=DAYS_BEFORE) <= today <= found.next_on:
        raise refused("ACQ.CYCLE_PAY_DATE_NOT_MATCH", "扣款日期不在签约时的允许范围之内")
    return found
