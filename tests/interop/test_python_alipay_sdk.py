"""python-alipay-sdk talks to the simulated Alipay, and signs like Qiao's own channel.

It counts braces without honouring quotes, so no text that Alipay echoes holds one.
"""

import io
import zipfile
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from qiao.channels.requests import Context, Product
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.book import BUYER_ID
from qiao.simulators.alipay.codec import CHINA
from tests.interop.alipay import (
    WITHOUT_A_REQUEST,
    channel_of,
    handed_out,
    parameters_of,
    requests_of,
)
from tests.interop.harness import OpenSdk, Sdk, SdkError, Shop, approve, new_code

APPS = ["ordinary", "sha1", "certificate", "provider"]
TEA = {"subject": "绿茶 Green tea / 250 g & 'best'", "total_amount": "12.50"}


async def open_client(open_sdk: OpenSdk, simulator: Simulator, name: str) -> Sdk:
    credentials, app = simulator.credentials, simulator.credentials.apps[name]
    keys = {
        "appid": app.app_id,
        "app_private_key_string": app.private_key,
        "sign_type": app.sign_type,
    }
    if app.app_certificate:
        keys |= {
            "app_public_key_cert_string": app.app_certificate,
            "alipay_public_key_cert_string": credentials.alipay_certificate,
            "alipay_root_cert_string": credentials.root_certificate,
        }
    else:
        keys["alipay_public_key_string"] = credentials.alipay_public_key
    if app.auth_token:
        keys["app_auth_token"] = app.auth_token
    sdk = await open_sdk("python_alipay_sdk")
    await sdk("open_client", gateway=f"{simulator.base_url}/gateway.do", keys=keys)
    return sdk


@pytest.mark.parametrize("app", APPS)
async def test_qr_from_order_to_bill(
    app: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, app)
    made = await sdk(
        "call",
        method="trade_precreate",
        out_trade_no="pay_1",
        notify_url=alipay_shop.url,
        **TEA,
    )
    assert (made["code"], made["out_trade_no"]) == ("10000", "pay_1")
    unseen = await sdk("call", method="trade_query", out_trade_no="pay_1")
    assert (unseen["code"], unseen["sub_code"]) == ("40004", "ACQ.TRADE_NOT_EXIST")
    async with alipay_http.get(made["qr_code"]) as page:
        assert "¥</small>12.50" in await page.text()
    await approve(alipay_http, "pay_1")
    paid = await sdk("call", method="trade_query", out_trade_no="pay_1")
    assert (paid["trade_status"], paid["total_amount"]) == ("TRADE_SUCCESS", "12.50")
    by_number = await sdk("call", method="trade_query", trade_no=paid["trade_no"])
    assert by_number == paid
    told = dict(parse_qsl((await alipay_shop.message(1)).body.decode()))
    assert await sdk("verify", parameters=told)
    assert not await sdk("verify", parameters={**told, "total_amount": "0.01"})

    refund: dict[str, Any] = {"out_trade_no": "pay_1", "out_request_no": "ref_1"}
    given = await sdk("call", method="trade_refund", refund_amount="2.50", **refund)
    assert (given["fund_change"], given["refund_fee"]) == ("Y", "2.50")
    again = await sdk("call", method="trade_refund", refund_amount="2.50", **refund)
    assert (again["fund_change"], again["refund_fee"]) == ("N", "2.50")
    other = await sdk("call", method="trade_refund", refund_amount="2.51", **refund)
    assert other["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    found = await sdk("call", method="trade_fastpay_refund_query", **refund)
    assert (found["refund_status"], found["refund_amount"]) == ("REFUND_SUCCESS", "2.50")
    told = dict(parse_qsl((await alipay_shop.message(2)).body.decode()))
    assert await sdk("verify", parameters=told)

    day = datetime.now(CHINA).date().isoformat()
    bill = await sdk(
        "server_api",
        method="data.dataservice.bill.downloadurl.query",
        content={"bill_type": "trade", "bill_date": day},
    )
    async with alipay_http.get(bill["bill_download_url"]) as answer:
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
    text = "".join(archive.read(name).decode("gb18030") for name in archive.namelist())
    assert f"{paid['trade_no']}\t,pay_1\t,退款" in text


@pytest.mark.parametrize("app", APPS)
async def test_payment_code_close_and_cancel(
    app: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, app)
    paid = await sdk(
        "call",
        method="trade_pay",
        out_trade_no="pay_1",
        scene="bar_code",
        auth_code=await new_code(alipay_http),
        **TEA,
    )
    assert (paid["code"], paid["receipt_amount"]) == ("10000", "12.50")
    taken_back = await sdk("call", method="trade_cancel", out_trade_no="pay_1")
    assert (taken_back["action"], taken_back["retry_flag"]) == ("refund", "N")
    made = await sdk(
        "call",
        method="trade_create",
        out_trade_no="pay_2",
        buyer_id=BUYER_ID,
        **TEA,
    )
    closed = await sdk("call", method="trade_close", trade_no=made["trade_no"])
    assert (closed["code"], closed["trade_no"]) == ("10000", made["trade_no"])
    found = await sdk("call", method="trade_query", out_trade_no="pay_2")
    assert found["trade_status"] == "TRADE_CLOSED"


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("method", ["trade_page_pay", "trade_wap_pay", "trade_app_pay"])
async def test_browser_and_app(
    app: str,
    method: str,
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, app)
    more = {} if method == "trade_app_pay" else {"return_url": f"{alipay_shop.url}back?a=1"}
    text = await sdk("call", method=method, out_trade_no="pay_1", **TEA, **more)
    if method == "trade_app_pay":
        opened = alipay_http.post("/wallet/app", data={"orderString": text})
    else:
        opened = alipay_http.get(f"/gateway.do?{text}")
    async with opened as page:
        assert "确认付款" in await page.text()
        wallet = page.url
    if more:
        async with alipay_http.post(f"{wallet}/approve", allow_redirects=False) as answer:
            told = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert told.pop("a") == "1"
        assert await sdk("verify", parameters=told)


async def test_money_to_a_person(open_sdk: OpenSdk, alipay_simulator: Simulator) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, "certificate")
    sent = await sdk(
        "call",
        method="fund_trans_uni_transfer",
        out_biz_no="out_1",
        identity_type="ALIPAY_USER_ID",
        identity=BUYER_ID,
        trans_amount="5.00",
    )
    assert (sent["status"], sent["out_biz_no"]) == ("SUCCESS", "out_1")


async def test_what_is_not_signed_right_is_refused_on_either_side(
    open_sdk: OpenSdk, alipay_simulator: Simulator
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, "ordinary")
    bad = {**TEA, "total_amount": "500.05"}  # the scenario: done, answered with a bad signature
    with pytest.raises(SdkError, match="AliPayValidationError"):
        await sdk("call", method="trade_precreate", out_trade_no="pay_1", **bad)
    stranger = alipay_simulator.credentials.apps["second"].private_key
    keys = {
        "appid": alipay_simulator.credentials.apps["ordinary"].app_id,
        "app_private_key_string": stranger,
        "alipay_public_key_string": alipay_simulator.credentials.alipay_public_key,
    }
    await sdk("open_client", gateway=f"{alipay_simulator.base_url}/gateway.do", keys=keys)
    answer = await sdk("call", method="trade_query", out_trade_no="pay_1")
    assert answer["sub_code"] == "isv.invalid-signature"


@pytest.mark.parametrize("app", APPS)
async def test_the_sdk_signs_what_our_channel_sends_in_the_same_way(
    app: str, open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, app)
    for request in requests_of(channel_of(alipay_simulator, app), context):
        parameters = parameters_of(request)
        signature = parameters.pop("sign")
        assert await sdk("sign", parameters=parameters) == signature


async def test_the_sdk_finds_the_same_serials_in_certificates(
    open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, "certificate")
    sent = parameters_of(requests_of(channel_of(alipay_simulator, "certificate"), context)[0])
    names = ("app_cert_sn", "alipay_root_cert_sn")
    assert await sdk("serials") == {name: sent[name] for name in names}


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("product", WITHOUT_A_REQUEST)
async def test_the_sdk_signs_what_our_channel_hands_out_in_the_same_way(
    app: str, product: Product, open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_client(open_sdk, alipay_simulator, app)
    parameters = handed_out(channel_of(alipay_simulator, app), product, context)
    signature = parameters.pop("sign")
    assert await sdk("sign", parameters=parameters) == signature
