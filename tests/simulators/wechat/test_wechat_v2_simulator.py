"""The simulated API v2 and Qiao's channel for it, written apart, understand each other over TLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from qiao.channels.interface import PayerIdentity, PaymentNotification, RefundNotification
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    StatementRequest,
)
from qiao.channels.wechat import WechatV2Channel, channel_type
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse, Operation
from qiao.domain.errors import NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AwaitCustomer,
    ClientParameters,
    Closed,
    Declined,
    NotFound,
    NotSent,
    Pending,
    QrCode,
    Redirect,
    Refunded,
    RefundPending,
    RefundRefused,
    Succeeded,
    Unknown,
)
from qiao.simulators.kit.faults import Fault, FaultKind
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.authority import Authority, pem
from qiao.simulators.wechat.book import CHINA, OPENID
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.blocking import BlockingTransport

Order = Callable[..., PaymentRequest]
OpenV2 = Callable[..., WechatV2Channel]
SIGN_TYPES = ["MD5", "HMAC-SHA256"]


class Shop:
    """Where notifications arrive; answered as the channel says, or refused."""

    def __init__(self, channel: WechatV2Channel) -> None:
        self.channel, self.accepting, self.url = channel, True, ""
        self.messages: list[HttpMessage] = []

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.messages.append(HttpMessage(method="POST", target="/", headers=headers, body=body))
        reply = self.channel.acknowledge(accepted=self.accepting)
        return web.Response(status=reply.status, body=reply.body)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
def open_v2(simulator: Simulator) -> OpenV2:
    def open_v2(name: str = "ordinary", **more: object) -> WechatV2Channel:
        given = simulator.credentials.v2_settings(
            name, base_url=simulator.base_url, secure_url=simulator.secure_url
        )
        channel = channel_type.open(channel_type.settings.read({**given, **more}))
        assert isinstance(channel, WechatV2Channel)
        return channel

    return open_v2


@pytest.fixture
def v2(open_v2: OpenV2) -> WechatV2Channel:
    return open_v2()


@pytest_asyncio.fixture
async def shop(v2: WechatV2Channel) -> AsyncIterator[Shop]:
    shop = Shop(v2)
    application = web.Application()
    application.router.add_post("/", shop.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield shop
    await runner.cleanup()


def asked(request: PaymentRequest) -> PaymentQuery:
    return PaymentQuery(reference=request.reference, amount=request.amount)


def back(request: PaymentRequest, number: str, minor: int, url: str | None = None) -> RefundRequest:
    return RefundRequest(
        reference=number,
        payment_reference=request.reference,
        payment_amount=request.amount,
        amount=Money(minor, "CNY"),
        notify_url=url,
        reason="售罄",
    )


def about(refund: RefundRequest) -> RefundQuery:
    return RefundQuery(
        reference=refund.reference,
        payment_reference=refund.payment_reference,
        amount=refund.amount,
    )


async def approve(http: aiohttp.ClientSession, reference: str) -> int:
    async with http.post(f"/_control/payments/{reference}/approve") as answer:
        return answer.status


async def new_code(http: aiohttp.ClientSession) -> str:
    async with http.post("/_control/auth_codes") as answer:
        code: str = (await answer.json())["auth_code"]
        return code


async def settled(transport: AsyncTransport, ask: Callable[[], Operation[Any]]) -> Any:
    """What it comes to when it is no longer pending."""
    async with asyncio.timeout(10):
        found: Any = Pending(action=AwaitCustomer())
        while isinstance(found, Pending | RefundPending):
            found = await transport.run(ask())
    return found


@pytest.mark.parametrize("sign_type", SIGN_TYPES)
@pytest.mark.parametrize("merchant", ["ordinary", "provider"])
async def test_qr_from_order_to_bill(
    merchant: str,
    sign_type: str,
    open_v2: OpenV2,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    channel = open_v2(merchant, sign_type=sign_type)
    request = order("pay_000001", notify_url=shop.url, description="茶 <&> \r\n]]>")
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, QrCode)
    assert isinstance(await transport.run(channel.query(asked(request), context)), Pending)
    async with http.post(f"{made.action.content}/approve") as page:
        assert "支付成功" in await page.text()
    paid = await transport.run(channel.query(asked(request), context))
    assert isinstance(paid, Succeeded)
    assert (paid.amount, paid.payer) == (request.amount, OPENID)
    await shop.until(1)
    told = channel.authenticate(shop.messages[0], context)
    assert isinstance(told, PaymentNotification)
    assert (told.reference, told.outcome) == (request.reference, paid)

    refund = back(request, "ref_000001", 250, shop.url)
    given = await transport.run(channel.refund(refund, context))
    assert isinstance(given, RefundPending)
    assert await transport.run(channel.refund(refund, context)) == given
    done = await transport.run(channel.query_refund(about(refund), context))
    assert isinstance(done, Refunded)
    assert (done.amount, done.channel_reference) == (refund.amount, given.channel_reference)
    for number, minor in (("ref_000002", 1001), ("ref_000003", 1251)):
        refused = await transport.run(channel.refund(back(request, number, minor), context))
        assert isinstance(refused, RefundRefused)
    await shop.until(2)
    refunded = channel.authenticate(shop.messages[1], context)
    assert isinstance(refunded, RefundNotification)
    assert (refunded.reference, refunded.outcome) == (refund.reference, done)
    assert isinstance(await transport.run(channel.query(asked(request), context)), Succeeded)

    day = StatementRequest(day=datetime.now(CHINA).date())
    bill = await transport.run(channel.download_statement(day, context))
    assert isinstance(bill, bytes)
    entries = channel.parse_statement(bill)
    assert [(one.kind, one.amount.minor, one.refund_reference) for one in entries] == [
        ("payment", 1250, None),
        ("refund", 250, "ref_000001"),
    ]
    long_ago = StatementRequest(day=datetime(2020, 1, 1, tzinfo=CHINA).date())
    assert await transport.run(channel.download_statement(long_ago, context)) is None


async def test_an_account_of_the_other_algorithm_believes_nothing(
    open_v2: OpenV2,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    channels = {name: open_v2(sign_type=name) for name in SIGN_TYPES}
    for count, (mine, other) in enumerate(zip(SIGN_TYPES, reversed(SIGN_TYPES), strict=True), 1):
        request = order(f"pay_00000{count}", notify_url=shop.url)
        await transport.run(channels[mine].create(request, context))
        assert await approve(http, request.reference) == 200
        await shop.until(count)
        message = shop.messages[-1]
        assert isinstance(channels[mine].authenticate(message, context), PaymentNotification)
        with pytest.raises(NotificationRejected, match=other):
            channels[other].authenticate(message, context)


@pytest.mark.parametrize(
    ("minor", "outcome", "code", "truth"),
    [
        (1250, Succeeded, None, Succeeded),
        (40001, Declined, "insufficient_funds", Declined),
        (40002, Declined, "declined", Declined),
        (40003, Declined, "invalid_auth_code", Declined),
        (40004, Pending, None, Succeeded),
        (40005, Pending, None, Closed),
        (50001, Unknown, None, Succeeded),
        (50002, Unknown, None, NotFound),
        (50003, Unknown, None, Succeeded),
        (50004, Unknown, None, NotFound),
        (50005, Unknown, None, Succeeded),
    ],
)
async def test_code_by_amount(
    minor: int,
    outcome: type,
    code: str | None,
    truth: type,
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", minor, product=Product.CODE, auth_code=await new_code(http))
    made = await transport.run(v2.create(request, context))
    assert isinstance(made, outcome)
    assert getattr(made, "code", None) == code
    found = await settled(transport, lambda: v2.query(asked(request), context))
    assert isinstance(found, truth)


async def test_a_code_payment_can_be_taken_back(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    simulator: Simulator,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", product=Product.CODE, auth_code=await new_code(http))
    assert isinstance(await transport.run(v2.create(request, context)), Succeeded)
    simulator.faults.add(Fault(kind=FaultKind.SYSTEM_ERROR, operation="reverse"))
    again = await transport.run(v2.reverse(asked(request), context))
    assert isinstance(again, Unknown)
    assert "again" in again.reason
    for _ in range(2):
        assert await transport.run(v2.reverse(asked(request), context)) == Closed()
    assert isinstance(await transport.run(v2.query(asked(request), context)), Closed)
    unknown = asked(order("pay_000002"))
    assert await transport.run(v2.reverse(unknown, context)) == NotFound()


async def test_what_waits_for_a_password_is_not_taken_back_yet(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", 40004, product=Product.CODE, auth_code=await new_code(http))
    assert isinstance(await transport.run(v2.create(request, context)), Pending)
    assert isinstance(await transport.run(v2.reverse(asked(request), context)), Unknown)
    await settled(transport, lambda: v2.query(asked(request), context))
    assert await transport.run(v2.reverse(asked(request), context)) == Closed()


async def test_h5_goes_to_the_wallet_and_back(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    target = "https://shop.example/back?a=1&b=2"
    request = order("pay_000001", product=Product.H5, return_url=target)
    made = await transport.run(v2.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, Redirect)
    async with http.get(made.action.url) as page:
        assert "确认付款" in await page.text()
        assert page.url.query["redirect_url"] == target


@pytest.mark.parametrize("sign_type", SIGN_TYPES)
@pytest.mark.parametrize(
    ("product", "page", "signed"),
    [
        (Product.OFFICIAL_ACCOUNT, "/wallet/jsapi", "package"),
        (Product.MINI_PROGRAM, "/wallet/jsapi", "nonceStr"),
        (Product.APP, "/wallet/app", "noncestr"),
    ],
)
async def test_the_wallet_verifies_what_it_is_handed(
    product: Product,
    page: str,
    signed: str,
    sign_type: str,
    open_v2: OpenV2,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    channel = open_v2(sign_type=sign_type)
    request = order("pay_000001", product=product, payer=OPENID)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, ClientParameters)
    parameters = dict(made.action.parameters)
    async with http.post(page, data=parameters) as answer:
        assert "确认付款" in await answer.text()
    async with http.post(page, data={**parameters, signed: parameters[signed] + "x"}) as answer:
        assert answer.status == 400
    for _ in range(2):
        assert isinstance(await transport.run(channel.close(asked(request), context)), Closed)
    assert await approve(http, "pay_000001") == 409


async def test_money_may_come_after_closing_and_paid_is_not_closed(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", 50008, notify_url=shop.url)
    await transport.run(v2.create(request, context))
    assert await transport.run(v2.close(asked(request), context)) == Closed()
    await shop.until(1)
    told = v2.authenticate(shop.messages[0], context)
    assert isinstance(told, PaymentNotification)
    assert isinstance(told.outcome, Succeeded)
    paid = order("pay_000002")
    await transport.run(v2.create(paid, context))
    assert await approve(http, "pay_000002") == 200
    assert isinstance(await transport.run(v2.close(asked(paid), context)), Succeeded)


async def test_refunds_by_amount(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    expected = {60001: RefundPending, 60002: RefundRefused, 60003: Unknown}
    for minor, outcome in expected.items():
        request = order(
            f"pay_{minor}0", minor, product=Product.CODE, auth_code=await new_code(http)
        )
        assert isinstance(await transport.run(v2.create(request, context)), Succeeded)
        refund = back(request, f"ref_{minor}0", 100)
        assert isinstance(await transport.run(v2.refund(refund, context)), outcome)
        ask = partial(v2.query_refund, about(refund), context)
        found = await settled(transport, ask)
        assert isinstance(found, NotFound if outcome is RefundRefused else Refunded)


async def test_notifications_are_repeated_until_accepted(
    v2: WechatV2Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    simulator: Simulator,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    shop.accepting = False
    for _ in range(2):
        simulator.faults.add(Fault(kind=FaultKind.BAD_NOTIFICATION_SIGNATURE))
    request = order("pay_000001", notify_url=shop.url)
    await transport.run(v2.create(request, context))
    assert await approve(http, "pay_000001") == 200
    await shop.until(2)
    shop.accepting = True
    with pytest.raises(NotificationRejected):
        v2.authenticate(shop.messages[0], context)
    told = v2.authenticate(shop.messages[1], context)
    assert isinstance(told, PaymentNotification)
    async with asyncio.timeout(10):
        while not simulator.notifier.deliveries[0].accepted:
            await asyncio.sleep(0.01)
    sent = len(shop.messages)
    await transport.run(v2.refund(back(request, "ref_000001", 100, shop.url), context))
    await shop.until(sent + 1)
    with pytest.raises(NotificationRejected, match="decrypt"):
        v2.authenticate(shop.messages[-1], context)


async def test_payer_identity(
    v2: WechatV2Channel, transport: AsyncTransport, http: aiohttp.ClientSession, context: Context
) -> None:
    identity = cast("PayerIdentity", v2)
    url = identity.authorization_url(redirect_url="https://shop.example/back", state="s-1")
    async with http.get(url, allow_redirects=False) as answer:
        code = URL(answer.headers["location"]).query["code"]
    assert await transport.run(identity.identify(code, context)) == OPENID
    assert await transport.run(identity.identify(code, context)) is None


# What is refused, and how.


async def post(http: aiohttp.ClientSession, path: str, body: bytes) -> tuple[int, str]:
    async with http.post(path, data=body) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "post数据为空"),
        (b"<xml><appid>", "XML格式错误"),
        (b"<html/>", "XML格式错误"),
        (b"<!DOCTYPE x><xml><appid>wx1</appid></xml>", "XML格式错误"),
        (
            b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><appid>&f;</appid></xml>',
            "XML格式错误",
        ),
        (b"<xml><appid>wx1</appid><appid>wx2</appid></xml>", "XML格式错误"),
        (b"<xml><appid>wx1</appid></xml>", "缺少参数mch_id"),
        (
            b"<xml><appid>wx1</appid><mch_id>1</mch_id><nonce_str>n</nonce_str><sign>s</sign></xml>",
            "商户号mch_id或sub_mch_id不存在",
        ),
        (
            b"<xml><appid>wx1</appid><mch_id>1900000001</mch_id><nonce_str>n</nonce_str>"
            b"<sign>s</sign></xml>",
            "签名错误",
        ),
    ],
)
async def test_what_is_not_heard(http: aiohttp.ClientSession, body: bytes, message: str) -> None:
    status, text = await post(http, "/pay/orderquery", body)
    assert status == 200
    assert "<return_code><![CDATA[FAIL]]></return_code>" in text
    assert f"<![CDATA[{message}]]>" in text
    assert "<sign>" not in text


async def test_a_wrong_key_and_wrong_parameters_are_declined(
    open_v2: OpenV2, transport: AsyncTransport, order: Order, context: Context
) -> None:
    made = await transport.run(open_v2(api_key="0" * 32).create(order("pay_000001"), context))
    assert made == Declined(
        code="account_misconfigured", channel_code="SIGNERROR", channel_message="签名错误"
    )
    made = await transport.run(open_v2(appid="wx9").create(order("pay_000001"), context))
    assert isinstance(made, Declined)
    assert made.channel_code == "APPIDMCHIDNOTMATCH"
    asked_about = await transport.run(
        open_v2(api_key="0" * 32).query(asked(order("pay_000001")), context)
    )
    assert isinstance(asked_about, Unknown)


async def test_a_number_is_good_for_one_order(
    v2: WechatV2Channel,
    open_v2: OpenV2,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    first = await transport.run(v2.create(order("pay_000001"), context))
    assert await transport.run(v2.create(order("pay_000001"), context)) == first
    other = await transport.run(v2.create(order("pay_000001", 999), context))
    assert isinstance(other, Unknown)  # there is an order of that number, and it is another
    assert await approve(http, "pay_000001") == 200
    paid = await transport.run(v2.create(order("pay_000001"), context))
    assert isinstance(paid, Succeeded)
    found = await transport.run(open_v2("second").query(asked(order("pay_000001")), context))
    assert found == NotFound()


async def test_a_v2_order_is_in_the_same_book(
    v2: WechatV2Channel,
    simulator: Simulator,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    settings = simulator.credentials.settings("ordinary", base_url=simulator.base_url)
    v3 = channel_type.open(channel_type.settings.read(settings))
    await transport.run(v2.create(order("pay_000001"), context))
    assert await approve(http, "pay_000001") == 200
    found = await transport.run(v3.query(asked(order("pay_000001")), context))
    assert found == await transport.run(v2.query(asked(order("pay_000001")), context))
    assert isinstance(found, Succeeded)


# Mutual TLS


def lifted(request: HttpRequest) -> Operation[HttpResponse]:
    return (yield request)


async def test_secapi_wants_the_merchants_own_certificate(
    v2: WechatV2Channel,
    open_v2: OpenV2,
    simulator: Simulator,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", product=Product.CODE, auth_code=await new_code(http))
    await transport.run(v2.create(request, context))
    refund = back(request, "ref_000001", 100)
    signed = next(v2.refund(refund, context))
    bare = HttpRequest(
        method="POST", url=signed.url, body=signed.body, trusted_ca=signed.trusted_ca
    )
    answer = await transport.run(lifted(bare))
    assert isinstance(answer, HttpResponse)
    assert (answer.status, b"No required SSL certificate was sent" in answer.body) == (400, True)
    status, text = await post(http, "/secapi/pay/refund", signed.body)  # without any TLS
    assert (status, "No required SSL certificate" in text) == (400, True)

    other = simulator.credentials.merchants["second"]
    thief = open_v2(certificate=other.certificate, private_key=other.private_key)
    refused = await transport.run(thief.refund(refund, context))
    assert isinstance(refused, RefundRefused)
    assert refused.channel_code == "CERTERROR"
    assert isinstance(await transport.run(v2.query_refund(about(refund), context)), NotFound)


async def test_an_unknown_ca_is_not_trusted_and_nothing_is_sent(
    open_v2: OpenV2, transport: AsyncTransport, order: Order, context: Context
) -> None:
    stranger = Authority(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    for trusted in (None, pem(stranger.certificate)):
        channel = open_v2(gateway_ca=trusted)
        made = await transport.run(channel.create(order("pay_000001"), context))
        assert isinstance(made, NotSent)


async def test_the_blocking_driver_shows_the_certificate_too(
    v2: WechatV2Channel, http: aiohttp.ClientSession, order: Order, context: Context
) -> None:
    request = order("pay_000001", product=Product.CODE, auth_code=await new_code(http))

    def work() -> None:
        with BlockingTransport() as transport:
            assert isinstance(transport.run(v2.create(request, context)), Succeeded)
            refund = back(request, "ref_000001", 100)
            assert isinstance(transport.run(v2.refund(refund, context)), RefundPending)

    await asyncio.to_thread(work)
