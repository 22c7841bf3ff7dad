"""Payments: accept, attempt, show, ask, capture, void, close, refund."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody

from qiao.domain.money import Money
from qiao.engine.attempts import UNSETTLED, Method, ask, attempt
from qiao.engine.captures import ask_about_hold, capture, void
from qiao.engine.closing import close
from qiao.engine.key_policy import KeyScope
from qiao.engine.ordering import Ordered, order_and_attempt
from qiao.engine.payments import (
    Accepted,
    Order,
    accept,
    attempts_of,
    list_payments,
    show,
    show_in_full,
)
from qiao.engine.refunds import refund, show_refund
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import (
    AttemptDocument,
    CaptureInput,
    Limit,
    MethodInput,
    Page,
    PaymentDocument,
    PaymentInput,
    RefundDocument,
    RefundInput,
    attempt_document,
    page_of,
    payment_document,
    refund_document,
)
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body, idempotency_key

AnyRequest = Request[Any, Any, Any]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        pattern=r"^[!-~]{1,128}$",
        description="the same key with the same body gives the same answer and does nothing twice",
    ),
]
KNOWN_ORDER = ResponseSpec(
    data_container=PaymentDocument,
    generate_examples=False,
    description="The order was accepted before; this is its payment.",
)


def read_method(given: MethodInput) -> Method:
    return Method(
        channel=given.channel,
        product=given.product,
        payer=given.payer,
        auth_code=given.auth_code,
        client_ip=given.client_ip,
        return_url=given.return_url,
        country=given.country,
        device=given.device,
        preference=given.preference,
    )


async def in_full(engine: Engine, merchant: Scope, payment_id: str) -> PaymentDocument:
    """The payment with its attempts and refunds. Raises InvalidId, Missing."""
    found = await show_in_full(engine, merchant, payment_id)
    return payment_document(
        found.payment, engine.public_url, found.attempts, found.refunds, found.captures
    )


async def create(
    engine: Engine, merchant: Scope, data: PaymentInput, key: IdempotencyKey | None
) -> tuple[PaymentDocument, int]:
    """Accept, and attempt where a method is given; the document and the status to answer."""
    order = Order(
        order_id=data.order_id,
        amount=Money(data.amount, data.currency),
        description=data.description,
        methods=tuple(data.methods),
        return_url=data.return_url,
        metadata=data.metadata,
        expires_in_seconds=data.expires_in,
        capture=data.capture,
        profit_sharing=data.profit_sharing,
    )
    done: Accepted | Ordered
    if data.method is None:
        done, attempts = await accept(engine, merchant, order, key=key), []
    else:
        done = await order_and_attempt(engine, merchant, order, read_method(data.method), key=key)
        attempts = [done.attempt]
    document = payment_document(done.payment, engine.public_url, attempts)
    return document, 201 if done.created else 200


async def _key(request: AnyRequest) -> IdempotencyKey | None:
    return idempotency_key(request, await request.body())


@post(
    "/payments",
    before_request=check_body,
    responses={200: KNOWN_ORDER, **refusals(404, 409, 413)},
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def create_payment(
    data: JSONBody[PaymentInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> Response[PaymentDocument]:
    """Accept an order, and attempt it at once when a method is given.

    The same order number gives the same payment, with 200 instead of 201.
    """
    document, status = await create(engine, merchant, data, await _key(request))
    return Response(document, status_code=status)


@get("/payments", responses=refusals(), tags=["Payments"], opt=needs(KeyScope.PAYMENTS_READ))
async def get_payments(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: FromQuery[str | None] = None,
) -> Page[PaymentDocument]:
    """The newest payments first."""
    found = await list_payments(engine, merchant, before=before, limit=limit)
    return page_of([payment_document(one, engine.public_url) for one in found], limit)


@get(
    "/payments/{payment_id:str}",
    responses=refusals(404),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_READ),
)
async def get_payment(
    payment_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> PaymentDocument:
    """The payment with its attempts and refunds."""
    return await in_full(engine, merchant, payment_id)


@post(
    "/payments/{payment_id:str}/attempts",
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def create_attempt(
    payment_id: FromPath[str],
    data: JSONBody[MethodInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> AttemptDocument:
    """Ask a channel for the payment. The same method again gives the attempt that waits."""
    key = await _key(request)
    tried = await attempt(engine, merchant, payment_id, read_method(data), key=key)
    return attempt_document(tried)


@post(
    "/payments/{payment_id:str}/query",
    status_code=200,
    responses=refusals(404),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_READ),
)
async def query_payment(
    payment_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> PaymentDocument:
    """Ask the channel now how it stands with the payment, and show it."""
    payment = await show(engine, merchant, payment_id)
    for one in await attempts_of(engine, payment):
        if one.state in UNSETTLED:
            await ask(engine, one)
    await ask_about_hold(engine, payment)
    return await in_full(engine, merchant, payment_id)


@post(
    "/payments/{payment_id:str}/capture",
    status_code=200,
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def capture_payment(
    payment_id: FromPath[str],
    data: JSONBody[CaptureInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> PaymentDocument:
    """Take what is held, or a part of it, and let go of the rest. ``captures`` says how it went."""
    key = await _key(request)
    await capture(engine, merchant, payment_id, amount_minor=data.amount, key=key)
    return await in_full(engine, merchant, payment_id)


@post(
    "/payments/{payment_id:str}/void",
    status_code=200,
    responses=refusals(404, 409),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def void_payment(
    payment_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> PaymentDocument:
    """Let go of what is held; the payment is closed once the channel has said so."""
    await void(engine, merchant, payment_id)
    return await in_full(engine, merchant, payment_id)


@post(
    "/payments/{payment_id:str}/close",
    status_code=200,
    responses=refusals(404),
    tags=["Payments"],
    opt=needs(KeyScope.PAYMENTS_WRITE),
)
async def close_payment(
    payment_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> PaymentDocument:
    """Close it now, or as soon as no attempt can bring money any more; a paid one stays paid."""
    await close(engine, merchant, payment_id)
    return await in_full(engine, merchant, payment_id)


@post(
    "/payments/{payment_id:str}/refunds",
    before_request=check_body,
    responses=refusals(404, 409, 413),
    tags=["Refunds"],
    opt=needs(KeyScope.REFUNDS_WRITE),
)
async def create_refund(
    payment_id: FromPath[str],
    data: JSONBody[RefundInput],
    request: AnyRequest,
    engine: TheEngine,
    merchant: TheMerchant,
    idempotency: Key = None,
) -> RefundDocument:
    """Give a part of a paid payment back, or all that is left of it."""
    given = await refund(
        engine,
        merchant,
        payment_id,
        amount_minor=data.amount,
        reason=data.reason,
        key=await _key(request),
    )
    return refund_document(given)


@get(
    "/refunds/{refund_id:str}",
    responses=refusals(404),
    tags=["Refunds"],
    opt=needs(KeyScope.PAYMENTS_READ),
)
async def get_refund(
    refund_id: FromPath[str], engine: TheEngine, merchant: TheMerchant
) -> RefundDocument:
    """The refund as it is now."""
    return refund_document(await show_refund(engine, merchant, refund_id))


payments = Router(
    "/",
    route_handlers=[
        create_payment,
        get_payments,
        get_payment,
        create_attempt,
        query_payment,
        capture_payment,
        void_payment,
        close_payment,
        create_refund,
        get_refund,
    ],
)
