"""Asking for a payment, one way for each product.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011935214 (unified order, 统一下单) and
4011937125 (payment code, 付款码支付).
"""

import json
from typing import Final
from urllib.parse import quote

from qiao.channels.requests import Context, PaymentQuery, PaymentRequest, Product
from qiao.channels.wechat.products import AUTH_CODE, MAX_DESCRIPTION, MAX_NOTIFY_URL
from qiao.channels.wechat.texts import check_reference, fen
from qiao.channels.wechat.v2.codes import PAYMENT_DECLINES, USER_PAYING
from qiao.channels.wechat.v2.gateway import Answer, Gateway, expect
from qiao.channels.wechat.v2.payments import refusal, succeeded
from qiao.channels.wechat.v2.texts import time_text
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    AwaitCustomer,
    ClientParameters,
    PaymentOutcome,
    Pending,
    QrCode,
    Redirect,
)

TRADE_TYPES: Final = {
    Product.QR: "NATIVE",
    Product.H5: "MWEB",
    Product.APP: "APP",
    Product.MINI_PROGRAM: "JSAPI",
    Product.OFFICIAL_ACCOUNT: "JSAPI",
    Product.CODE: "MICROPAY",
}
MAX_SITE_NAME: Final = 32
SERVER_IP: Final = "127.0.0.1"
"""Told where the customer's address is not known; only H5 compares it."""
_WITH_PAYER: Final = (Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT)


def create_payment(
    gateway: Gateway, request: PaymentRequest, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the payment."""
    _check(request, context)
    code = request.product is Product.CODE
    path = "/pay/micropay" if code else "/pay/unifiedorder"
    answer = yield from gateway.call(path, _order(gateway, request), context)
    query = PaymentQuery(reference=request.reference, amount=request.amount)
    if answer.code in USER_PAYING:
        return Pending(action=AwaitCustomer())
    refused = yield from refusal(gateway, answer, PAYMENT_DECLINES, query, context)
    if refused is not None:
        return refused
    if code:
        expect(answer.fields, {"out_trade_no": request.reference})
        return succeeded(gateway.account, answer.fields, request.amount)
    return _pending(gateway, request, answer, context)


def _pending(
    gateway: Gateway, request: PaymentRequest, answer: Answer, context: Context
) -> Pending:
    match request.product:
        case Product.QR:
            return Pending(action=QrCode(content=answer.text("code_url")))
        case Product.H5:
            url = answer.text("mweb_url")
            if not url.startswith(("https://", "http://")):
                raise AnswerUnreadable("mweb_url is no address")
            if request.return_url:
                url += f"&redirect_url={quote(request.return_url, safe='')}"
            return Pending(action=Redirect(url=url))
        case Product.APP:
            parameters = _app_parameters(gateway, answer.text("prepay_id"), context)
        case _:
            app = _app(gateway, request)
            parameters = _page_parameters(gateway, app, answer.text("prepay_id"), context)
    return Pending(action=ClientParameters(parameters=parameters))


def _page_parameters(
    gateway: Gateway, app: str, prepay_id: str, context: Context
) -> dict[str, str]:
    """For WeixinJSBridge and wx.requestPayment; under the order's own algorithm."""
    told = {
        "appId": app,
        "timeStamp": str(int(context.now().timestamp())),
        "nonceStr": context.nonce(),
        "package": f"prepay_id={prepay_id}",
        "signType": gateway.account.settings.sign_type.value,
    }
    return {**told, "paySign": gateway.sign(told)}


def _app_parameters(gateway: Gateway, prepay_id: str, context: Context) -> dict[str, str]:
    """For the app SDK, which learns of no algorithm: it is the order's."""
    settings = gateway.account.settings
    told = {
        "appid": settings.sub_appid or settings.appid,
        "partnerid": settings.sub_mchid or settings.mchid,
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": context.nonce(),
        "timestamp": str(int(context.now().timestamp())),
    }
    return {**told, "sign": gateway.sign(told)}


def _app(gateway: Gateway, request: PaymentRequest) -> str:
    settings = gateway.account.settings
    if request.product is Product.MINI_PROGRAM and settings.mini_program_appid:
        return settings.mini_program_appid
    return settings.appid


def _order(gateway: Gateway, request: PaymentRequest) -> dict[str, str | None]:
    """Raises InvalidInput."""
    fields: dict[str, str | None] = {
        "appid": _app(gateway, request),
        "body": request.description,
        "out_trade_no": check_reference(request.reference),
        "total_fee": str(fen(request.amount)),
        "fee_type": request.amount.currency,
        "spbill_create_ip": request.client_ip or SERVER_IP,
    }
    if request.product is Product.CODE:
        return fields | {"auth_code": request.auth_code, "device_info": request.store}
    fields |= {
        "trade_type": TRADE_TYPES[request.product],
        "notify_url": request.notify_url,
        "time_expire": time_text(request.expires_at),
    }
    if request.product is Product.QR:
        fields["product_id"] = request.reference
    if request.product in _WITH_PAYER:
        fields["openid"] = request.payer
    if request.product is Product.H5:
        fields["scene_info"] = _scene(request)
    return fields


def _scene(request: PaymentRequest) -> str:
    """Which site the customer comes from, as far as it is known here."""
    address = request.return_url or request.notify_url
    site = {
        "type": "Wap",
        "wap_url": "/".join(address.split("/", 3)[:3]),
        "wap_name": request.description[:MAX_SITE_NAME],
    }
    return json.dumps({"h5_info": site}, ensure_ascii=False, separators=(",", ":"))


def _check(request: PaymentRequest, context: Context) -> None:
    if request.product not in TRADE_TYPES:
        raise InvalidInput(
            f"WeChat Pay has no product {request.product}",
            field="product",
            remedy=f"choose one of: {', '.join(sorted(TRADE_TYPES))}",
        )
    problems = {
        "description": not 0 < len(request.description) <= MAX_DESCRIPTION
        and ("empty or too long", f"give 1 to {MAX_DESCRIPTION} characters"),
        "notify_url": (len(request.notify_url) > MAX_NOTIFY_URL or "?" in request.notify_url)
        and ("too long, or with a query", "give an address without a query"),
        "expires_at": request.expires_at <= context.now()
        and ("already past", "give a time to come"),
        "auth_code": request.product is Product.CODE
        and not AUTH_CODE.fullmatch(request.auth_code or "")
        and ("not a WeChat payment code", "scan the code on the customer's WeChat again"),
        "payer": request.product in _WITH_PAYER
        and not request.payer
        and ("missing", "give the payer's openid, which identify() tells"),
        "client_ip": request.product is Product.H5
        and not request.client_ip
        and ("missing", "give the customer's own IP address, which WeChat Pay compares"),
        "profit_sharing": request.profit_sharing
        and ("not offered on API v2", "share profit on an account of API v3"),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidInput(problem[0], field=field, remedy=problem[1])
