"""委托代扣 at the simulated WeChat Pay: signed, charged and ended by Qiao's own channel."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from qiao.channels.interface import (
    AgreementNotification,
    Capability,
    OtherNotification,
    PaymentNotification,
)
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
from qiao.channels.wechat.v2.channel import WechatV2AgreementsChannel
from qiao.domain.errors import InvalidInput, NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementPending,
    Closed,
    Declined,
    NotFound,
    PaymentOutcome,
    Pending,
    Redirect,
    RefundPending,
    Succeeded,
)
from qiao.domain.periods import PeriodUnit
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import State
from qiao.simulators.wechat.v2.codec import parse
from qiao.transport.asynchronous import AsyncTransport
from tests.simulators.wechat.v2_shop import OpenV2, Shop, settled

NUMBER = "agr01k3000000000000000000001"
QUERY = AgreementQuery(reference=NUMBER, plan="12535")
NOWHERE = "http://127.0.0.1:9/notify"
RULE = ChargeRule(
    max_amount=Money(3000, "CNY"), unit=PeriodUnit.MONTH, count=1, first_on=date(2026, 2, 1)
)
SIGNING = AgreementRequest(
    reference=NUMBER,
    product=Product.OFFICIAL_ACCOUNT,
    rule=RULE,
    display_name="member 17 会员",
    notify_url=NOWHERE,
    plan="12535",
)


class Wallet:
    """An account on MD5, and its customer."""

    def __init__(
        self,
        channel: WechatV2AgreementsChannel,
        transport: AsyncTransport,
        http: aiohttp.ClientSession,
        context: Context,
    ) -> None:
        self.channel, self.transport = channel, transport
        self.http, self.context = http, context

    async def asked(self, request: AgreementRequest = SIGNING) -> str:
        """The page of the wallet on which it can be signed."""
        pending = await self.transport.run(self.channel.sign(request, self.context))
        assert isinstance(pending, AgreementPending)
        assert isinstance(pending.action, Redirect)
        address = urlsplit(pending.action.url)
        async with self.http.get(f"{address.path}?{address.query}") as page:
            assert "member 17 会员" in await page.text()
            return page.url.path

    async def signed(self, request: AgreementRequest = SIGNING) -> str:
        """The number of an agreement that is signed."""
        page = await self.asked(request)
        await self.http.post(f"{page}/approve")
        active = await self.transport.run(self.channel.query_agreement(QUERY, self.context))
        assert isinstance(active, AgreementActive)
        return active.channel_reference

    async def charged(self, charge: AgreementCharge) -> PaymentOutcome:
        return await self.transport.run(self.channel.charge(charge, self.context))

    async def looked_up(self, charge: AgreementCharge) -> PaymentOutcome:
        query = PaymentQuery(reference=charge.reference, amount=charge.amount, by_agreement=True)
        found: PaymentOutcome = await settled(
            self.transport, lambda: self.channel.query(query, self.context)
        )
        return found


@pytest_asyncio.fixture
async def wallet(
    open_v2: OpenV2, transport: AsyncTransport, http: aiohttp.ClientSession, context: Context
) -> AsyncIterator[Wallet]:
    channel = open_v2(sign_type="MD5")
    assert isinstance(channel, WechatV2AgreementsChannel)
    yield Wallet(channel, transport, http, context)


def charging(contract_id: str, minor: int = 2500, url: str = NOWHERE) -> AgreementCharge:
    return AgreementCharge(
        reference="att0001",
        amount=Money(minor, "CNY"),
        agreement_reference=contract_id,
        description="Lessons 课程",
        notify_url=url,
    )


async def test_signed_in_the_wallet_and_charged_without_the_customer(
    wallet: Wallet, simulator: Simulator
) -> None:
    channel, run, context = wallet.channel, wallet.transport.run, wallet.context
    assert await run(channel.query_agreement(QUERY, context)) == NotFound()
    charge = charging(await wallet.signed())
    assert isinstance(await wallet.charged(charge), Pending)
    paid = await wallet.looked_up(charge)
    assert isinstance(paid, Succeeded)
    assert paid.amount == charge.amount
    assert await wallet.charged(charge) == paid  # asked for again it is not taken again
    [order] = simulator.book.orders.values()
    assert (order.trade_type, order.state) == ("PAP", State.SUCCESS)
    refund = RefundRequest(
        reference="ref0001",
        payment_reference=charge.reference,
        payment_amount=charge.amount,
        amount=Money(500, "CNY"),
    )
    assert isinstance(await run(channel.refund(refund, context)), RefundPending)

    assert isinstance(await run(channel.end_agreement(QUERY, context)), AgreementEnded)
    assert isinstance(await run(channel.query_agreement(QUERY, context)), AgreementEnded)
    declined = await wallet.charged(
        replace(charging(charge.agreement_reference), reference="att0002")
    )
    assert isinstance(declined, Declined)
    assert declined.code == "agreement_ended"
    known = replace(QUERY, channel_reference=charge.agreement_reference)
    assert await run(channel.end_agreement(known, context)) == AgreementEnded()
    assert await run(channel.end_agreement(QUERY, context)) == NotFound()


async def test_the_merchant_is_told_of_the_signature_the_charge_and_the_end(
    wallet: Wallet, shop: Shop, http: aiohttp.ClientSession
) -> None:
    page = await wallet.asked(replace(SIGNING, notify_url=shop.url))
    async with http.post(f"{page}/refuse") as refused:
        assert "您没有开通" in await refused.text()
    await http.post(f"{page}/approve")
    await shop.until(1)
    signed = wallet.channel.authenticate(shop.messages[0], wallet.context)
    assert isinstance(signed, AgreementNotification)
    assert signed.reference == NUMBER
    assert isinstance(signed.outcome, AgreementActive)
    async with http.post(f"/_control/contracts/{page.rpartition('/')[2]}/resend"):
        await shop.until(2)
    again = wallet.channel.authenticate(shop.messages[1], wallet.context)
    assert again == signed

    charge = charging(signed.outcome.channel_reference, url=shop.url)
    await wallet.charged(charge)
    await shop.until(3)
    paid = wallet.channel.authenticate(shop.messages[2], wallet.context)
    assert isinstance(paid, PaymentNotification)
    assert isinstance(paid.outcome, Succeeded)

    await http.post(f"{page}/end")
    await shop.until(4)
    ended = wallet.channel.authenticate(shop.messages[3], wallet.context)
    assert isinstance(ended, AgreementNotification)
    assert isinstance(ended.outcome, AgreementEnded)
    assert ended.id != signed.id
    async with http.get("/_control/contracts") as answer:
        [view] = await answer.json()
    assert (view["signed"], view["open"]) == (True, False)


@pytest.mark.parametrize(
    ("minor", "code"), [(40_001, "insufficient_funds"), (40_002, "account_restricted")]
)
async def test_a_refused_charge_is_told_with_its_reason(
    minor: int, code: str, wallet: Wallet, shop: Shop
) -> None:
    charge = charging(await wallet.signed(), minor, shop.url)
    assert isinstance(await wallet.charged(charge), Pending)
    await shop.until(1)
    told = wallet.channel.authenticate(shop.messages[0], wallet.context)
    assert isinstance(told, PaymentNotification)
    assert isinstance(told.outcome, Declined)
    assert (told.reference, told.outcome.code) == (charge.reference, code)
    found = await wallet.looked_up(charge)
    assert isinstance(found, Declined)
    assert found.channel_code == "PAY_FAIL"


async def test_a_reason_that_nobody_knows_decides_nothing(
    wallet: Wallet, simulator: Simulator, shop: Shop
) -> None:
    charge = charging(await wallet.signed(), 40_001, shop.url)
    await wallet.charged(charge)
    await shop.until(1)
    told = {**parse(shop.messages[0].body), "err_code": "LEVITATING", "nonce_str": "", "sign": ""}
    body = simulator.v2.message(told, simulator.credentials.merchants["ordinary"], "MD5")
    message = replace(shop.messages[0], body=body)
    heard = wallet.channel.authenticate(message, wallet.context)
    assert isinstance(heard, OtherNotification)
    forged = replace(message, body=body.replace(b"LEVITATING", b"NOTENOUGH"))
    with pytest.raises(NotificationRejected):
        wallet.channel.authenticate(forged, wallet.context)


async def test_later_than_twelve_hours_the_customer_is_told_a_day_before(
    wallet: Wallet, simulator: Simulator
) -> None:
    contract_id = await wallet.signed()
    [contract] = simulator.book.contracts.values()
    assert contract.signed_at is not None
    contract.signed_at -= timedelta(hours=13)
    simulator.clock.scale = 100_000
    charge = charging(contract_id)
    assert isinstance(await wallet.charged(charge), Pending)
    query = PaymentQuery(reference=charge.reference, amount=charge.amount, by_agreement=True)
    waiting = await wallet.transport.run(wallet.channel.query(query, wallet.context))
    assert isinstance(waiting, Pending)
    [order] = simulator.book.orders.values()
    assert order.state is State.ACCEPT
    assert isinstance(await wallet.looked_up(charge), Succeeded)

    second = replace(charge, reference="att0002")
    assert isinstance(await wallet.charged(second), Pending)
    closing = PaymentQuery(reference="att0002", amount=charge.amount, by_agreement=True)
    assert await wallet.transport.run(wallet.channel.close(closing, wallet.context)) == Closed()
    assert isinstance(await wallet.looked_up(second), Closed)


async def test_an_agreement_that_ends_before_the_charge_takes_no_money(
    wallet: Wallet, simulator: Simulator, shop: Shop
) -> None:
    contract_id = await wallet.signed()
    [contract] = simulator.book.contracts.values()
    assert contract.signed_at is not None
    contract.signed_at -= timedelta(hours=13)
    simulator.clock.scale = 100_000
    charge = charging(contract_id, url=shop.url)
    assert isinstance(await wallet.charged(charge), Pending)
    await wallet.transport.run(wallet.channel.end_agreement(QUERY, wallet.context))
    await shop.until(1)
    told = wallet.channel.authenticate(shop.messages[0], wallet.context)
    assert isinstance(told, PaymentNotification)
    assert isinstance(told.outcome, Declined)
    assert told.outcome.code == "agreement_ended"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("product", {"product": Product.QR}),
        ("plan", {"plan": "INDUSTRY|EDU"}),
        ("plan", {"plan": None}),
        ("reference", {"reference": "agr_1"}),
        ("display_name", {"display_name": "👍"}),
        ("display_name", {"display_name": "会" * 43}),
        ("notify_url", {"notify_url": "https://shop.example/?a=b"}),
        ("max_amount", {"rule": replace(RULE, max_amount=Money(3000, "USD"))}),
    ],
)
async def test_what_wechat_pay_would_not_take_never_leaves(
    field: str, change: dict[str, object], wallet: Wallet
) -> None:
    request = replace(SIGNING, **change)  # type: ignore[arg-type]  # a test names the fields
    with pytest.raises(InvalidInput) as refusal:
        await wallet.transport.run(wallet.channel.sign(request, wallet.context))
    assert refusal.value.field == field


async def test_a_page_of_signing_that_somebody_changed_opens_nothing(
    wallet: Wallet, http: aiohttp.ClientSession
) -> None:
    pending = await wallet.transport.run(wallet.channel.sign(SIGNING, wallet.context))
    assert isinstance(pending, AgreementPending)
    assert isinstance(pending.action, Redirect)
    address = urlsplit(pending.action.url)
    changed = address.query.replace("plan_id=12535", "plan_id=12536")
    for query in (changed, "plan_id=12535"):
        async with http.get(f"{address.path}?{query}") as page:
            assert page.status == 400


@pytest.mark.parametrize(
    ("merchant", "sign_type"), [("ordinary", "HMAC-SHA256"), ("provider", "MD5")]
)
def test_only_an_ordinary_merchant_on_md5_has_agreements(
    merchant: str, sign_type: str, open_v2: OpenV2
) -> None:
    channel = open_v2(merchant, sign_type=sign_type)
    assert Capability.AGREEMENTS not in channel.manifest.capabilities
    assert not hasattr(channel, "charge")
