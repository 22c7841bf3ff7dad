"""The simulated WeChat Pay and Qiao's channel, written apart, understand each other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from qiao.channels.interface import (
    Channel,
    CodeReversal,
    PayerIdentity,
    PaymentNotification,
    RefundNotification,
    Statements,
    Transfers,
)
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    StatementRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.wechat import WechatChannel, WechatSettings
from qiao.channels.wire import HttpMessage
from qiao.domain.errors import NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AwaitCustomer,
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
    TransferPending,
    Transferred,
    TransferRefused,
    Unknown,
)
from qiao.simulators.kit.faults import Fault, FaultKind
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import CHINA, OPENID
from qiao.transport.asynchronous import AsyncTransport

Order = Callable[..., PaymentRequest]
MERCHANTS = ["ordinary", "certificate", "provider"]


class Shop:
    """Where notifications arrive."""

    def __init__(self) -> None:
        self.messages: list[HttpMessage] = []
        self.status = 204
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.messages.append(
            HttpMessage(method="POST", target="/", headers=headers, body=await request.read())
        )
        return web.Response(status=self.status)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < count:
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
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
    )


async def approve(http: aiohttp.ClientSession, reference: str) -> int:
    async with http.post(f"/_control/payments/{reference}/approve") as answer:
        return answer.status


async def new_code(http: aiohttp.ClientSession) -> str:
    async with http.post("/_control/auth_codes") as answer:
        code: str = (await answer.json())["auth_code"]
        return code


@pytest.mark.parametrize("merchant", MERCHANTS)
async def test_qr_from_order_to_bill(
    merchant: str,
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    channel = open_channel(merchant)
    request = order(f"pay_{merchant}", notify_url=shop.url)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, QrCode)
    waiting = await transport.run(channel.query(asked(request), context))
    assert isinstance(waiting, Pending)
    async with http.get(made.action.content) as page:
        assert "¥</small>12.50" in await page.text()
    async with http.post("/_control/platform_keys/rotate"):
        pass  # the answers below are signed by the next of several keys
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
    assert isinstance(given, Refunded)
    assert await transport.run(channel.refund(refund, context)) == given
    question = RefundQuery(
        reference=refund.reference, payment_reference=request.reference, amount=refund.amount
    )
    assert await transport.run(channel.query_refund(question, context)) == given
    refused = await transport.run(channel.refund(back(request, "ref_000002", 1001), context))
    assert isinstance(refused, RefundRefused)
    await shop.until(2)
    refunded = channel.authenticate(shop.messages[1], context)
    assert isinstance(refunded, RefundNotification)
    assert (refunded.reference, refunded.outcome) == (refund.reference, given)
    still = await transport.run(channel.query(asked(request), context))
    assert isinstance(still, Succeeded)

    statements = cast("Statements", channel)
    day = StatementRequest(day=datetime.now(CHINA).date())
    bill = await transport.run(statements.download_statement(day, context))
    assert isinstance(bill, bytes)
    entries = statements.parse_statement(bill)
    assert [(one.kind, one.amount.minor, one.refund_reference) for one in entries] == [
        ("payment", 1250, None),
        ("refund", 250, "ref_000001"),
    ]
    assert [one.fee_minor for one in entries] == [8, -2]
    assert entries[0].channel_reference == paid.channel_reference
    flow = await transport.run(cast("WechatChannel", channel).download_fund_flow(day, context))
    assert isinstance(flow, bytes)
    assert "资金流水总笔数".encode() in flow


@pytest.mark.parametrize(
    ("minor", "outcome", "code"),
    [
        (1250, Succeeded, None),
        (40001, Declined, "insufficient_funds"),
        (40002, Declined, "account_restricted"),
        (40003, Declined, "invalid_auth_code"),
        (40004, Pending, None),
        (50001, Unknown, None),
        (50002, Unknown, None),
        (50003, Unknown, None),
        (50004, Unknown, None),
        (50005, Unknown, None),
    ],
)
async def test_code_by_amount(
    minor: int,
    outcome: type,
    code: str | None,
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", minor, product=Product.CODE, auth_code=await new_code(http))
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, outcome)
    if isinstance(made, Declined):
        assert made.code == code
    truth = {50002: NotFound, 50004: NotFound, 50001: Succeeded, 50003: Succeeded, 50005: Succeeded}
    if minor in truth:
        found = await transport.run(channel.query(asked(request), context))
        assert isinstance(found, truth[minor])


async def test_a_password_and_then_paid_or_not(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    for minor, end in ((40004, Succeeded), (40005, Closed)):
        request = order(
            f"pay_{minor}0", minor, product=Product.CODE, auth_code=await new_code(http)
        )
        made = await transport.run(channel.create(request, context))
        assert made == Pending(action=AwaitCustomer())
        async with asyncio.timeout(10):
            found: Any = made
            while isinstance(found, Pending):
                found = await transport.run(channel.query(asked(request), context))
        assert isinstance(found, end)


async def test_a_code_payment_can_be_taken_back(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", product=Product.CODE, auth_code=await new_code(http))
    assert isinstance(await transport.run(channel.create(request, context)), Succeeded)
    reversal = cast("CodeReversal", channel)
    assert await transport.run(reversal.reverse(asked(request), context)) == Closed()
    assert isinstance(await transport.run(channel.query(asked(request), context)), Closed)
    unknown = asked(order("pay_000002"))
    assert await transport.run(reversal.reverse(unknown, context)) == NotFound()


async def test_h5_goes_to_the_wallet_and_back(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    target = "https://shop.example/back?a=1&b=2"
    request = order("pay_000001", product=Product.H5, return_url=target)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, Redirect)
    async with http.get(made.action.url) as page:
        assert "确认付款" in await page.text()
        wallet = page.url
    approval = wallet.with_path(f"{wallet.path}/approve").with_query(wallet.query)
    async with http.post(approval, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["location"]) == (302, target)


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
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", product=product, payer=OPENID)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, ClientParameters)
    parameters = dict(made.action.parameters)
    async with http.post(page, data=parameters) as answer:
        assert "确认付款" in await answer.text()
    async with http.post(page, data={**parameters, signed: parameters[signed] + "x"}) as answer:
        assert answer.status == 400
    assert await transport.run(channel.close(asked(request), context)) == Closed()
    assert await approve(http, "pay_000001") == 409


async def test_money_may_come_after_closing(
    channel: Channel,
    transport: AsyncTransport,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", 50008, notify_url=shop.url)
    await transport.run(channel.create(request, context))
    assert await transport.run(channel.close(asked(request), context)) == Closed()
    await shop.until(1)
    told = channel.authenticate(shop.messages[0], context)
    assert isinstance(told, PaymentNotification)
    assert isinstance(told.outcome, Succeeded)


async def test_refunds_by_amount(
    channel: Channel,
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
        assert isinstance(await transport.run(channel.create(request, context)), Succeeded)
        refund = back(request, f"ref_{minor}0", 100)
        assert isinstance(await transport.run(channel.refund(refund, context)), outcome)
        question = RefundQuery(
            reference=refund.reference, payment_reference=request.reference, amount=refund.amount
        )
        if outcome is not RefundRefused:
            async with asyncio.timeout(10):
                found: Any = RefundPending()
                while isinstance(found, RefundPending):
                    found = await transport.run(channel.query_refund(question, context))
            assert isinstance(found, Refunded)


async def test_notifications_are_repeated_until_accepted(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    simulator: Simulator,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    shop.status = 500
    simulator.faults.add(Fault(kind=FaultKind.BAD_NOTIFICATION_SIGNATURE))
    request = order("pay_000001", notify_url=shop.url)
    await transport.run(channel.create(request, context))
    assert await approve(http, "pay_000001") == 200
    await shop.until(1)
    assert shop.messages[0].headers["wechatpay-signature"].startswith("WECHATPAY/SIGNTEST/")
    with pytest.raises(NotificationRejected):
        channel.authenticate(shop.messages[0], context)
    await shop.until(2)
    shop.status = 204
    told = channel.authenticate(shop.messages[1], context)
    assert isinstance(told, PaymentNotification)


async def test_payer_identity(
    channel: Channel, transport: AsyncTransport, http: aiohttp.ClientSession, context: Context
) -> None:
    identity = cast("PayerIdentity", channel)
    url = identity.authorization_url(redirect_url="https://shop.example/back", state="s-1")
    async with http.get(url, allow_redirects=False) as answer:
        query = dict(URL(answer.headers["location"]).query)
    assert query["state"] == "s-1"
    assert await transport.run(identity.identify(query["code"], context)) == OPENID
    assert await transport.run(identity.identify(query["code"], context)) is None


async def test_transfers(
    channel: Channel,
    transport: AsyncTransport,
    context: Context,
) -> None:
    transfers = cast("Transfers", channel)
    request = TransferRequest(
        reference="out0001",
        amount=Money(500, "CNY"),
        payee=OPENID,
        payee_name="张三",
        description="thanks",
    )
    sent = await transport.run(transfers.transfer(request, context))
    assert isinstance(sent, TransferPending)
    assert isinstance(sent.action, ClientParameters)
    question = TransferQuery(reference="out0001", amount=request.amount)
    async with asyncio.timeout(10):
        found: Any = sent
        while isinstance(found, TransferPending):
            found = await transport.run(transfers.query_transfer(question, context))
    assert isinstance(found, Transferred)
    unknown = TransferQuery(reference="out0002", amount=request.amount)
    assert await transport.run(transfers.query_transfer(unknown, context)) == NotFound()
    poor = TransferRequest(
        reference="out0003", amount=Money(40001, "CNY"), payee=OPENID, description="x"
    )
    assert isinstance(await transport.run(transfers.transfer(poor, context)), TransferRefused)


async def test_platform_certificates_can_be_fetched(
    simulator: Simulator, transport: AsyncTransport, context: Context
) -> None:
    settings = simulator.credentials.settings("certificate", base_url=simulator.base_url)
    channel = WechatChannel(WechatSettings.read(settings))
    found = await transport.run(channel.download_certificates(context))
    assert found == settings["platform_keys"]


async def test_the_second_merchant_sees_nothing_of_the_first(
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_000001", product=Product.CODE, auth_code=await new_code(http))
    await transport.run(open_channel("ordinary").create(request, context))
    found = await transport.run(open_channel("second").query(asked(request), context))
    assert found == NotFound()


async def test_wrong_keys_are_refused_as_such(
    simulator: Simulator, transport: AsyncTransport, order: Order, context: Context
) -> None:
    settings = simulator.credentials.settings("ordinary", base_url=simulator.base_url)
    stranger = simulator.credentials.merchants["second"].private_key
    channel = WechatChannel(WechatSettings.read({**settings, "private_key": stranger}))
    made = await transport.run(channel.create(order("pay_000001"), context))
    assert isinstance(made, Declined)
    assert (made.code, made.channel_code) == ("account_misconfigured", "SIGNERROR")


async def test_pages(http: aiohttp.ClientSession) -> None:
    async with http.get("/wallet/scenarios") as page:
        assert "¥400.01" in await page.text()
    async with http.get("/wallet/code") as page:
        assert 'id="code">13' in await page.text()
    async with http.get("/wallet/nothing") as page:
        assert page.status == 404
