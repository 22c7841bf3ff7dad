"""wechatpy talks to the simulated API v2 over mutual TLS, and signs like Qiao's own channel."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qiao.channels.interface import PaymentNotification
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    StatementRequest,
)
from qiao.channels.wechat import WechatV2Channel, WechatV2Settings
from qiao.channels.wire import HttpMessage, HttpRequest
from qiao.domain.money import Money
from qiao.domain.outcomes import ClientParameters, Pending, Succeeded
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import CHINA, OPENID
from qiao.transport.asynchronous import AsyncTransport
from tests.interop.harness import OpenSdk, Sdk, SdkError, approve, new_code, shop

NOTIFY_URL = "https://shop.example/notify"
SIGN_TYPES = ["MD5", "HMAC-SHA256"]
BODY = "绿茶 Green tea {250 g}, 'best' & <cheap>"


async def open_client(
    open_sdk: OpenSdk, simulator: Simulator, folder: Path, name: str = "ordinary", **other: Any
) -> Sdk:
    credentials = simulator.credentials
    merchant = credentials.merchants[name]
    sdk = await open_sdk("wechatpy")
    keys = {
        "appid": merchant.appid,
        "api_key": merchant.api_key,
        "mch_id": merchant.mchid,
        "sub_mch_id": merchant.sub_mchid,
        "timeout": 10,
    }
    files = {"cert": merchant.certificate, "key": merchant.private_key, "ca": credentials.ca}
    await sdk(
        "open_client",
        gateway=simulator.secure_url,
        keys={**keys, **other.pop("keys", {})},
        folder=str(folder),
        files={**files, **other},
    )
    return sdk


def channel_of(simulator: Simulator, sign_type: str, name: str = "ordinary") -> WechatV2Channel:
    settings = simulator.credentials.v2_settings(
        name,
        base_url=simulator.base_url,
        secure_url=simulator.secure_url,
        sign_type=sign_type,
    )
    return WechatV2Channel(WechatV2Settings.read(settings))


@pytest.mark.parametrize("name", ["ordinary", "provider"])
async def test_native_from_order_to_bill(
    name: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path, name)

    async def call(method: str, **arguments: Any) -> Any:
        told = await sdk("call", method=method, **arguments)
        assert await sdk("verifies", fields=told), "the answer's signature does not verify"
        return told

    accepted = channel_of(wechat_simulator, "MD5").acknowledge(accepted=True).body
    async with shop(accepted) as opened:
        made = await call(
            "order.create",
            trade_type="NATIVE",
            body=BODY,
            total_fee=1250,
            notify_url=opened.url,
            client_ip="203.0.113.7",
            out_trade_no="pay_000001",
            product_id="1",
            attach="a=1&b=茶",
        )
        async with wechat_http.get(made["code_url"]) as page:
            assert "¥</small>12.50" in await page.text()
        found = await call("order.query", out_trade_no="pay_000001")
        assert found["trade_state"] == "NOTPAY"
        await approve(wechat_http, "pay_000001")
        paid = await call("order.query", out_trade_no="pay_000001")
        assert (paid["trade_state"], paid["total_fee"], paid["openid"]) == (
            "SUCCESS",
            "1250",
            OPENID,
        )
        assert paid["attach"] == "a=1&b=茶"
        by_trade = await call("order.query", transaction_id=paid["transaction_id"])
        assert by_trade["out_trade_no"] == "pay_000001"
        told = await sdk("payment_result", body=(await opened.message(1)).body.decode())
        assert (told["total_fee"], told["transaction_id"]) == (1250, paid["transaction_id"])
        forged = (await opened.message(1)).body.replace(b"1250", b"1251").decode()
        with pytest.raises(SdkError, match="InvalidSignature"):
            await sdk("payment_result", body=forged)

        given = await call(
            "refund.apply",
            total_fee=1250,
            refund_fee=250,
            out_refund_no="ref_000001",
            out_trade_no="pay_000001",
            notify_url=opened.url,
        )
        refund = await call("refund.query", out_refund_no="ref_000001")
        assert (refund["refund_status_0"], refund["refund_fee_0"]) == ("SUCCESS", "250")
        assert refund["refund_id_0"] == given["refund_id"]
        back = await sdk("refund_result", body=(await opened.message(2)).body.decode())
        assert (back["refund_fee"], back["out_refund_no"]) == (250, "ref_000001")

    today = f"{datetime.now(CHINA):%Y%m%d}"
    bill = await sdk("call", method="tools.download_bill", bill_date=today)
    entries = channel_of(wechat_simulator, "MD5", name).parse_statement(bill.encode())
    assert [one.amount.minor for one in entries] == [1250, 250]
    with pytest.raises(SdkError, match="No Bill Exist"):
        await sdk("call", method="tools.download_bill", bill_date="20200101")


async def test_micropay_and_reverse(
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path)
    order = {"body": BODY, "client_ip": "203.0.113.7"}
    paid = await sdk(
        "call",
        method="micropay.create",
        total_fee=1250,
        auth_code=await new_code(wechat_http),
        out_trade_no="pay_000001",
        **order,
    )
    assert (paid["trade_type"], paid["cash_fee"]) == ("MICROPAY", "1250")
    undone = await sdk("call", method="order.reverse", out_trade_no="pay_000001")
    assert undone["recall"] == "N"
    gone = await sdk("call", method="order.query", out_trade_no="pay_000001")
    assert gone["trade_state"] == "REVOKED"
    for minor, code in ((40001, "NOTENOUGH"), (40003, "AUTH_CODE_INVALID"), (40004, "USERPAYING")):
        with pytest.raises(SdkError, match=code):
            await sdk(
                "call",
                method="micropay.create",
                total_fee=minor,
                auth_code=await new_code(wechat_http),
                out_trade_no=f"pay_{minor}0",
                **order,
            )


async def test_closing_and_what_is_refused(
    open_sdk: OpenSdk, wechat_simulator: Simulator, tmp_path: Path
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path)
    order = {
        "trade_type": "NATIVE",
        "body": BODY,
        "total_fee": 1250,
        "notify_url": NOTIFY_URL,
        "client_ip": "203.0.113.7",
        "out_trade_no": "pay_000001",
    }
    await sdk("call", method="order.create", **order, sign_type="HMAC-SHA256")
    closed = await sdk("call", method="order.close", out_trade_no="pay_000001")
    assert closed["result_code"] == "SUCCESS"
    refusals: list[tuple[str, dict[str, Any], str]] = [
        ("order.close", {"out_trade_no": "pay_000001"}, "ORDERCLOSED"),
        ("order.create", order, "ORDERCLOSED"),
        ("order.query", {"out_trade_no": "pay_000009"}, "ORDERNOTEXIST"),
        ("refund.query", {"out_refund_no": "ref_000009"}, "REFUNDNOTEXIST"),
        ("order.create", {**order, "trade_type": "JSAPI"}, "JSAPI支付必须传openid"),
        ("order.create", {**order, "total_fee": "12.50"}, "invalid total_fee"),
    ]
    for method, arguments, said in refusals:
        with pytest.raises(SdkError, match=said):
            await sdk("call", method=method, **arguments)
    thief = await open_client(open_sdk, wechat_simulator, tmp_path, keys={"api_key": "0" * 32})
    with pytest.raises(SdkError, match="签名错误"):
        await thief("call", method="order.query", out_trade_no="pay_000001")


async def test_mutual_tls_wants_the_merchants_own_certificate(
    open_sdk: OpenSdk, wechat_simulator: Simulator, tmp_path: Path
) -> None:
    other = wechat_simulator.credentials.merchants["second"]
    sdk = await open_client(
        open_sdk, wechat_simulator, tmp_path, cert=other.certificate, key=other.private_key
    )
    with pytest.raises(SdkError, match="CERT_ERROR"):
        await sdk("call", method="order.reverse", out_trade_no="pay_000001")


def order(product: Product, context: Context) -> PaymentRequest:
    return PaymentRequest(
        reference="pay_000001",
        amount=Money(1250, "CNY"),
        product=product,
        description=BODY,
        notify_url=NOTIFY_URL,
        expires_at=context.now() + timedelta(minutes=30),
        payer=OPENID,
        auth_code="134567890123456789" if product is Product.CODE else None,
        client_ip="203.0.113.7",
    )


def requests_of(channel: WechatV2Channel, context: Context) -> list[HttpRequest]:
    """The first request of every operation."""
    query = PaymentQuery(reference="pay_000001", amount=Money(1250, "CNY"))
    refund = RefundRequest(
        reference="ref_000001",
        payment_reference="pay_000001",
        payment_amount=query.amount,
        amount=Money(250, "CNY"),
        reason="太凉了",
    )
    question = RefundQuery(
        reference="ref_000001", payment_reference="pay_000001", amount=refund.amount
    )
    bill = StatementRequest(day=datetime(2026, 11, 25, tzinfo=UTC).date())
    return [
        *(
            next(channel.create(order(product, context), context))
            for product in sorted(channel.manifest.products)
        ),
        next(channel.query(query, context)),
        next(channel.close(query, context)),
        next(channel.reverse(query, context)),
        next(channel.refund(refund, context)),
        next(channel.query_refund(question, context)),
        next(channel.download_statement(bill, context)),
    ]


@pytest.mark.parametrize("name", ["ordinary", "provider"])
@pytest.mark.parametrize("sign_type", SIGN_TYPES)
async def test_the_sdk_would_sign_our_requests_as_we_do(
    sign_type: str,
    name: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    context: Context,
    tmp_path: Path,
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path, name)
    for request in requests_of(channel_of(wechat_simulator, sign_type, name), context):
        body = request.body.decode()
        for other in SIGN_TYPES:
            verdict = await sdk("signed", body=body, sign_type=other)
            assert verdict is (other == sign_type), request.url


async def test_the_sdk_hands_a_page_what_we_hand_it(
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    transport: AsyncTransport,
    context: Context,
    tmp_path: Path,
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path)
    channel = channel_of(wechat_simulator, "MD5")
    stamp, nonce = str(int(context.now().timestamp())), context.nonce()
    given: dict[str, Any] = {"timestamp": stamp, "nonce_str": nonce}
    for number, (product, method) in enumerate(
        [
            (Product.OFFICIAL_ACCOUNT, "jsapi.get_jsapi_params"),
            (Product.APP, "order.get_appapi_params"),
        ]
    ):
        asked = replace(order(product, context), reference=f"pay_00000{number}")
        made = await transport.run(channel.create(asked, context))
        assert isinstance(made, Pending)
        assert isinstance(made.action, ClientParameters)
        ours = dict(made.action.parameters)
        prepay_id = ours.get("prepayid") or ours["package"].removeprefix("prepay_id=")
        assert await sdk("call", method=method, prepay_id=prepay_id, **given) == ours


@pytest.mark.parametrize("sign_type", SIGN_TYPES)
async def test_we_believe_what_the_sdk_signs(
    sign_type: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    context: Context,
    tmp_path: Path,
) -> None:
    sdk = await open_client(open_sdk, wechat_simulator, tmp_path)
    merchant = wechat_simulator.credentials.merchants["ordinary"]
    told = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        "appid": merchant.appid,
        "mch_id": merchant.mchid,
        "nonce_str": context.nonce(),
        "openid": OPENID,
        "trade_type": "NATIVE",
        "total_fee": "1250",
        "transaction_id": "4200000000202611250000000001",
        "out_trade_no": "pay_000001",
        "attach": "a=1&b=茶",
        "time_end": "20261125120000",
    }
    body = (await sdk("write", fields=told, sign_type=sign_type)).encode()
    message = HttpMessage(method="POST", target="/", headers={}, body=body)
    heard = channel_of(wechat_simulator, sign_type).authenticate(message, context)
    assert isinstance(heard, PaymentNotification)
    assert isinstance(heard.outcome, Succeeded)
    assert (heard.reference, heard.outcome.amount) == ("pay_000001", Money(1250, "CNY"))
