"""Alipay's own SDK for Python talks to the simulated Alipay, and verifies Qiao's own channel.

It has no certificate mode: it looks for ``sign`` right behind the answer.
"""

import io
import json
import zipfile
from datetime import datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from yarl import URL

from qiao.channels.requests import Context, PaymentQuery, Product
from qiao.channels.wire import HttpRequest
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.book import BUYER_ID
from qiao.simulators.alipay.codec import CHINA
from tests.interop.alipay import (
    AMOUNT,
    WITHOUT_A_REQUEST,
    channel_of,
    handed_out,
    later_requests_of,
    order,
    parameters_of,
    requests_of,
    submit,
)
from tests.interop.harness import OpenSdk, Sdk, SdkError, Shop, approve, new_code

MODES = [("ordinary", "utf-8"), ("ordinary", "gbk"), ("sha1", "utf-8"), ("provider", "utf-8")]
TEA = {"subject": "绿茶 Green tea {250 g} / \"best\" & 'cheap'", "total_amount": "12.50"}


class Client:
    """Alipay's SDK, opened for one app."""

    def __init__(self, sdk: Sdk, simulator: Simulator, app: str, charset: str) -> None:
        self.sdk = sdk
        self._charset = charset
        self._simulator = simulator
        self._token = simulator.credentials.apps[app].auth_token

    def options(self, **more: str) -> dict[str, str]:
        return {**({"app_auth_token": self._token} if self._token else {}), **more}

    async def call(self, name: str, content: dict[str, Any], /, **options: str) -> Any:
        """What was answered, its signature verified by the SDK."""
        return await self.sdk(
            "execute", name=name, content=content, options=self.options(**options)
        )

    def read(self, form: bytes | str) -> dict[str, str]:
        """A notification's body, or the query of a return: in the charset of the request."""
        text = form.decode() if isinstance(form, bytes) else form
        told = dict(parse_qsl(text, encoding=self._charset, errors="strict"))
        assert told["charset"] == self._charset
        return told

    async def believes(self, parameters: dict[str, str]) -> bool:
        """Whether Alipay signed a notification, or the return of a browser."""
        believed: bool = await self.sdk(
            "verify",
            parameters=parameters,
            public_key=body_of(self._simulator.credentials.alipay_public_key),
            without=["sign", "sign_type"],
            charset=self._charset,
        )
        return believed


def body_of(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


def pkcs1_of(pem: str) -> str:
    """The form of a private key that this SDK takes."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    plain = serialization.NoEncryption()
    return body_of(key.private_bytes(serialization.Encoding.PEM, form, plain).decode())


async def open_client(
    open_sdk: OpenSdk, simulator: Simulator, name: str, charset: str = "utf-8"
) -> Client:
    app = simulator.credentials.apps[name]
    settings = {
        "server_url": f"{simulator.base_url}/gateway.do",
        "app_id": app.app_id,
        "app_private_key": pkcs1_of(app.private_key),
        "alipay_public_key": body_of(simulator.credentials.alipay_public_key),
        "sign_type": app.sign_type,
        "charset": charset,
    }
    if app.aes_key:
        settings |= {"encrypt_type": "AES", "encrypt_key": app.aes_key}
    sdk = await open_sdk("alipay_sdk_python")
    await sdk("open_client", settings=settings)
    return Client(sdk, simulator, name, charset)


@pytest.mark.parametrize(("app", "charset"), MODES)
async def test_qr_from_order_to_bill(
    app: str,
    charset: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app, charset)
    order = {"out_trade_no": "pay_1", **TEA}
    made = await client.call("AlipayTradePrecreate", order, notify_url=alipay_shop.url)
    assert (made["is_success"], made["out_trade_no"]) == (True, "pay_1")
    question = {"out_trade_no": "pay_1"}
    unseen = await client.call("AlipayTradeQuery", question)
    assert (unseen["is_success"], unseen["sub_code"]) == (False, "ACQ.TRADE_NOT_EXIST")
    async with alipay_http.get(made["qr_code"]) as page:
        assert TEA["subject"] in unescape(await page.text())
    await approve(alipay_http, "pay_1")
    paid = await client.call("AlipayTradeQuery", question)
    assert (paid["trade_status"], paid["total_amount"]) == ("TRADE_SUCCESS", "12.50")
    told = client.read((await alipay_shop.message(1)).body)
    assert (told["trade_status"], told["subject"]) == ("TRADE_SUCCESS", TEA["subject"])
    assert await client.believes(told)
    with pytest.raises(SdkError, match="VerificationError"):
        await client.believes({**told, "total_amount": "0.01"})

    refund = {"out_trade_no": "pay_1", "out_request_no": "ref_1"}
    given = await client.call("AlipayTradeRefund", {**refund, "refund_amount": "2.50"})
    assert (given["fund_change"], given["refund_fee"]) == ("Y", "2.50")
    again = await client.call("AlipayTradeRefund", {**refund, "refund_amount": "2.50"})
    assert (again["fund_change"], again["refund_fee"]) == ("N", "2.50")
    found = await client.call("AlipayTradeFastpayRefundQuery", refund)
    assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "2.50")
    assert await client.believes(client.read((await alipay_shop.message(2)).body))

    day = datetime.now(CHINA).date().isoformat()
    bill = await client.call(
        "AlipayDataDataserviceBillDownloadurlQuery", {"bill_type": "trade", "bill_date": day}
    )
    async with alipay_http.get(bill["bill_download_url"]) as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    text = "".join(archive.read(name).decode("gb18030") for name in archive.namelist())
    assert f"{paid['trade_no']}\t,pay_1\t,退款" in text


@pytest.mark.parametrize(("app", "charset"), MODES)
async def test_payment_code_close_and_cancel(
    app: str,
    charset: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app, charset)
    code = {"scene": "bar_code", "auth_code": await new_code(alipay_http)}
    paid = await client.call("AlipayTradePay", {"out_trade_no": "pay_1", **TEA, **code})
    assert (paid["code"], paid["receipt_amount"]) == ("10000", "12.50")
    taken_back = await client.call("AlipayTradeCancel", {"out_trade_no": "pay_1"})
    assert (taken_back["action"], taken_back["retry_flag"]) == ("refund", "N")
    order = {"out_trade_no": "pay_2", **TEA, "buyer_id": BUYER_ID}
    made = await client.call("AlipayTradeCreate", order)
    closed = await client.call("AlipayTradeClose", {"trade_no": made["trade_no"]})
    assert (closed["is_success"], closed["trade_no"]) == (True, made["trade_no"])
    found = await client.call("AlipayTradeQuery", {"out_trade_no": "pay_2"})
    assert found["trade_status"] == "TRADE_CLOSED"


@pytest.mark.parametrize(("app", "charset"), MODES)
@pytest.mark.parametrize(
    ("name", "code", "how"),
    [
        ("AlipayTradePagePay", "FAST_INSTANT_TRADE_PAY", "GET"),
        ("AlipayTradePagePay", "FAST_INSTANT_TRADE_PAY", "POST"),
        ("AlipayTradeWapPay", "QUICK_WAP_WAY", "GET"),
        ("AlipayTradeWapPay", "QUICK_WAP_WAY", "POST"),
        ("AlipayTradeAppPay", "QUICK_MSECURITY_PAY", "app"),
    ],
)
async def test_browser_and_app(
    app: str,
    charset: str,
    name: str,
    code: str,
    how: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app, charset)
    content = {"out_trade_no": "pay_1", "product_code": code, **TEA}
    more = {} if how == "app" else {"return_url": f"{alipay_shop.url}back?a=1"}
    asked = {"name": name, "content": content, "options": client.options(**more)}
    if how == "app":
        text = await client.sdk("app", **asked)
        opened = alipay_http.post("/wallet/app", data={"orderString": text})
    else:
        text = await client.sdk("page", **asked, http_method=how)
        opened = alipay_http.get(text) if how == "GET" else submit(alipay_http, text, charset)
    async with opened as page:
        assert TEA["subject"] in unescape(await page.text())
        wallet = page.url
    if more:
        async with alipay_http.post(f"{wallet}/approve", allow_redirects=False) as answer:
            told = client.read(urlsplit(answer.headers["location"]).query)
        assert told.pop("a") == "1"
        assert await client.believes(told)


async def test_what_is_not_signed_right_is_refused_on_either_side(
    open_sdk: OpenSdk, alipay_simulator: Simulator
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "ordinary")
    bad = {"out_trade_no": "pay_1", **TEA, "total_amount": "500.05"}  # a scenario
    with pytest.raises(SdkError, match="response sign verify failed"):
        await client.call("AlipayTradePrecreate", bad)
    apps = alipay_simulator.credentials.apps
    settings = {
        "server_url": f"{alipay_simulator.base_url}/gateway.do",
        "app_id": apps["ordinary"].app_id,
        "app_private_key": pkcs1_of(apps["second"].private_key),
        "alipay_public_key": body_of(alipay_simulator.credentials.alipay_public_key),
    }
    await client.sdk("open_client", settings=settings)
    answer = await client.call("AlipayTradeQuery", {"out_trade_no": "pay_1"})
    assert answer["sub_code"] == "isv.invalid-signature"


@pytest.mark.parametrize("app", ["ordinary", "sha1", "certificate", "encrypted", "provider"])
async def test_the_sdk_verifies_what_our_channel_signs(
    app: str, open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_sdk("alipay_sdk_python")
    channel = channel_of(alipay_simulator, app)
    key = body_of(alipay_simulator.credentials.apps[app].public_key)
    signed = [
        *(parameters_of(request) for request in requests_of(channel, context)),
        *(handed_out(channel, product, context) for product in WITHOUT_A_REQUEST),
    ]
    for parameters in signed:
        asked = {"public_key": key, "without": ["sign"]}
        assert await sdk("verify", parameters=parameters, **asked)
        with pytest.raises(SdkError, match="VerificationError"):
            await sdk("verify", parameters={**parameters, "app_id": "2"}, **asked)


async def test_the_sdk_verifies_an_encrypted_answer(
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    context: Context,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "encrypted")
    asked = requests_of(channel_of(alipay_simulator, "encrypted"), context)[0]
    async with alipay_http.post(URL(asked.url, encoded=True), data=asked.body) as answer:
        text = await answer.text()
    ciphertext = await client.sdk("believe_encrypted", answer=text)
    assert f'_response":"{ciphertext}",' in text
    other = f"{'B' if ciphertext[0] == 'A' else 'A'}{ciphertext[1:]}"
    with pytest.raises(SdkError, match="response sign verify failed"):
        await client.sdk("believe_encrypted", answer=text.replace(ciphertext, other))


async def test_the_sdk_knows_every_field_that_our_channel_sends(
    open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_sdk("alipay_sdk_python")
    channel = channel_of(alipay_simulator, "ordinary")
    asked = [
        *(parameters_of(request) for request in requests_of(channel, context)),
        *(handed_out(channel, product, context) for product in WITHOUT_A_REQUEST),
    ]
    for parameters in asked:
        if "biz_content" in parameters:
            name, content = name_of(parameters), json.loads(parameters["biz_content"])
            assert await sdk("as_the_model_knows_it", name=name, content=content) == content


def name_of(parameters: dict[str, str]) -> str:
    """The SDK's name for a method."""
    return "".join(word.title() for word in parameters["method"].split("."))


async def test_the_sdk_knows_every_field_that_the_simulator_answers(
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    context: Context,
) -> None:
    sdk = await open_sdk("alipay_sdk_python")
    channel = channel_of(alipay_simulator, "ordinary")

    async def ask(request: HttpRequest) -> dict[str, Any]:
        async with alipay_http.post(URL(request.url, encoded=True), data=request.body) as answer:
            told = json.loads(await answer.text())
        parameters = parameters_of(request)
        node: dict[str, Any] = told[f"{parameters['method'].replace('.', '_')}_response"]
        assert "sub_code" not in node, node
        unknown = await sdk("unknown_to_the_response", name=name_of(parameters), content=node)
        assert unknown == ["code", "msg"]  # which its responses have from elsewhere
        return node

    async def create(product: Product, number: str) -> dict[str, Any]:
        code = await new_code(alipay_http)
        return await ask(next(channel.create(order(product, context, number, code), context)))

    paid = await create(Product.CODE, "pay_1")
    for request in later_requests_of(channel, context, paid["trade_no"]):
        await ask(request)
    await create(Product.QR, "pay_2")
    await create(Product.MINI_PROGRAM, "pay_3")
    made = PaymentQuery(reference="pay_3", amount=AMOUNT)
    await ask(next(channel.query(made, context)))
    await ask(next(channel.close(made, context)))
    await create(Product.CODE, "pay_4")
    taken = PaymentQuery(reference="pay_4", amount=AMOUNT)
    await ask(next(channel.reverse(taken, context)))
