"""Holding an amount (预授权), taking it or a part of it, and letting it go.

An authorization is asked for under our number as ``out_order_no`` and ``out_request_no``. What is
taken of it is a trade of its own, under the capture's number, and is refunded as any trade is.

Sources: the models of github.com/alipay/alipay-sdk-java-all, ``v2/…/domain`` and ``…/response``:
AlipayFundAuthOrderFreeze, …VoucherCreate, …Unfreeze, AlipayFundAuthOperationDetailQuery,
…OperationCancel, AlipayTradePay (``auth_no``, ``auth_confirm_mode``); the error codes of
alipay.fund.auth.operation.detail.query. The codes by which a freeze is refused are not among them:
such a refusal leaves the outcome open, and the question about it tells.
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.alipay.codes import ALREADY_PAID, PAYMENT_DECLINES, gateway_refusal
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.payments import declined, query_payment, taken
from qiao.channels.alipay.products import check_order
from qiao.channels.alipay.texts import CURRENCY, money_from, yuan_text
from qiao.channels.requests import (
    AuthorizationQuery,
    CaptureQuery,
    CaptureRequest,
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Authorized,
    AwaitCustomer,
    Closed,
    Declined,
    NotFound,
    PaymentOutcome,
    Pending,
    QrCode,
)

METHODS: Final[Mapping[Product, str]] = {
    Product.CODE: "alipay.fund.auth.order.freeze",
    Product.QR: "alipay.fund.auth.order.voucher.create",
}
_PRODUCT_CODE: Final = "PRE_AUTH"
_MAX_TITLE_CHARACTERS: Final = 50
"""100 letters or 50 Chinese characters."""
_NOT_THERE: Final = frozenset({"AUTH_ORDER_NOT_EXIST", "AUTH_OPERATION_NOT_EXIST"})
_OVER: Final = frozenset({"FINISH", "CLOSED"})


def authorize(
    gateway: Gateway, request: PaymentRequest, context: Context
) -> Operation[PaymentOutcome]:
    """Have the amount held: by a payment code at once, by a QR code when the customer agrees."""
    content = _content(gateway, request, context)
    method = METHODS[request.product]
    answer = yield from gateway.call(method, content, context, notify_url=request.notify_url)
    if answer.refused_by_gateway:
        return declined(gateway_refusal(answer), answer)
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_order_no", request.reference)
    if request.product is Product.QR:
        return Pending(action=QrCode(content=answer.text("code_value")))
    match answer.text("status"):
        case "INIT":
            return Pending(action=AwaitCustomer(), channel_reference=answer.optional("auth_no"))
        case "SUCCESS":
            return _authorized(answer, request.amount)
        case _:
            raise AnswerUnreadable(f"{method} answered a status that Qiao does not know")


def query_authorization(
    gateway: Gateway, query: AuthorizationQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Ask whether it is held. NotFound is usual for a QR code that nobody has scanned."""
    answer = yield from _ask(gateway, query, context)
    return _state(answer, query.amount)


def void(
    gateway: Gateway, query: AuthorizationQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Let go of all that is held, or have an unfinished authorization given up."""
    answer = yield from _ask(gateway, query, context)
    state = _state(answer, query.amount)
    if isinstance(state, Pending):
        content = {"out_order_no": query.reference, "out_request_no": query.reference}
        ended = yield from gateway.call("alipay.fund.auth.operation.cancel", content, context)
        if not ended.succeeded:
            raise ended.open()
        ended.expect("out_order_no", query.reference)
        if ended.text("action") not in ("close", "unfreeze"):
            raise AnswerUnreadable("the authorization was ended in a way that Qiao does not know")
        return Closed(channel_reference=ended.optional("auth_no"))
    if not isinstance(state, Authorized):
        return state
    content = {
        "auth_no": state.channel_reference,
        "out_request_no": f"{query.reference}v",  # the same at every resend, and not the freeze's
        "amount": answer.text("rest_amount"),
        "remark": "void",
    }
    freed = yield from gateway.call("alipay.fund.auth.order.unfreeze", content, context)
    if not freed.succeeded:
        raise freed.open()
    freed.expect("auth_no", state.channel_reference)
    if freed.text("status") != "SUCCESS":
        raise AnswerUnreadable("alipay.fund.auth.order.unfreeze is not done")
    return Closed(channel_reference=state.channel_reference)


def capture(
    gateway: Gateway, request: CaptureRequest, context: Context
) -> Operation[PaymentOutcome]:
    """Take a part or all (转支付); ``COMPLETE`` has Alipay let go of the rest.

    The buyer, whom Alipay wants named here, stands in its answer about the authorization. When
    nothing is held any more, an earlier sending of this capture may be why: its trade tells.
    """
    amount, seller_id = yuan_text(request.amount), _seller_id(gateway)
    told = yield from _ask(gateway, request.authorization, context)
    state = _state(told, request.authorization.amount)
    query = PaymentQuery(reference=request.reference, amount=request.amount)
    if not isinstance(state, Authorized):
        trade = yield from query_payment(gateway, query, context)
        over = isinstance(trade, NotFound) and isinstance(state, Closed)
        return Declined(code="closed", channel_code=state_code(told)) if over else trade
    buyer = told.optional("payer_open_id")
    content = {
        "out_trade_no": request.reference,
        "total_amount": amount,
        "subject": request.description,
        "product_code": _PRODUCT_CODE,
        "auth_no": state.channel_reference,
        "auth_confirm_mode": "COMPLETE",
        "seller_id": seller_id,
        **({"buyer_open_id": buyer} if buyer else {"buyer_id": told.text("payer_user_id")}),
    }
    answer = yield from gateway.call(
        "alipay.trade.pay", content, context, notify_url=request.notify_url
    )
    if answer.business_code in ALREADY_PAID:
        return (yield from query_payment(gateway, query, context))
    if answer.business_code in PAYMENT_DECLINES:
        return declined(PAYMENT_DECLINES[answer.business_code], answer)
    return taken(answer, request.reference, request.amount)


def query_capture(
    gateway: Gateway, query: CaptureQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the trade that a capture is."""
    asked = PaymentQuery(reference=query.reference, amount=query.amount)
    return (yield from query_payment(gateway, asked, context))


def state_code(answer: Answer) -> str:
    """Alipay's own word for how an authorization stands."""
    return answer.optional("order_status") or ""


def _ask(gateway: Gateway, query: AuthorizationQuery, context: Context) -> Operation[Answer]:
    content = {
        "out_order_no": query.reference,
        "out_request_no": query.reference,
        "operation_type": "FREEZE",
    }
    method = "alipay.fund.auth.operation.detail.query"
    answer = yield from gateway.call(method, content, context, effect=False)
    if answer.succeeded:
        answer.expect("out_order_no", query.reference)
    return answer


def _state(answer: Answer, amount: Money) -> PaymentOutcome:
    """What the answer about an authorization says; raises AnswerUnreadable for a foreign one."""
    if answer.business_code in _NOT_THERE:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    status = answer.text("order_status")
    if status == "INIT":
        return Pending(action=AwaitCustomer(), channel_reference=answer.optional("auth_no"))
    if status in _OVER:
        return Closed(channel_reference=answer.optional("auth_no"))
    if status != "AUTHORIZED":
        raise AnswerUnreadable(f"{answer.method} answered a state that Qiao does not know")
    return _authorized(answer, amount)


def _authorized(answer: Answer, amount: Money) -> Authorized:
    """Raises AnswerUnreadable for another amount than was asked for, in yuan."""
    if (answer.optional("trans_currency") or CURRENCY) != CURRENCY:
        raise AnswerUnreadable(f"{answer.method} answered in another currency")
    if money_from(answer.text("amount")) != amount:
        raise AnswerUnreadable(f"{answer.method} answered about another amount")
    return Authorized(amount=amount, channel_reference=answer.text("auth_no"))


def _content(gateway: Gateway, request: PaymentRequest, context: Context) -> dict[str, Any]:
    """Raises InvalidInput."""
    if request.product not in METHODS:
        raise InvalidInput(
            "cannot be held", field="product", remedy=f"give one of: {', '.join(sorted(METHODS))}"
        )
    check_order(request, context)
    seller_id = _seller_id(gateway)
    minutes = max(1, int((request.expires_at - context.now()).total_seconds()) // 60)
    content = {
        "out_order_no": request.reference,
        "out_request_no": request.reference,
        "order_title": request.description[:_MAX_TITLE_CHARACTERS],
        "amount": yuan_text(request.amount),
        "product_code": _PRODUCT_CODE,
        "pay_timeout": f"{minutes}m",
        "payee_user_id": seller_id,
    }
    if request.product is Product.CODE:
        content |= {"auth_code": request.auth_code or "", "auth_code_type": "bar_code"}
    return content


def _seller_id(gateway: Gateway) -> str:
    """Who gets what is captured. Raises InvalidInput."""
    seller_id = gateway.account.settings.seller_id
    if seller_id is None:
        raise InvalidInput(
            "missing: Alipay captures for a seller that is named",
            field="settings.seller_id",
            remedy="add the account's own id (2088…) to its settings",
        )
    return seller_id
