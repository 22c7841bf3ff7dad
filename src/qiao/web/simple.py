"""The simplest door: POST /pay and GET /order, which stay as they are for ever."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromQuery, JSONBody
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.attempts import Method, attempt
from qiao.engine.key_policy import KeyScope
from qiao.engine.payments import Order, accept, payment_now, show_order
from qiao.engine.records import Attempt, Payment
from qiao.engine.runtime import Engine
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Amount, Text, cashier_url
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key
from qiao.web.problems import Refused


class PayInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``amount`` in whole minor units of CNY; ``pay_method`` is a channel's id."""

    order_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    amount: Amount
    pay_method: Text
    product: Product = Product.QR
    auth_code: Text | None = None
    description: Annotated[str, Meta(min_length=1, max_length=127)] | None = None


class OrderDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An order: its state, and what the customer must do while it is open."""

    order_id: str
    payment_id: str
    state: str
    amount: int
    currency: str
    refunded: int
    pay_url: str
    action: dict[str, Any] | None = None


def _document(engine: Engine, payment: Payment, tried: Attempt | None = None) -> OrderDocument:
    return OrderDocument(
        order_id=payment.order_id,
        payment_id=payment.payment_id,
        state=payment.state,
        amount=payment.amount_minor,
        currency=payment.currency,
        refunded=payment.refunded_minor,
        pay_url=cashier_url(payment, engine.public_url),
        action=tried.action if tried else None,
    )


@post(
    "/pay",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Simple"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def pay(
    data: JSONBody[PayInput],
    request: Request[Any, Any, Any],
    engine: TheEngine,
    merchant: TheMerchant,
) -> OrderDocument:
    """Accept an order and attempt it. The same order again gives what waits."""
    try:
        await engine.accounts.able(
            merchant.merchant_id,
            live=merchant.live,
            channel=data.pay_method,
            product=data.product,
            currency="CNY",
            app_id=merchant.app_id,
        )
    except InvalidInput as error:
        if error.field != "method.channel":
            raise
        title = "Invalid pay method"
        raise Refused(
            400, error.code, title, field="pay_method", remedy=error.remedy, error=title
        ) from None
    order = Order(
        order_id=data.order_id,
        amount=Money(data.amount, "CNY"),
        description=data.description or f"Order {data.order_id}",
    )
    key = idempotency_key(request, await request.body())
    payment = (await accept(engine, merchant, order, key=key)).payment
    if payment.state != "open":
        return _document(engine, payment)
    method = Method(channel=data.pay_method, product=data.product, auth_code=data.auth_code)
    tried = await attempt(engine, merchant, payment.payment_id, method)
    payment = await payment_now(engine, merchant.merchant_id, payment.payment_id)
    return _document(engine, payment, tried)


@get("/order", responses=refusals(404), tags=["Simple"], opt=needs(KeyScope.PAYMENTS_READ))
async def order(
    order_id: FromQuery[str], engine: TheEngine, merchant: TheMerchant
) -> OrderDocument:
    """How far an order is."""
    return _document(engine, await show_order(engine, merchant, order_id))


simple = Router("/", route_handlers=[pay, order])
