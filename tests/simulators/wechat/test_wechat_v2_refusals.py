"""What the simulated API v2 refuses, and whom: layers, numbers, certificates."""

import asyncio

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from qiao.channels.requests import (
    Context,
    Product,
)
from qiao.channels.wechat import WechatV2Channel, channel_type
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.outcomes import (
    Declined,
    NotFound,
    NotSent,
    RefundPending,
    RefundRefused,
    Succeeded,
    Unknown,
)
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.authority import Authority, pem
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.blocking import BlockingTransport
from tests.simulators.wechat.v2_shop import (
    OpenV2,
    Order,
    about,
    approve,
    asked,
    back,
    new_code,
)


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
