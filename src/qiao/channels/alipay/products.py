"""Asking for a payment: one order for each product, the same core in all of them.

Sources: https://opendocs.alipay.com/open/ — alipay.trade.precreate, .pay, .page.pay, .wap.pay,
.app.pay and .create.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from qiao.channels.alipay.codes import ALREADY_PAID, PAYMENT_DECLINES, gateway_refusal
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.payments import declined, query_payment, taken
from qiao.channels.alipay.texts import time_text, yuan_text
from qiao.channels.requests import Context, PaymentQuery, PaymentRequest, Product
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import (
    ClientParameters,
    PaymentOutcome,
    Pending,
    QrCode,
    Redirect,
)

METHODS: Final[Mapping[Product, str]] = {
    Product.QR: "alipay.trade.precreate",
    Product.CODE: "alipay.trade.pay",
    Product.PAGE: "alipay.trade.page.pay",
    Product.H5: "alipay.trade.wap.pay",
    Product.APP: "alipay.trade.app.pay",
    Product.MINI_PROGRAM: "alipay.trade.create",
    Product.OFFICIAL_ACCOUNT: "alipay.trade.create",
}
_PRODUCT_CODES: Final[Mapping[Product, str]] = {
    Product.QR: "FACE_TO_FACE_PAYMENT",
    Product.CODE: "FACE_TO_FACE_PAYMENT",
    Product.PAGE: "FAST_INSTANT_TRADE_PAY",
    Product.H5: "QUICK_WAP_WAY",
    Product.APP: "QUICK_MSECURITY_PAY",
    Product.MINI_PROGRAM: "JSAPI_PAY",
    Product.OFFICIAL_ACCOUNT: "JSAPI_PAY",
}
REFERENCE: Final = re.compile(r"[0-9A-Za-z_]{1,64}", re.ASCII)
_AUTH_CODE: Final = re.compile(r"(?:2[5-9]|30)[0-9]{14,22}", re.ASCII)
_USER_ID: Final = re.compile(r"2088[0-9]{12}", re.ASCII)
MAX_SUBJECT_CHARACTERS: Final = 256
_MAX_NOTIFY_URL_CHARACTERS: Final = 256
_MAX_LIFE: Final = timedelta(days=15)


def create_payment(
    gateway: Gateway, request: PaymentRequest, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the payment. For ``page``, ``h5`` and ``app`` nothing is sent from here.

    Those three go to Alipay by the customer's own device; Alipay knows no trade before then.
    """
    order = _order(gateway, request, context)
    method = METHODS[request.product]
    if request.product is Product.APP:
        text = gateway.order_text(method, order, context, notify_url=request.notify_url)
        return Pending(action=ClientParameters(parameters={"orderString": text}))
    if request.product in (Product.PAGE, Product.H5):
        url = gateway.browser_url(
            method,
            order,
            context,
            notify_url=request.notify_url,
            return_url=request.return_url,
        )
        return Pending(action=Redirect(url=url))
    answer = yield from gateway.call(method, order, context, notify_url=request.notify_url)
    if answer.business_code in ALREADY_PAID:
        asked = PaymentQuery(reference=request.reference, amount=request.amount)
        return (yield from query_payment(gateway, asked, context))
    return _outcome(request, answer)


def _outcome(request: PaymentRequest, answer: Answer) -> PaymentOutcome:
    if answer.refused_by_gateway:
        return declined(gateway_refusal(answer), answer)
    if answer.business_code in PAYMENT_DECLINES:
        return declined(PAYMENT_DECLINES[answer.business_code], answer)
    if request.product is Product.CODE:
        return taken(answer, request.reference, request.amount)
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", request.reference)
    if request.product is Product.QR:
        return Pending(action=QrCode(content=answer.text("qr_code")))
    trade = answer.text("trade_no")
    return Pending(action=ClientParameters(parameters={"tradeNO": trade}), channel_reference=trade)


def _order(gateway: Gateway, request: PaymentRequest, context: Context) -> dict[str, Any]:
    """The biz_content. Raises InvalidInput.

    ``time_expire`` is absolute, so that an order which Alipay has not even heard of yet (an
    unscanned QR code, an unopened page) cannot be paid after it.
    """
    check_order(request, context)
    settings = gateway.account.settings
    extended = {}
    if settings.service_provider_id is not None:
        extended["sys_service_provider_id"] = settings.service_provider_id
    if request.profit_sharing:
        extended["royalty_freeze"] = "true"
    order: dict[str, Any] = {
        "out_trade_no": request.reference,
        "total_amount": yuan_text(request.amount),
        "subject": request.description,
        "product_code": _PRODUCT_CODES[request.product],
        "time_expire": time_text(request.expires_at),
        "store_id": request.store,
        "extend_params": extended or None,
        **_product_fields(gateway, request),
    }
    return {name: value for name, value in order.items() if value is not None}


def _product_fields(gateway: Gateway, request: PaymentRequest) -> dict[str, Any]:
    match request.product:
        case Product.CODE:
            return {"scene": "bar_code", "auth_code": request.auth_code}
        case Product.MINI_PROGRAM | Product.OFFICIAL_ACCOUNT:
            payer = request.payer or ""
            known = "buyer_id" if _USER_ID.fullmatch(payer) else "buyer_open_id"
            fields: dict[str, Any] = {known: payer}
            if request.product is Product.MINI_PROGRAM:
                fields["op_app_id"] = gateway.account.settings.mini_program_app_id
            return fields
        case _:
            return {}


def check_order(request: PaymentRequest, context: Context) -> None:
    """What every order must be. Raises InvalidInput."""
    now = context.now()
    problems = {
        "product": request.product not in METHODS
        and ("not a product of Alipay's", f"choose from: {', '.join(sorted(METHODS))}"),
        "reference": not REFERENCE.fullmatch(request.reference)
        and ("not an Alipay order number", "give 1 to 64 letters, digits and underscores"),
        "description": not 0
        < len(request.description.strip())
        <= len(request.description)
        <= MAX_SUBJECT_CHARACTERS
        and ("empty or too long", f"give 1 to {MAX_SUBJECT_CHARACTERS} characters"),
        "notify_url": len(request.notify_url) > _MAX_NOTIFY_URL_CHARACTERS
        and ("too long", f"give at most {_MAX_NOTIFY_URL_CHARACTERS} characters"),
        "expires_at": not now < request.expires_at <= now + _MAX_LIFE
        and ("not within the next 15 days", "give a time after now and within 15 days"),
        "auth_code": request.product is Product.CODE
        and not _AUTH_CODE.fullmatch(request.auth_code or "")
        and ("not an Alipay payment code", "scan the code on the customer's Alipay again"),
        "payer": request.product in (Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT)
        and not request.payer
        and ("missing", "give the payer's open id or user id, which identify() tells"),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidInput(problem[0], field=field, remedy=problem[1])
