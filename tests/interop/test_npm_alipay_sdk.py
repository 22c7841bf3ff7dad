"""Alipay's own SDK for Node talks to the simulated Alipay: certificates, and AES content."""

import json
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from qiao.channels.requests import Context
from qiao.simulators.alipay import Simulator
from tests.interop.alipay import channel_of, parameters_of, requests_of, submit
from tests.interop.harness import OpenSdk, Sdk, SdkError, Shop, approve, new_code

APPS = ["ordinary", "sha1", "certificate", "encrypted", "provider"]
TEA = {"subject": "绿茶 Green tea {250 g} / \"best\" & 'cheap' 100%", "totalAmount": "12.50"}


class Client:
    """Alipay's SDK, opened for one app."""

    def __init__(self, sdk: Sdk, *, encrypted: bool, token: str | None) -> None:
        self.sdk = sdk
        self._encrypted = encrypted
        self._common = {"appAuthToken": token} if token else {}

    def params(self, content: dict[str, Any], /, **more: Any) -> dict[str, Any]:
        encrypt = {"needEncrypt": True} if self._encrypted else {}
        return {"bizContent": content, **self._common, **encrypt, **more}

    async def call(self, method: str, content: dict[str, Any], /, **more: Any) -> Any:
        """What was answered, verified by the SDK unless encrypted, which it can't verify."""
        return await self.sdk(
            "exec",
            method=f"alipay.{method}",
            params=self.params(content, **more),
            validateSign=not self._encrypted,
        )


async def open_client(open_sdk: OpenSdk, simulator: Simulator, name: str) -> Client:
    credentials, app = simulator.credentials, simulator.credentials.apps[name]
    settings = {
        "appId": app.app_id,
        "privateKey": app.private_key,
        "keyType": "PKCS8",
        "signType": app.sign_type,
        "gateway": f"{simulator.base_url}/gateway.do",
    }
    if app.app_certificate:
        settings |= {
            "appCertContent": app.app_certificate,
            "alipayPublicCertContent": credentials.alipay_certificate,
            "alipayRootCertContent": credentials.root_certificate,
        }
    else:
        settings["alipayPublicKey"] = credentials.alipay_public_key
    if app.aes_key:
        settings["encryptKey"] = app.aes_key
    sdk = await open_sdk("npm_alipay_sdk")
    await sdk("openClient", settings=settings)
    return Client(sdk, encrypted=bool(app.aes_key), token=app.auth_token)


@pytest.mark.parametrize("app", APPS)
async def test_qr_from_order_to_refund(
    app: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app)
    order = {"outTradeNo": "pay_1", **TEA}
    made = await client.call("trade.precreate", order, notifyUrl=alipay_shop.url)
    assert (made["code"], made["outTradeNo"]) == ("10000", "pay_1")
    unseen = await client.call("trade.query", {"outTradeNo": "pay_1"})
    assert unseen["subCode"] == "ACQ.TRADE_NOT_EXIST"
    async with alipay_http.get(made["qrCode"]) as page:
        assert TEA["subject"] in unescape(await page.text())
    await approve(alipay_http, "pay_1")
    paid = await client.call("trade.query", {"outTradeNo": "pay_1"})
    assert (paid["tradeStatus"], paid["totalAmount"]) == ("TRADE_SUCCESS", "12.50")
    told = dict(parse_qsl((await alipay_shop.message(1)).body.decode()))
    assert await client.sdk("verify", parameters=told)
    assert not await client.sdk("verify", parameters={**told, "total_amount": "0.01"})
    refund = {"outTradeNo": "pay_1", "outRequestNo": "ref_1"}
    given = await client.call("trade.refund", {**refund, "refundAmount": "2.50"})
    assert (given["fundChange"], given["refundFee"]) == ("Y", "2.50")
    found = await client.call("trade.fastpay.refund.query", refund)
    assert (found["refundStatus"], found["refundAmount"]) == ("REFUND_SUCCESS", "2.50")


@pytest.mark.parametrize("app", APPS)
async def test_payment_code_and_cancel(
    app: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app)
    code = {"scene": "bar_code", "authCode": await new_code(alipay_http)}
    paid = await client.call("trade.pay", {"outTradeNo": "pay_1", **TEA, **code})
    assert (paid["code"], paid["receiptAmount"]) == ("10000", "12.50")
    taken_back = await client.call("trade.cancel", {"outTradeNo": "pay_1"})
    assert (taken_back["action"], taken_back["retryFlag"]) == ("refund", "N")


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize(
    ("method", "code", "how"),
    [
        ("trade.page.pay", "FAST_INSTANT_TRADE_PAY", "GET"),
        ("trade.page.pay", "FAST_INSTANT_TRADE_PAY", "POST"),
        ("trade.wap.pay", "QUICK_WAP_WAY", "GET"),
        ("trade.app.pay", "QUICK_MSECURITY_PAY", "app"),
    ],
)
async def test_browser_and_app(
    app: str,
    method: str,
    code: str,
    how: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, app)
    more = {} if how == "app" else {"returnUrl": f"{alipay_shop.url}back?a=1"}
    content = {"outTradeNo": "pay_1", "productCode": code, **TEA}
    asked = {"method": f"alipay.{method}", "params": client.params(content, **more)}
    if how == "app":
        text = await client.sdk("app", **asked)
        opened = alipay_http.post("/wallet/app", data={"orderString": text})
    else:
        text = await client.sdk("page", **asked, how=how)
        opened = alipay_http.get(text) if how == "GET" else submit(alipay_http, text)
    async with opened as page:
        assert TEA["subject"] in unescape(await page.text())
        wallet = page.url
    if more:
        async with alipay_http.post(f"{wallet}/approve", allow_redirects=False) as answer:
            told = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert told.pop("a") == "1"
        assert await client.sdk("verify", parameters=told)


async def test_the_sdk_does_not_believe_a_wrong_signature(
    open_sdk: OpenSdk, alipay_simulator: Simulator
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "ordinary")
    bad = {"outTradeNo": "pay_1", **TEA, "totalAmount": "500.05"}  # a scenario
    with pytest.raises(SdkError, match="验签失败"):
        await client.call("trade.precreate", bad)


async def test_the_sdk_finds_the_same_serials_in_certificates(
    open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "certificate")
    sent = parameters_of(requests_of(channel_of(alipay_simulator, "certificate"), context)[0])
    names = ("app_cert_sn", "alipay_root_cert_sn")
    assert await client.sdk("serials") == {name: sent[name] for name in names}


async def test_the_sdk_decrypts_what_our_channel_encrypts(
    open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "encrypted")
    sent, plain = (
        [
            parameters["biz_content"]
            for request in requests_of(channel_of(alipay_simulator, app), context)
            if "biz_content" in (parameters := parameters_of(request))
        ]
        for app in ("encrypted", "ordinary")
    )
    for ciphertext, text in zip(sent, plain, strict=True):
        assert json.loads(await client.sdk("decrypt", text=ciphertext)) == json.loads(text)
