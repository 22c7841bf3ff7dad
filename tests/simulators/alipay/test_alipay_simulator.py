"""The simulated Alipay and Qiao's channel, written apart, understand each other."""

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
    OtherNotification,
    PayerIdentity,
    PaymentNotification,
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
    Transferred,
    TransferRefused,
    Unknown,
)
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.codec import CHINA
from qiao.simulators.kit.faults import Fault, FaultKind
from qiao.transport.asynchronous import AsyncTransport

Order = Callable[..., PaymentRequest]
APPS = ["ordinary", "certificate", "encrypted", "sha1", "provider"]


class Shop:
    """Where notifications arrive."""

    def __init__(self) -> None:
        self.messages: list[HttpMessage] = []
        self.answer = b"success"
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.messages.append(
            HttpMessage(method="POST", target="/", headers=headers, body=await request.read())
        )
        return web.Response(body=self.answer)

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


def back(request: PaymentRequest, number: str, minor: int) -> RefundRequest:
    return RefundRequest(
        reference=number,
        payment_reference=request.reference,
        payment_amount=request.amount,
        amount=Money(minor, "CNY"),
    )


async def approve(http: aiohttp.ClientSession, reference: str) -> int:
    async with http.post(f"/_control/payments/{reference}/approve") as answer:
        return answer.status


async def new_code(http: aiohttp.ClientSession) -> str:
    async with http.post("/_control/auth_codes") as answer:
        code: str = (await answer.json())["auth_code"]
        return code


@pytest.mark.parametrize("app", APPS)
async def test_qr_from_order_to_bill(
    app: str,
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    channel = open_channel(app)
    request = order(f"pay_{app}", notify_url=shop.url)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, QrCode)
    assert await transport.run(channel.query(asked(request), context)) == NotFound()
    async with http.get(made.action.content) as page:
        assert "¥</small>12.50" in await page.text()
    waiting = await transport.run(channel.query(asked(request), context))
    assert isinstance(waiting, Pending)
    async with http.post(f"{made.action.content}/approve") as page:
        assert "支付成功" in await page.text()
    paid = await transport.run(channel.query(asked(request), context))
    assert isinstance(paid, Succeeded)
    assert paid.amount == request.amount
    await shop.until(1)
    told = channel.authenticate(shop.messages[0], context)
    assert isinstance(told, PaymentNotification)
    assert (told.reference, told.outcome) == (request.reference, paid)

    refund = back(request, "ref_1", 250)
    given = await transport.run(channel.refund(refund, context))
    assert isinstance(given, Refunded)
    again = await transport.run(channel.refund(refund, context))
    assert again == given
    question = RefundQuery(
        reference="ref_1", payment_reference=request.reference, amount=refund.amount
    )
    assert await transport.run(channel.query_refund(question, context)) == given
    refused = await transport.run(channel.refund(back(request, "ref_2", 1001), context))
    assert isinstance(refused, RefundRefused)
    await shop.until(2)
    assert isinstance(channel.authenticate(shop.messages[1], context), PaymentNotification)
    await transport.run(channel.refund(back(request, "ref_3", 1000), context))
    await shop.until(3)
    assert isinstance(channel.authenticate(shop.messages[2], context), OtherNotification)

    statements = cast("Statements", channel)
    day = StatementRequest(day=datetime.now(CHINA).date())
    bill = await transport.run(statements.download_statement(day, context))
    assert isinstance(bill, bytes)
    entries = statements.parse_statement(bill)
    mine = [one for one in entries if one.reference == request.reference]
    assert [(one.kind, one.amount.minor, one.refund_reference) for one in mine] == [
        ("payment", 1250, None),
        ("refund", 250, "ref_1"),
        ("refund", 1000, "ref_3"),
    ]
    assert mine[0].fee_minor == 7
    assert mine[0].channel_reference == paid.channel_reference


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
    request = order("pay_1", minor, product=Product.CODE, auth_code=await new_code(http))
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
        request = order(f"pay_{minor}", minor, product=Product.CODE, auth_code=await new_code(http))
        made = await transport.run(channel.create(request, context))
        assert isinstance(made, Pending)
        assert made.action == AwaitCustomer()
        async with asyncio.timeout(10):
            found: Any = made
            while isinstance(found, Pending):
                found = await transport.run(channel.query(asked(request), context))
        assert isinstance(found, end)


async def test_a_code_is_good_once_and_can_be_taken_back(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    code = await new_code(http)
    request = order("pay_1", product=Product.CODE, auth_code=code)
    assert isinstance(await transport.run(channel.create(request, context)), Succeeded)
    second = order("pay_2", product=Product.CODE, auth_code=code)
    refused = await transport.run(channel.create(second, context))
    assert isinstance(refused, Declined)
    reversal = cast("CodeReversal", channel)
    assert isinstance(await transport.run(reversal.reverse(asked(request), context)), Closed)
    assert isinstance(await transport.run(reversal.reverse(asked(second), context)), NotFound)


@pytest.mark.parametrize("product", [Product.PAGE, Product.H5])
async def test_browser(
    product: Product,
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_1", product=product, return_url=f"{shop.url}back?a=1")
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, Redirect)
    async with http.get(made.action.url) as page:
        assert "确认付款" in await page.text()
        wallet = page.url
    async with http.post(f"{wallet}/approve", allow_redirects=False) as answer:
        assert answer.status == 302
        target = answer.headers["location"]
    assert target.startswith(f"{shop.url}back?a=1&app_id=")
    assert "&sign=" in target
    assert isinstance(await transport.run(channel.query(asked(request), context)), Succeeded)
    forged = made.action.url.replace("12.50", "00.01")
    async with http.get(forged) as answer:
        assert "isv.invalid-signature" in await answer.text()


async def test_app_and_mini_program(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_app", product=Product.APP)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, ClientParameters)
    parameters = dict(made.action.parameters)
    async with http.post("/wallet/app", data=parameters) as page:
        assert "确认付款" in await page.text()
    parameters["orderString"] = parameters["orderString"].replace("12.50", "0.01")
    async with http.post("/wallet/app", data=parameters) as answer:
        assert answer.status == 400

    request = order("pay_mini", product=Product.MINI_PROGRAM, payer="2088102146225135")
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, ClientParameters)
    async with http.post("/wallet/trade", data=dict(made.action.parameters)) as page:
        assert "确认付款" in await page.text()
    assert isinstance(await transport.run(channel.close(asked(request), context)), Closed)
    assert await approve(http, "pay_mini") == 409


async def test_money_may_come_after_closing(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_1", 50008, notify_url=shop.url)
    made = await transport.run(channel.create(request, context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, QrCode)
    async with http.get(made.action.content):
        pass
    assert isinstance(await transport.run(channel.close(asked(request), context)), Closed)
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
        request = order(f"pay_{minor}", minor, product=Product.CODE, auth_code=await new_code(http))
        assert isinstance(await transport.run(channel.create(request, context)), Succeeded)
        refund = back(request, f"ref_{minor}", 100)
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


async def test_notifications_are_repeated_until_success(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    simulator: Simulator,
    shop: Shop,
    order: Order,
    context: Context,
) -> None:
    shop.answer = b"fail"
    simulator.faults.add(Fault(kind=FaultKind.BAD_NOTIFICATION_SIGNATURE))
    request = order("pay_1", notify_url=shop.url)
    await transport.run(channel.create(request, context))
    assert await approve(http, "pay_1") == 200
    await shop.until(1)
    with pytest.raises(NotificationRejected):
        channel.authenticate(shop.messages[0], context)
    shop.answer = b"success"
    await shop.until(2)
    assert isinstance(channel.authenticate(shop.messages[1], context), PaymentNotification)
    twice = order("pay_2", 50006, notify_url=shop.url)
    await transport.run(channel.create(twice, context))
    await approve(http, "pay_2")
    await shop.until(4)
    assert shop.messages[2].body == shop.messages[3].body


async def test_payer_identity(
    channel: Channel,
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    shop: Shop,
    context: Context,
) -> None:
    identity = cast("PayerIdentity", channel)
    url = identity.authorization_url(redirect_url=f"{shop.url}back", state="s-1")
    async with http.get(url, allow_redirects=False) as answer:
        query = dict(URL(answer.headers["location"]).query)
    assert query["state"] == "s-1"
    payer = await transport.run(identity.identify(query["auth_code"], context))
    assert payer == "2088102146225135"
    assert await transport.run(identity.identify(query["auth_code"], context)) is None


async def test_transfers(
    channel: Channel,
    transport: AsyncTransport,
    context: Context,
) -> None:
    transfers = cast("Transfers", channel)
    request = TransferRequest(
        reference="out_1", amount=Money(500, "CNY"), payee="2088102146225135", description="thanks"
    )
    sent = await transport.run(transfers.transfer(request, context))
    assert isinstance(sent, Transferred)
    question = TransferQuery(reference="out_1", amount=request.amount)
    assert await transport.run(transfers.query_transfer(question, context)) == sent
    unknown = TransferQuery(reference="out_2", amount=request.amount)
    assert await transport.run(transfers.query_transfer(unknown, context)) == NotFound()
    poor = TransferRequest(
        reference="out_3", amount=Money(40001, "CNY"), payee="2088102146225135", description="x"
    )
    assert isinstance(await transport.run(transfers.transfer(poor, context)), TransferRefused)


async def test_the_second_merchant_sees_nothing_of_the_first(
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Order,
    context: Context,
) -> None:
    request = order("pay_1", product=Product.CODE, auth_code=await new_code(http))
    await transport.run(open_channel("ordinary").create(request, context))
    found = await transport.run(open_channel("second").query(asked(request), context))
    assert found == NotFound()


async def test_pages(http: aiohttp.ClientSession) -> None:
    async with http.get("/wallet/scenarios") as page:
        assert "¥400.01" in await page.text()
    async with http.get("/wallet/code") as page:
        assert 'id="code">28' in await page.text()
    async with http.get("/wallet/nothing") as page:
        assert page.status == 404
