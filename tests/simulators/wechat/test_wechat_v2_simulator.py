"""The simulated API v2 and Qiao's channel for it, written apart, understand each other over TLS."""

import asyncio
from datetime import datetime
from functools import partial
from typing import cast

import aiohttp
import pytest
from yarl import URL

from qiao.channels.interface import PayerIdentity, PaymentNotification, RefundNotification
from qiao.channels.requests import (
    Context,
    Product,
    StatementRequest,
)
from qiao.channels.wechat import WechatV2Channel
from qiao.domain.errors import NotificationRejected
from qiao.domain.outcomes import (
    ClientParameters,
    Closed,
    Declined,
    NotFound,
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
from qiao.simulators.wechat.book import CHINA, OPENID
from qiao.transport.asynchronous import AsyncTransport
from tests.simulators.wechat.v2_shop import (
    SIGN_TYPES,
    OpenV2,
    Order,
    Shop,
    about,
    approve,
    asked,
    back,
    new_code,
    settled,
)


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
    simulator: Simulator,
    order: Order,
    context: Context,
) -> None:
    simulator.clock.scale = 0.01  # the customer takes longer than any test
    request = order("pay_000001", 40004, product=Product.CODE, auth_code=await new_code(http))
    assert isinstance(await transport.run(v2.create(request, context)), Pending)
    assert isinstance(await transport.run(v2.reverse(asked(request), context)), Unknown)
    assert await approve(http, "pay_000001") == 200
    assert isinstance(await transport.run(v2.query(asked(request), context)), Succeeded)
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
