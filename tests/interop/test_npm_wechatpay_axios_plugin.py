"""wechatpay-axios-plugin (Node) talks to the simulated WeChat Pay, and verifies our channel."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from qiao.channels.requests import Context
from qiao.simulators.wechat import Simulator
from qiao.simulators.wechat.book import CHINA
from tests.interop.harness import OpenSdk, Sdk, SdkError, Shop, approve
from tests.interop.wechat import channel_of, requests_of

MODES = ["ordinary", "certificate"]


class Client:
    """wechatpay-axios-plugin, opened for one merchant."""

    def __init__(self, sdk: Sdk) -> None:
        self.sdk = sdk

    async def get(self, path: str, /, *, status: int = 200, **params: Any) -> Any:
        answer = await self.sdk("request", method="get", path=path, params=params)
        assert answer["status"] == status, answer
        return answer["body"]

    async def post(self, path: str, data: dict[str, Any], /, *, status: int = 200) -> Any:
        answer = await self.sdk("request", method="post", path=path, data=data)
        assert answer["status"] == status, answer
        return answer["body"]

    async def file(self, url: str) -> str:
        """As base64."""
        token = urlsplit(url).query.removeprefix("token=")
        answer = await self.sdk(
            "request",
            method="get",
            path="v3/billdownload/file",
            params={"token": token},
            responseType="arraybuffer",
        )
        assert answer["status"] == 200
        content: str = answer["body"]
        return content


async def open_client(open_sdk: OpenSdk, simulator: Simulator, name: str) -> Client:
    settings = simulator.credentials.settings(name, base_url=simulator.base_url)
    sdk = await open_sdk("npm_wechatpay_axios_plugin")
    await sdk(
        "openClient",
        settings={
            "baseURL": f"{simulator.base_url}/",
            "mchid": settings["mchid"],
            "serial": settings["serial_no"],
            "privateKey": settings["private_key"],
            "certs": settings["platform_keys"],
        },
    )
    return Client(sdk)


@pytest.mark.parametrize("mode", MODES)
async def test_native_from_order_to_bill(
    mode: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
    wechat_shop: Shop,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    merchant = wechat_simulator.credentials.merchants[mode]
    mchid = merchant.mchid
    order = {
        "mchid": mchid,
        "appid": merchant.appid,
        "out_trade_no": "pay_000001",
        "description": "绿茶 Green tea {250 g}",
        "amount": {"total": 1250, "currency": "CNY"},
        "notify_url": wechat_shop.url,
    }
    made = await client.post("v3/pay/transactions/native", order)
    async with wechat_http.get(made["code_url"]) as page:
        assert "¥</small>12.50" in await page.text()
    path = "v3/pay/transactions/outTradeNo/pay_000001"
    assert (await client.get(path, mchid=mchid))["trade_state"] == "NOTPAY"
    async with wechat_http.post("/_control/platform_keys/rotate"):
        pass  # the answers below are signed by the next of several keys
    await approve(wechat_http, "pay_000001")
    paid = await client.get(path, mchid=mchid)
    assert paid["trade_state"] == "SUCCESS"
    by_id = await client.get(f"v3/pay/transactions/id/{paid['transaction_id']}", mchid=mchid)
    assert by_id == paid

    told = await wechat_shop.message(1)
    settings = wechat_simulator.credentials.settings(mode, base_url="")
    keys: Any = settings["platform_keys"]
    message = {
        "headers": dict(told.headers),
        "body": told.body.decode(),
        "publicKey": keys[told.headers["wechatpay-serial"]],
        "key": merchant.api_v3_key,
    }
    assert await client.sdk("open", **message) == paid
    assert await client.sdk("open", **{**message, "body": f"{message['body']} "}) is None

    refund = {
        "out_refund_no": "ref_000001",
        "out_trade_no": "pay_000001",
        "amount": {"refund": 250, "total": 1250, "currency": "CNY"},
    }
    given = await client.post("v3/refund/domestic/refunds", refund)
    assert given["status"] == "SUCCESS"
    assert await client.get("v3/refund/domestic/refunds/ref_000001") == given

    day = datetime.now(CHINA).date().isoformat()
    for name in ("tradebill", "fundflowbill"):
        bill = await client.get(f"v3/bill/{name}", bill_date=day)
        # It cuts off a byte order mark, which this fund flow bill has not got, and with it a part
        # of the first column's name.
        read = await client.sdk("bill", content=await client.file(bill["download_url"]))
        if name == "tradebill":
            assert [row["商户订单号"] for row in read["rows"]] == ["pay_000001"] * 2
            assert read["summary"]["总交易单数"] == "2.0"
        else:
            assert [row["收支类型"] for row in read["rows"]] == ["收入", "支出"]
            numbers = [row["微信支付业务单号"] for row in read["rows"]]
            assert numbers == [paid["transaction_id"], given["refund_id"]]
            assert read["summary"]["资金流水总笔数"] == "2.0"


async def test_close(open_sdk: OpenSdk, wechat_simulator: Simulator) -> None:
    client = await open_client(open_sdk, wechat_simulator, "ordinary")
    merchant = wechat_simulator.credentials.merchants["ordinary"]
    path = "v3/pay/transactions/outTradeNo/pay_000001"
    mchid = {"mchid": merchant.mchid}
    refused = await client.post(f"{path}/close", mchid, status=404)
    assert refused["code"] == "ORDER_NOT_EXIST"
    order = {
        "appid": merchant.appid,
        "out_trade_no": "pay_000001",
        "description": "绿茶",
        "amount": {"total": 1250},
        "notify_url": "https://shop.example/notify",
        **mchid,
    }
    await client.post("v3/pay/transactions/app", order)
    await client.post(f"{path}/close", mchid, status=204)  # an empty answer, signed too
    assert (await client.get(path, mchid=merchant.mchid))["trade_state"] == "CLOSED"
    bad = {**order, "out_trade_no": "pay_000002", "amount": {"total": 50005}}  # a scenario
    with pytest.raises(SdkError, match="Verify the response's data"):
        await client.post("v3/pay/transactions/app", bad)


@pytest.mark.parametrize("mode", ["ordinary", "certificate", "provider"])
async def test_the_sdk_verifies_what_our_channel_signs(
    mode: str, open_sdk: OpenSdk, wechat_simulator: Simulator, context: Context
) -> None:
    sdk = await open_sdk("npm_wechatpay_axios_plugin")
    certificate = wechat_simulator.credentials.merchants[mode].certificate
    for request in requests_of(channel_of(wechat_simulator, mode), context):
        parts = urlsplit(request.url)
        told = dict(re.findall(r'(\w+)="([^"]*)"', request.headers["authorization"]))
        asked = {
            "method": request.method,
            "target": f"{parts.path}?{parts.query}" if parts.query else parts.path,
            "timestamp": told["timestamp"],
            "nonce": told["nonce_str"],
            "body": request.body.decode(),
            "signature": told["signature"],
            "publicKey": certificate,
        }
        assert await sdk("verifyRequest", **asked)
        assert not await sdk("verifyRequest", **{**asked, "target": "/v3/other"})
