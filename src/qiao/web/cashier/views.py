"""The cashier's addresses. The token in them is all that a customer needs, and is secret."""

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import structlog
from litestar import MediaType, Request, Response, Router, get, post
from litestar.params import Body, FromPath, FromQuery
from litestar.response import ServerSentEvent, ServerSentEventMessage

from qiao.channels.interface import Capability, PayerIdentity
from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput, InvalidSettings
from qiao.domain.states import AttemptState, PaymentState
from qiao.engine.accounts import Account
from qiao.engine.attempts import UNSETTLED, Method, ask, attempt
from qiao.engine.closing import is_over
from qiao.engine.merchants import merchant_name
from qiao.engine.payments import attempts_of, payment_now
from qiao.engine.records import Attempt, CaptureMode, Payment
from qiao.engine.routing.choosing import choose
from qiao.engine.runtime import Engine, Scope
from qiao.engine.watching import version_of
from qiao.web.access import TheEngine, doors_of
from qiao.web.cashier import devices
from qiao.web.cashier.pages import (
    View,
    assets,
    content_security_policy,
    render,
    render_leaving,
    render_missing,
)
from qiao.web.cashier.texts import FAILURES

log = structlog.get_logger(__name__)
AnyRequest = Request[Any, Any, Any]
BASE = "/cashier/{merchant_id:str}/{payment_id:str}/{token:str}"
PING_SECONDS = 20.0
"""So often something goes over an open stream, so that nobody on the way takes it for dead."""
PINGS_AT_MOST = 30
"""Then it ends; the browser opens another."""
FAILED = frozenset({AttemptState.DECLINED, AttemptState.NOT_SENT})
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" '
    b'rx="7" fill="#1257d6"/><path d="M5 21c5-9 17-9 22 0M5 25h22M16 15v10M10 17v8M22 17v8" '
    b'fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"/></svg>'
)


class _NoSuchOrder(Exception):
    pass


async def _find(engine: Engine, merchant_id: str, payment_id: str, token: str) -> Payment:
    try:
        payment = await payment_now(engine, merchant_id, payment_id)
    except LookupError:
        raise _NoSuchOrder from None
    if not hmac.compare_digest(payment.cashier_token.encode(), token.encode()):
        raise _NoSuchOrder
    return payment


def _language(request: AnyRequest, chosen: str | None = None) -> str:
    return devices.language_of(
        chosen or request.cookies.get("lang"), request.headers.get("accept-language", "")
    )


def _address(payment: Payment) -> str:
    return f"/cashier/{payment.merchant_id}/{payment.payment_id}/{payment.cashier_token}"


@get(BASE, include_in_schema=False)
async def page(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
    choose: FromQuery[str | None] = None,
    failed: FromQuery[str | None] = None,
    leave: FromQuery[str | None] = None,
    lang: FromQuery[str | None] = None,
) -> Response[str]:
    """What the customer sees now."""
    language = _language(request, lang)
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return _html(render_missing(language), None, status=404)
    attempts = await attempts_of(engine, payment)
    now = engine.now()
    waiting = next((one for one in reversed(attempts) if one.state in UNSETTLED), None)
    manifests = [
        one.channel.manifest
        for one in await engine.accounts.usable(
            payment.merchant_id, live=payment.live, app_id=payment.app_id
        )
    ]
    if payment.capture is CaptureMode.MANUAL:
        manifests = [replace(one, products=one.authorization_products) for one in manifests]
    if payment.profit_sharing:
        manifests = [one for one in manifests if Capability.PROFIT_SHARING in one.capabilities]
    environment = devices.environment_of(request.headers.get("user-agent", ""))
    methods = devices.methods_for(
        environment,
        list({one.id: one for one in manifests}.values()),
        currency=payment.currency,
        admitted=payment.methods,
        language=language,
    )
    names = {one.id: one.name[language] for one in manifests}
    view = View(
        address=_address(payment),
        language=language,
        merchant=await merchant_name(engine, merchant_id) or "",
        description=payment.description,
        order_id=payment.order_id,
        amount=payment.amount,
        state=_state(payment, waiting, now, choose=choose is not None),
        settled=is_over(payment),
        on_phone=environment is not devices.Environment.DESKTOP,
        live=payment.live,
        refunded=0 < payment.captured_minor == payment.refunded_minor,
        version=version_of(payment, attempts),
        now=now,
        expires_at=payment.expires_at,
        return_url=payment.return_url,
        methods=tuple(methods),
        chosen=_chosen(waiting, names),
        action=waiting.action if waiting else None,
        failure=_failure(failed, attempts),
        leaving=leave is not None,
    )
    response = _html(render(view), view)
    if lang in devices.LANGUAGES:
        response.set_cookie("lang", lang, httponly=True, samesite="lax", max_age=31_536_000)
    return response


def _chosen(waiting: Attempt | None, names: dict[str, str]) -> devices.Method | None:
    if waiting is None:
        return None
    name = names.get(waiting.channel, waiting.channel)
    return devices.Method(channel=waiting.channel, product=waiting.product, name=name)


def _failure(told: str | None, attempts: list[Attempt]) -> str | None:
    """Why the customer must choose again: as the address says, or as the last attempt ended."""
    if told is None and attempts and attempts[-1].state in FAILED:
        told = attempts[-1].code or attempts[-1].state
    return told and (told if told in FAILURES else "failed")


def _state(payment: Payment, waiting: Attempt | None, now: datetime, *, choose: bool) -> str:
    if payment.state in (PaymentState.PAID, PaymentState.AUTHORIZED):
        return str(payment.state)
    if payment.expires_at <= (payment.close_requested_at or now):
        return "expired"
    if payment.state != PaymentState.OPEN or payment.close_requested_at:
        return "closed"
    return "waiting" if waiting and not choose else "choosing"


@post(BASE + "/pay", include_in_schema=False)
async def pay(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
    data: Annotated[dict[str, str], Body(media_type="application/x-www-form-urlencoded")],
) -> Response[str]:
    """The customer chose a method."""
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return _html(render_missing(_language(request)), None, status=404)
    channel, _, wanted = data.get("method", "").partition(":")
    try:
        product = Product(wanted)
    except ValueError:
        return _see(f"{_address(payment)}?failed=failed")
    if product is Product.OFFICIAL_ACCOUNT:
        url = await _authorization(engine, payment, channel)
        if url is not None:
            return _html(render_leaving(url, _language(request)), None)
    return await _attempt(engine, payment, channel, product, request)


@get(BASE + "/payer/{channel:str}", include_in_schema=False)
async def payer(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    channel: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
    code: FromQuery[str | None] = None,
    auth_code: FromQuery[str | None] = None,
) -> Response[str]:
    """The wallet sends its customer back with a code that tells who they are to the channel."""
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return _html(render_missing(_language(request)), None, status=404)
    given, found = code or auth_code, None
    try:
        account = await _account_for_payer(engine, payment, channel)
    except InvalidInput:
        return _see(f"{_address(payment)}?failed=failed")
    if given and Capability.PAYER_IDENTITY in account.channel.manifest.capabilities:
        operation = account.channel.identify(given, engine.context)  # type: ignore[attr-defined]  # the manifest promises it
        try:
            found = await engine.transport.run(operation)
        except InvalidSettings as error:  # such as an official account without its secret
            log.warning("cashier_payer_unknown", channel=channel, field=error.field)
    if not isinstance(found, str):
        return _see(f"{_address(payment)}?failed=failed")
    return await _attempt(
        engine,
        payment,
        channel,
        Product.OFFICIAL_ACCOUNT,
        request,
        payer=found,
        account_id=account.account_id,
    )


async def _account_for_payer(engine: Engine, payment: Payment, channel: str) -> Account:
    """The account that would take the payment, and so must be the one that names the payer.

    Raises InvalidInput.
    """
    method = Method(channel=channel, product=Product.OFFICIAL_ACCOUNT)
    scope = Scope(merchant_id=payment.merchant_id, live=payment.live)
    wanted = method.wanted(payment, payment.payment_id, engine.now(), app_id=payment.app_id)
    return (await choose(engine, scope, wanted)).account


async def _authorization(engine: Engine, payment: Payment, channel: str) -> str | None:
    """Where the customer's wallet tells who they are; None when the channel does not ask."""
    try:
        account = await _account_for_payer(engine, payment, channel)
    except InvalidInput:
        return None
    if Capability.PAYER_IDENTITY not in account.channel.manifest.capabilities:
        return None
    identity: PayerIdentity = account.channel  # type: ignore[assignment]  # the manifest promises it
    back = f"{engine.public_url}{_address(payment)}/payer/{quote(channel)}"
    return identity.authorization_url(redirect_url=back, state=payment.payment_id)


async def _attempt(
    engine: Engine,
    payment: Payment,
    channel: str,
    product: Product,
    request: AnyRequest,
    *,
    payer: str | None = None,
    account_id: str | None = None,
) -> Response[str]:
    method = Method(
        channel=channel,
        product=product,
        payer=payer,
        account_id=account_id,
        client_ip=request.client.host if request.client else None,
        return_url=f"{engine.public_url}{_address(payment)}/return",
    )
    scope = Scope(merchant_id=payment.merchant_id, live=payment.live)
    address = _address(payment)
    try:
        tried = await attempt(engine, scope, payment.payment_id, method)
    except InvalidInput as error:
        log.info("cashier_refused", payment_id=payment.payment_id, code=error.code)
        return _see(f"{address}?failed={error.code if error.code in FAILURES else 'failed'}")
    if tried.state in FAILED:
        return _see(address)
    leaves = tried.action is not None and tried.action["type"] == "redirect"
    return _see(f"{address}?leave=1" if leaves else address)


@get(BASE + "/return", include_in_schema=False)
async def returned(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
) -> Response[str]:
    """The wallet sends its customer back. That proves nothing: ask the channel."""
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return _html(render_missing(_language(request)), None, status=404)
    for one in await attempts_of(engine, payment):
        if one.state in UNSETTLED:
            await ask(engine, one)
    return _see(_address(payment))


@get(BASE + "/state", include_in_schema=False)
async def state(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    engine: TheEngine,
) -> Response[dict[str, str]]:
    """The version of the page, for browsers without server-sent events."""
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return Response({"version": ""}, status_code=404)
    version = version_of(payment, await attempts_of(engine, payment))
    return Response({"version": version}, headers={"cache-control": "no-store"})


@get(BASE + "/events", include_in_schema=False)
async def events(
    merchant_id: FromPath[str],
    payment_id: FromPath[str],
    token: FromPath[str],
    request: AnyRequest,
    engine: TheEngine,
) -> Response[Any]:
    """The version of the page, now and as it changes."""
    try:
        payment = await _find(engine, merchant_id, payment_id, token)
    except _NoSuchOrder:
        return Response(b"", status_code=404)
    version = version_of(payment, await attempts_of(engine, payment))
    watchers = doors_of(request).watchers

    async def stream() -> AsyncIterator[ServerSentEventMessage]:
        yield ServerSentEventMessage(event="version", data=version)
        with watchers.watch(payment, version) as watch:
            pings = 0
            while pings < PINGS_AT_MOST and not watch.over:
                if await watch.changes(PING_SECONDS):
                    yield ServerSentEventMessage(event="version", data=watch.version)
                else:
                    pings += 1
                    yield ServerSentEventMessage(data=None, comment="")

    return ServerSentEvent(stream(), headers={"cache-control": "no-store"})


@get("/cashier/static/{name:str}", include_in_schema=False)
async def static(name: FromPath[str]) -> Response[bytes]:
    """Style and script; their names change with their content."""
    asset = assets().get(name)
    if asset is None:
        return Response(b"", status_code=404)
    return Response(
        asset.body,
        headers={
            "content-type": asset.content_type,
            "cache-control": "public, max-age=31536000, immutable",
            "x-content-type-options": "nosniff",
        },
    )


@get("/favicon.ico", include_in_schema=False)
async def icon() -> Response[bytes]:
    """Browsers ask for it unasked."""
    return Response(
        ICON, headers={"content-type": "image/svg+xml", "cache-control": "public, max-age=86400"}
    )


def _html(text: str, view: View | None, *, status: int = 200) -> Response[str]:
    return Response(
        text,
        status_code=status,
        media_type=MediaType.HTML,
        headers={
            "content-security-policy": content_security_policy(view),
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        },
    )


def _see(url: str) -> Response[str]:
    parts = urlsplit(url)
    assert not parts.scheme or parts.scheme in ("http", "https")  # noqa: S101 - ours, or a channel's
    return Response("", status_code=303, headers={"location": url, "cache-control": "no-store"})


cashier = Router("/", route_handlers=[page, pay, payer, returned, state, events, static, icon])
