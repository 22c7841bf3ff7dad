"""Asking for a payment, one way for each product.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012791856 (JSAPI), 4012791874 (Native),
4012791832 (H5), 4013070176 (App), and the interface for payment codes (付款码支付).
"""

import re
from typing import Any, Final
from urllib.parse import quote

from qiao.channels.requests import Context, PaymentQuery, PaymentRequest, Product
from qiao.channels.wechat.codes import ALREADY, PAYMENT_DECLINES, USER_PAYING
from qiao.channels.wechat.gateway import Answer, Gateway
from qiao.channels.wechat.payments import order_path, outcome_of, query_payment
from qiao.channels.wechat.texts import check_reference, fen, time_text
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    AwaitCustomer,
    ClientParameters,
    Declined,
    PaymentOutcome,
    Pending,
    QrCode,
    Redirect,
)

PATHS: Final = {
    Product.QR: "native",
    Product.H5: "h5",
    Product.APP: "app",
    Product.MINI_PROGRAM: "jsapi",
    Product.OFFICIAL_ACCOUNT: "jsapi",
    Product.CODE: "codepay",
}
AUTH_CODE: Final = re.compile(r"1[0-5][0-9]{16}", re.ASCII)
MAX_DESCRIPTION: Final = 127
MAX_NOTIFY_URL: Final = 255
_WITH_PAYER: Final = (Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT)


def create_payment(
    gateway: Gateway, request: PaymentRequest, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the payment."""
    if request.product not in PATHS:
        raise InvalidInput(
            f"WeChat Pay has no product {request.product}",
            field="product",
            remedy=f"choose one of: {', '.join(sorted(PATHS))}",
        )
    path, body = order_path(gateway, PATHS[request.product]), _order(gateway, request, context)
    answer = yield from gateway.call("POST", path, context, body=body)
    query = PaymentQuery(reference=request.reference, amount=request.amount)
    if answer.code in USER_PAYING:
        return Pending(action=AwaitCustomer())
    if answer.code in ALREADY:
        return (yield from query_payment(gateway, query, context))
    if answer.code in PAYMENT_DECLINES:
        return Declined(
            code=PAYMENT_DECLINES[answer.code],
            channel_code=answer.code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    if request.product is Product.CODE:
        return outcome_of(gateway.account, answer.fields, query)
    return _pending(gateway, request, answer, context)


def _pending(
    gateway: Gateway, request: PaymentRequest, answer: Answer, context: Context
) -> Pending:
    match request.product:
        case Product.QR:
            return Pending(action=QrCode(content=answer.text("code_url")))
        case Product.H5:
            url = answer.text("h5_url")
            if not url.startswith(("https://", "http://")):
                raise AnswerUnreadable("h5_url is no address")
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
    """For WeixinJSBridge and wx.requestPayment."""
    timestamp, nonce = str(int(context.now().timestamp())), context.nonce()
    package = f"prepay_id={prepay_id}"
    return {
        "appId": app,
        "timeStamp": timestamp,
        "nonceStr": nonce,
        "package": package,
        "signType": "RSA",
        "paySign": gateway.account.sign(f"{app}\n{timestamp}\n{nonce}\n{package}\n"),
    }


def _app_parameters(gateway: Gateway, prepay_id: str, context: Context) -> dict[str, str]:
    """For the app SDK."""
    settings = gateway.account.settings
    app = settings.sub_appid or settings.appid
    timestamp, nonce = str(int(context.now().timestamp())), context.nonce()
    return {
        "appid": app,
        "partnerid": settings.sub_mchid or settings.mchid,
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": nonce,
        "timestamp": timestamp,
        "sign": gateway.account.sign(f"{app}\n{timestamp}\n{nonce}\n{prepay_id}\n"),
    }


def _app(gateway: Gateway, request: PaymentRequest) -> str:
    settings = gateway.account.settings
    if request.product is Product.MINI_PROGRAM and settings.mini_program_appid:
        return settings.mini_program_appid
    return settings.appid


def _order(gateway: Gateway, request: PaymentRequest, context: Context) -> dict[str, Any]:
    """Raises InvalidInput."""
    _check(request, context)
    account, settings = gateway.account, gateway.account.settings
    body: dict[str, Any] = {
        "description": request.description,
        "out_trade_no": check_reference(request.reference),
        "amount": {"total": fen(request.amount), "currency": request.amount.currency},
        "settle_info": {"profit_sharing": True} if request.profit_sharing else None,
    }
    if account.partner:
        body |= {
            "sp_appid": settings.appid,
            "sp_mchid": settings.mchid,
            "sub_appid": settings.sub_appid,
            "sub_mchid": settings.sub_mchid,
        }
    else:
        body |= {"appid": _app(gateway, request), "mchid": settings.mchid}
    if request.product is Product.CODE:
        body["payer"] = {"auth_code": request.auth_code}
        store = {"id": request.store or "1"}
        body["scene_info"] = {"store_info": store, "device_ip": request.client_ip}
        return body
    body["notify_url"] = request.notify_url
    body["time_expire"] = time_text(request.expires_at)
    if request.product in _WITH_PAYER:
        body["payer"] = {"sp_openid" if account.partner else "openid": request.payer}
    if request.product is Product.H5:
        body["scene_info"] = {"payer_client_ip": request.client_ip, "h5_info": {"type": "Wap"}}
    return body


def _check(request: PaymentRequest, context: Context) -> None:
    code, payer = request.product is Product.CODE, request.product in _WITH_PAYER
    problems = {
        "description": not 0 < len(request.description) <= MAX_DESCRIPTION
        and ("empty or too long", f"give 1 to {MAX_DESCRIPTION} characters"),
        "notify_url": (len(request.notify_url) > MAX_NOTIFY_URL or "?" in request.notify_url)
        and ("too long, or with a query", "give an address without a query"),
        "expires_at": request.expires_at <= context.now()
        and ("already past", "give a time to come"),
        "auth_code": code
        and not AUTH_CODE.fullmatch(request.auth_code or "")
        and ("not a WeChat payment code", "scan the code on the customer's WeChat again"),
        "payer": payer
        and not request.payer
        and ("missing", "give the payer's openid, which identify() tells"),
        "client_ip": request.product is Product.H5
        and not request.client_ip
        and ("missing", "give the customer's own IP address, which WeChat Pay compares"),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidInput(problem[0], field=field, remedy=problem[1])
