"""Agreements at the simulated Alipay: signed, charged, ended, by Qiao's own channel."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from qiao.channels.alipay import channel_type
from qiao.channels.interface import AgreementNotification, Agreements, Channel
from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
    ChargeRule,
    Context,
    PaymentQuery,
    Product,
    RefundRequest,
)
from qiao.channels.wire import HttpMessage
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementPending,
    Declined,
    NotFound,
    QrCode,
    Redirect,
    Refunded,
    Succeeded,
)
from qiao.domain.periods import PeriodUnit
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.codec import CHINA
from qiao.simulators.kit.server import serve
from qiao.transport.asynchronous import AsyncTransport

NUMBER = "agr01k3000000000000000000001"
QUERY = AgreementQuery(reference=NUMBER, plan="INDUSTRY|EDU")


@pytest.fixture
def agreements(channel: Channel) -> Agreements:
    return cast("Agreements", channel)


def asked(notify_url: str = "http://127.0.0.1:9/notify", **more: object) -> AgreementRequest:
    today = datetime.now(CHINA).date()
    rule = ChargeRule(max_amount=Money(3000, "CNY"), unit=PeriodUnit.DAY, count=30, first_on=today)
    request = AgreementRequest(
        reference=NUMBER,
        product=Product.QR,
        rule=rule,
        display_name="member 17 会员",
        notify_url=notify_url,
        plan="INDUSTRY|EDU",
    )
    return replace(request, **more)  # type: ignore[arg-type]  # a test names the fields


def charging(agreement_no: str, number: str = "att0001", minor: int = 2500) -> AgreementCharge:
    return AgreementCharge(
        reference=number,
        amount=Money(minor, "CNY"),
        agreement_reference=agreement_no,
        description="Lessons 课程",
        notify_url="http://127.0.0.1:9/notify",
    )


async def signed(
    transport: AsyncTransport,
    agreements: Agreements,
    http: aiohttp.ClientSession,
    context: Context,
    request: AgreementRequest | None = None,
) -> AgreementActive:
    pending = await transport.run(agreements.sign(request or asked(), context))
    assert isinstance(pending, AgreementPending)
    assert isinstance(pending.action, QrCode)
    async with http.get(URL(pending.action.content, encoded=True)) as page:
        assert "member 17 会员" in await page.text()
        wallet = page.url.path
    async with http.post(f"{wallet}/approve") as page:
        assert "已开通" in await page.text()
    active = await transport.run(agreements.query_agreement(QUERY, context))
    assert isinstance(active, AgreementActive)
    return active


async def test_signed_in_the_wallet_and_charged_without_the_customer(
    transport: AsyncTransport,
    agreements: Agreements,
    channel: Channel,
    http: aiohttp.ClientSession,
    context: Context,
    simulator: Simulator,
) -> None:
    assert await transport.run(agreements.query_agreement(QUERY, context)) == NotFound()
    active = await signed(transport, agreements, http, context)
    charge = charging(active.channel_reference)
    for _ in range(2):  # told twice it is taken once
        taken = await transport.run(agreements.charge(charge, context))
        assert isinstance(taken, Succeeded)
        assert taken.amount == charge.amount
    [agreement] = simulator.book.agreements.values()
    assert agreement.charges == 1
    query = PaymentQuery(reference=charge.reference, amount=charge.amount, by_agreement=True)
    assert isinstance(await transport.run(channel.query(query, context)), Succeeded)
    refund = RefundRequest(
        reference="ref0001",
        payment_reference=charge.reference,
        payment_amount=charge.amount,
        amount=Money(500, "CNY"),
    )
    assert isinstance(await transport.run(channel.refund(refund, context)), Refunded)
    second = await transport.run(
        agreements.charge(charging(active.channel_reference, "att0002"), context)
    )
    assert isinstance(second, Declined)  # a period has one charge, and the next is not near
    assert (second.code, second.channel_code) == (
        "outside_charge_window",
        "ACQ.CYCLE_PAY_DATE_NOT_MATCH",
    )


@pytest.mark.parametrize(
    ("minor", "code"),
    [(3001, "agreement_limit_exceeded"), (400_01, "insufficient_funds")],
)
async def test_what_is_declined(
    minor: int,
    code: str,
    transport: AsyncTransport,
    agreements: Agreements,
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    most = Money(100_000 if minor > 40_000 else 3000, "CNY")
    request = asked()
    request = replace(request, rule=replace(request.rule, max_amount=most))
    active = await signed(transport, agreements, http, context, request)
    charge = charging(active.channel_reference, minor=minor)
    declined = await transport.run(agreements.charge(charge, context))
    assert isinstance(declined, Declined)
    assert declined.code == code


async def test_ended_by_either_side_it_is_charged_no_more(
    transport: AsyncTransport,
    agreements: Agreements,
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    active = await signed(transport, agreements, http, context)
    known = replace(QUERY, channel_reference=active.channel_reference)
    for _ in range(2):
        ended = await transport.run(agreements.end_agreement(known, context))
        assert isinstance(ended, AgreementEnded)
    assert isinstance(
        await transport.run(agreements.query_agreement(known, context)), AgreementEnded
    )
    declined = await transport.run(agreements.charge(charging(active.channel_reference), context))
    assert isinstance(declined, Declined)
    assert declined.code == "agreement_ended"


async def test_the_merchant_is_told_of_the_signature_and_of_the_end(
    transport: AsyncTransport,
    agreements: Agreements,
    channel: Channel,
    http: aiohttp.ClientSession,
    context: Context,
) -> None:
    inbox: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(message: web.Request) -> web.Response:
        inbox.put_nowait(await message.read())
        return web.Response(text="success")

    shop = web.Application()
    shop.router.add_post("/", hear)
    told = []
    async with serve(shop) as url:
        active = await signed(transport, agreements, http, context, asked(notify_url=f"{url}/"))
        async with http.post(f"/_control/agreements/{NUMBER}/end") as answer:
            assert answer.status == 200
        for _ in range(2):
            message = HttpMessage(method="POST", target="/", headers={}, body=await inbox.get())
            told.append(channel.authenticate(message, context))
    notices = [one for one in told if isinstance(one, AgreementNotification)]
    assert {one.reference for one in notices} == {NUMBER}
    assert [type(one.outcome) for one in notices] == [AgreementActive, AgreementEnded]
    assert getattr(notices[0].outcome, "channel_reference", None) == active.channel_reference


async def test_on_a_phone_the_wallet_is_opened(
    transport: AsyncTransport, agreements: Agreements, context: Context
) -> None:
    pending = await transport.run(agreements.sign(asked(product=Product.H5), context))
    assert isinstance(pending, AgreementPending)
    assert isinstance(pending.action, Redirect)
    assert pending.action.url.startswith("alipays://platformapi/startapp?appId=20000067&url=http")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("plan", {"plan": None}),
        ("plan", {"plan": "DEFAULT|DEFAULT"}),
        ("display_name", {"display_name": ""}),
        ("reference", {"reference": "agr_1"}),
        ("product", {"product": Product.PAGE}),
        ("period", {"unit": PeriodUnit.DAY, "count": 6}),
        ("first_charge_on", {"unit": PeriodUnit.MONTH, "first_on": 29}),
        ("max_amount", {"max_amount": Money(0, "CNY")}),
    ],
)
async def test_what_alipay_would_not_take_is_refused_by_name(
    field: str,
    change: dict[str, object],
    transport: AsyncTransport,
    agreements: Agreements,
    context: Context,
) -> None:
    request = asked()
    day = change.pop("first_on", None)
    if day is not None:
        change["first_on"] = (request.rule.first_on + timedelta(days=400)).replace(month=1, day=29)
    in_rule = {"unit", "count", "first_on", "max_amount"} & set(change)
    if in_rule:
        request = replace(request, rule=replace(request.rule, **change))  # type: ignore[arg-type]
    else:
        request = replace(request, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as refused:
        next(agreements.sign(request, context))
    assert refused.value.field == field


def test_the_manifest_tells_when_a_charge_is_taken() -> None:
    window = channel_type.manifest.charge_window
    assert window is not None
    assert (window.zone, window.days_before, window.days_after) == ("Asia/Shanghai", 5, 0)
