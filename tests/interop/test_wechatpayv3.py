"""wechatpayv3 talks to the simulated WeChat Pay, and signs like Qiao's own channel."""

import base64
import gzip
import hashlib
import json
import re
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from qiao.channels.requests import (
    Context,
    Product,
    TransferRequest,
)
from qiao.domain.money import Money
from qiao.domain.outcomes import ClientParameters, Pending
from qiao.simulators.wechat import Merchant, Simulator
from qiao.simulators.wechat.book import CHINA, OPENID
from tests.interop.harness import OpenSdk, Sdk, SdkError, Shop, approve, listener, new_code
from tests.interop.wechat import NOTIFY_URL, channel_of, order, requests_of

SUB = {"sub_mchid": "1900000101"}
MODES = ["ordinary", "certificate", "provider"]


def keys_of(merchant: Merchant) -> dict[str, Any]:
    return {
        "mchid": merchant.mchid,
        "private_key": merchant.private_key,
        "cert_serial_no": merchant.serial_no,
        "appid": merchant.appid,
        "apiv3_key": merchant.api_v3_key,
        "notify_url": NOTIFY_URL,
        "partner_mode": merchant.sub_mchid is not None,
    }


class Client:
    """wechatpayv3, opened for one merchant."""

    def __init__(self, sdk: Sdk, merchant: Merchant) -> None:
        self.sdk = sdk
        self.merchant = merchant
        self.sub: dict[str, Any] = SUB if merchant.sub_mchid else {}

    async def call(self, method: str, /, *, status: int = 200, **arguments: Any) -> Any:
        """What was answered, its signature verified by the SDK (which it does for every 2xx)."""
        answer = await self.sdk("call", method=method, **arguments)
        assert answer["status"] == status, answer
        return json.loads(answer["body"]) if answer["body"] else None

    async def pay(self, pay_type: str, number: str, /, **more: Any) -> Any:
        return await self.call(
            "pay",
            pay_type=pay_type,
            out_trade_no=number,
            description="绿茶 Green tea {250 g}",
            amount={"total": 1250, "currency": "CNY"},
            **self.sub,
            **more,
        )

    async def file(self, url: str) -> bytes:
        answer = await self.sdk("call", method="download_bill", url=url)
        assert answer["status"] == 200
        return base64.b64decode(answer["body"])


async def open_client(
    open_sdk: OpenSdk, simulator: Simulator, name: str, gateway: str | None = None
) -> Client:
    merchant = simulator.credentials.merchants[name]
    sdk = await open_sdk("wechatpayv3")
    newest = simulator.credentials.public_keys[0]
    key = {"public_key": newest.public_key, "public_key_id": newest.id}
    await sdk(
        "open_client",
        gateway=gateway or simulator.base_url,
        keys=keys_of(merchant),
        public_key=None if merchant.certificate_mode else key,
    )
    return Client(sdk, merchant)


@pytest.mark.parametrize("mode", MODES)
async def test_native_from_order_to_bill(
    mode: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
    wechat_shop: Shop,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    number, sub = f"pay_{mode}", client.sub
    made = await client.pay("NATIVE", number, notify_url=wechat_shop.url)
    async with wechat_http.get(made["code_url"]) as page:
        assert "¥</small>12.50" in await page.text()
    found = await client.call("query", out_trade_no=number, **sub)
    assert found["trade_state"] == "NOTPAY"
    await approve(wechat_http, number)
    paid = await client.call("query", out_trade_no=number, **sub)
    assert (paid["trade_state"], paid["amount"]["total"]) == ("SUCCESS", 1250)
    trade = paid["transaction_id"]
    assert await client.call("query", transaction_id=trade, **sub) == paid

    told = await wechat_shop.message(1)
    arguments: dict[str, Any] = {"headers": dict(told.headers), "body": told.body.decode()}
    event = await client.sdk("callback", **arguments)
    assert event["event_type"] == "TRANSACTION.SUCCESS"
    assert event["resource"] == paid
    forged = {**arguments, "body": arguments["body"].replace("支付成功", "支付失败")}
    assert await client.sdk("callback", **forged) is None

    refund: dict[str, Any] = {
        "out_refund_no": "ref_000001",
        "transaction_id": trade,
        "amount": {"refund": 250, "total": 1250, "currency": "CNY"},
        "reason": "太凉了",
        "notify_url": wechat_shop.url,
        **sub,
    }
    given = await client.call("refund", **refund)
    assert (given["status"], given["amount"]["refund"]) == ("SUCCESS", 250)
    assert await client.call("refund", **refund) == given
    assert await client.call("query_refund", out_refund_no="ref_000001", **sub) == given
    told = await wechat_shop.message(2)
    event = await client.sdk("callback", headers=dict(told.headers), body=told.body.decode())
    assert event["event_type"] == "REFUND.SUCCESS"
    resource, amount = event["resource"], {"total": 1250, "refund": 250}
    assert (resource["refund_status"], resource["refund_id"]) == ("SUCCESS", given["refund_id"])
    assert resource["amount"] == {**amount, "payer_total": 1250, "payer_refund": 250}
    more = {"refund": 1001, "total": 1250, "currency": "CNY"}
    again = {**refund, "out_refund_no": "ref_000002", "amount": more}
    refused = await client.call("refund", status=400, **again)
    assert refused["code"] == "INVALID_REQUEST"

    day = datetime.now(CHINA).date().isoformat()
    for method, whose in (("trade_bill", sub), ("fundflow_bill", {})):
        for packing in ("GZIP", ""):
            bill = await client.call(method, bill_date=day, tar_type=packing, **whose)
            content = await client.file(bill["download_url"])
            text = gzip.decompress(content) if packing else content
            assert hashlib.sha1(text).hexdigest() == bill["hash_value"]
            assert trade.encode() in text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pay_type", ["JSAPI", "MINIPROG", "APP", "H5"])
async def test_what_the_sdk_hands_to_page_and_app_opens_the_wallet(
    mode: str,
    pay_type: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    payer = {"sp_openid" if client.sub else "openid": OPENID}
    scene = {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}
    made = await client.pay(pay_type, "pay_000001", payer=payer, scene_info=scene)
    app, moment, nonce = client.merchant.appid, str(int(time.time())), "9f" * 16
    if pay_type == "H5":
        opened = wechat_http.get(made["h5_url"])
    elif pay_type == "APP":
        signature = await client.sdk("sign", lines=[app, moment, nonce, made["prepay_id"]])
        told = {"appid": app, "timestamp": moment, "noncestr": nonce, "sign": signature}
        opened = wechat_http.post("/wallet/app", data={**told, "prepayid": made["prepay_id"]})
    else:
        package = f"prepay_id={made['prepay_id']}"
        signature = await client.sdk("sign", lines=[app, moment, nonce, package])
        told = {"appId": app, "timeStamp": moment, "nonceStr": nonce, "paySign": signature}
        opened = wechat_http.post("/wallet/jsapi", data={**told, "package": package})
    async with opened as page:
        assert "确认付款" in await page.text()
    assert await client.call("close", out_trade_no="pay_000001", status=204, **client.sub) is None
    found = await client.call("query", out_trade_no="pay_000001", **client.sub)
    assert found["trade_state"] == "CLOSED"


@pytest.mark.parametrize("mode", MODES)
async def test_payment_code_and_taking_it_back(
    mode: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    payer = {"auth_code": await new_code(wechat_http)}
    scene = {"store_info": {"id": "0001"}}
    paid = await client.pay("CODEPAY", "pay_000001", payer=payer, scene_info=scene)
    assert (paid["trade_state"], paid["trade_type"]) == ("SUCCESS", "MICROPAY")
    await client.call("codepay_reverse", out_trade_no="pay_000001", **client.sub)
    found = await client.call("query", out_trade_no="pay_000001", **client.sub)
    assert found["trade_state"] == "REVOKED"


@pytest.mark.parametrize("mode", ["ordinary", "certificate"])
async def test_transfers(
    mode: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    sent = await client.call(
        "mch_transfer_bills",
        out_bill_no="out0001",
        transfer_scene_id="1000",
        openid=OPENID,
        transfer_amount=500,
        transfer_remark="谢谢",
        user_name="张三",  # encrypted by the SDK
        transfer_scene_report_infos=[{"info_type": "活动名称", "info_content": "新会员有礼"}],
    )
    assert sent["state"] == "WAIT_USER_CONFIRM"
    asked = await client.call("mch_transfer_bills_query", out_bill_no="out0001")
    assert asked["transfer_bill_no"] == sent["transfer_bill_no"]


@pytest.mark.parametrize("mode", ["ordinary", "certificate"])
async def test_profit_sharing(
    mode: str,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    wechat_http: aiohttp.ClientSession,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, mode)
    payer = {"auth_code": await new_code(wechat_http)}
    scene = {"store_info": {"id": "0001"}}
    paid = await client.pay(
        "CODEPAY",
        "pay_000001",
        payer=payer,
        scene_info=scene,
        settle_info={"profit_sharing": True},
    )
    await client.call(
        "profitsharing_add_receiver",
        account_type="MERCHANT_ID",
        account="1900000109",
        relation_type="PARTNER",
        name="茶园",  # encrypted by the SDK
    )
    receiver = {"type": "MERCHANT_ID", "account": "1900000109", "name": "茶园", "amount": 100}
    shared = await client.call(
        "profitsharing_order",
        transaction_id=paid["transaction_id"],
        out_order_no="share_1",
        receivers=[{**receiver, "description": "part"}],
        unfreeze_unsplit=False,
    )
    found = await client.call(
        "profitsharing_order_query",
        transaction_id=paid["transaction_id"],
        out_order_no="share_1",
    )
    assert (found["state"], found["order_id"]) == ("FINISHED", shared["order_id"])
    returned = await client.call(
        "profitsharing_return",
        out_order_no="share_1",
        out_return_no="return_1",
        return_mchid="1900000109",
        amount=60,
        description="back",
    )
    asked = await client.call(
        "profitsharing_return_query", out_order_no="share_1", out_return_no="return_1"
    )
    assert (asked["result"], asked) == ("SUCCESS", returned)
    released = await client.call(
        "profitsharing_unfreeze",
        transaction_id=paid["transaction_id"],
        out_order_no="release_1",
        description="done",
    )
    assert [one["amount"] for one in released["receivers"]] == [1250 - 100 + 60]
    await client.call(
        "profitsharing_delete_receiver", account_type="MERCHANT_ID", account="1900000109"
    )


async def test_complaints(
    open_sdk: OpenSdk, wechat_simulator: Simulator, wechat_http: aiohttp.ClientSession
) -> None:
    client = await open_client(open_sdk, wechat_simulator, "ordinary")
    payer = {"auth_code": await new_code(wechat_http)}
    scene = {"store_info": {"id": "0001"}}
    paid = await client.pay("CODEPAY", "pay_000001", payer=payer, scene_info=scene)
    complain = f"{wechat_simulator.base_url}/_control/payments/pay_000001/complain"
    async with wechat_http.post(complain, json={"text": "凉了"}) as answer:
        number = (await answer.json())["number"]
    day = paid["success_time"][:10]
    listed = await client.call("complaint_list_query", begin_date=day, end_date=day)
    assert [one["complaint_id"] for one in listed["data"]] == [number]
    one = await client.call("complaint_detail_query", complaint_id=number)
    assert (one["complaint_detail"], one["complaint_state"]) == ("凉了", "PENDING")
    said = {"complaint_id": number, "response_content": "抱歉"}
    await client.call("complaint_response", **said, status=204)
    await client.call("complaint_complete", complaint_id=number, status=204)
    told = await client.call("complaint_history_query", complaint_id=number)
    assert [line["operate_details"] for line in told["data"]] == ["凉了", "抱歉"]
    one = await client.call("complaint_detail_query", complaint_id=number)
    assert one["complaint_state"] == "PROCESSED"
    await client.call("complaint_response", **said, status=400)


async def test_platform_keys_change_under_the_sdk(
    open_sdk: OpenSdk, wechat_simulator: Simulator, wechat_http: aiohttp.ClientSession
) -> None:
    client = await open_client(open_sdk, wechat_simulator, "certificate")
    await client.pay("NATIVE", "pay_000001")
    async with wechat_http.post("/_control/platform_keys/rotate"):
        pass
    await client.call("query", out_trade_no="pay_000001")


async def test_the_sdk_does_not_believe_a_wrong_signature(
    open_sdk: OpenSdk, wechat_simulator: Simulator
) -> None:
    client = await open_client(open_sdk, wechat_simulator, "ordinary")
    with pytest.raises(SdkError, match="failed to verify the signature"):
        await client.sdk(
            "call",
            method="pay",
            pay_type="NATIVE",
            out_trade_no="pay_000001",
            description="绿茶",
            amount={"total": 50005},  # the scenario: done, and answered with a wrong signature
        )
    refused = await client.call("query", out_trade_no="pay_000002", status=404)
    assert refused["code"] == "ORDER_NOT_EXIST"


@pytest.mark.parametrize("mode", MODES)
async def test_the_sdk_signs_what_our_channel_sends_in_the_same_way(
    mode: str, open_sdk: OpenSdk, wechat_simulator: Simulator, context: Context
) -> None:
    sdk = await open_sdk("wechatpayv3")
    for request in requests_of(channel_of(wechat_simulator, mode), context):
        parts = urlsplit(request.url)
        theirs = await sdk(
            "authorization",
            method=request.method,
            target=f"{parts.path}?{parts.query}" if parts.query else parts.path,
            body=request.body.decode(),
            nonce=context.nonce(),
            timestamp=int(context.now().timestamp()),
            keys=keys_of(wechat_simulator.credentials.merchants[mode]),
        )
        assert attributes(request.headers["authorization"]) == attributes(theirs)


def attributes(authorization: str) -> tuple[str, dict[str, str]]:
    scheme, _, rest = authorization.partition(" ")
    return scheme, dict(re.findall(r'(\w+)="([^"]*)"', rest))


PAY_TYPES = {
    Product.QR: "NATIVE",
    Product.CODE: "CODEPAY",
    Product.H5: "H5",
    Product.APP: "APP",
    Product.MINI_PROGRAM: "MINIPROG",
    Product.OFFICIAL_ACCOUNT: "JSAPI",
}


def calls(context: Context, sub: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What the SDK is asked for, in the order of ``requests_of``."""
    asked = order(Product.QR, context)
    amount = {"total": asked.amount.minor, "currency": "CNY"}
    pays = []
    for product in (one for one in Product if one in PAY_TYPES):
        arguments: dict[str, Any] = {
            "pay_type": PAY_TYPES[product],
            "out_trade_no": asked.reference,
            "description": asked.description,
            "amount": amount,
        }
        if product in (Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT):
            arguments["payer"] = {"sp_openid" if sub else "openid": OPENID}
        if product is Product.CODE:
            arguments["payer"] = {"auth_code": order(product, context).auth_code}
            arguments["scene_info"] = {"store_info": {"id": "1"}}
        if product is Product.H5:
            arguments["scene_info"] = {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}
        pays.append(("pay", {**arguments, **sub}))
    number, back = {"out_trade_no": "pay_000001", **sub}, {"out_refund_no": "ref_000001", **sub}
    day = {"bill_date": "2026-11-25"}
    share = {"type": "MERCHANT_ID", "account": "1900000109", "amount": 100, "description": "part"}
    sent = {
        "out_bill_no": "out0001",
        "transfer_scene_id": "1000",
        "openid": OPENID,
        "transfer_amount": 500,
        "transfer_remark": "thanks",
    }
    shared = {"transaction_id": "4200000001", "out_order_no": "share_1", **sub}
    returned = {"out_return_no": "return_1", "out_order_no": "share_1", **sub}
    from_whom = {"return_mchid": "1900000109", "amount": 100, "description": "back"}
    receiver = {"account_type": "PERSONAL_OPENID", "account": OPENID, **sub}
    return [
        *pays,
        ("query", number),
        ("close", number),
        ("codepay_reverse", number),
        ("refund", {**number, **back, "amount": {"refund": 250, **amount}, "reason": "太凉了"}),
        ("query_refund", back),
        ("trade_bill", {**day, **sub}),
        ("fundflow_bill", day),
        ("profitsharing_order", {**shared, "receivers": [share], "unfreeze_unsplit": True}),
        ("profitsharing_order_query", shared),
        ("profitsharing_unfreeze", {**shared, "description": "解冻剩余资金"}),
        ("profitsharing_return", {**returned, **from_whom}),
        ("profitsharing_return_query", returned),
        ("profitsharing_add_receiver", {**receiver, "relation_type": "PARTNER"}),
        ("profitsharing_delete_receiver", receiver),
        ("mch_transfer_bills", sent),
        ("mch_transfer_bills_query", {"out_bill_no": "out0001"}),
    ]


@pytest.mark.parametrize("mode", ["ordinary", "provider"])
async def test_our_channel_says_all_that_the_sdk_says(
    mode: str, open_sdk: OpenSdk, wechat_simulator: Simulator, context: Context
) -> None:
    ours = requests_of(channel_of(wechat_simulator, mode), context)
    async with listener() as (url, heard):
        client = await open_client(open_sdk, wechat_simulator, mode, gateway=url)
        for method, arguments in calls(context, client.sub):
            await client.sdk("call", method=method, **arguments)
    for mine, theirs in zip(ours, heard, strict=True):
        parts, other = urlsplit(mine.url), urlsplit(theirs.target)
        assert (mine.method, parts.path) == (theirs.method, other.path)
        assert set(parse_qsl(other.query)) <= set(parse_qsl(parts.query))
        assert left_out(json.loads(theirs.body or b"{}"), json.loads(mine.body or b"{}")) == []


def left_out(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """Where their object holds something that ours does not."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [(name, f"{where}.{name}") for name in theirs]
        return [one for name, at in names for one in left_out(theirs[name], ours.get(name), at)]
    return [] if theirs == ours else [f"{where}: {theirs!r}, {ours!r}"]


@pytest.mark.parametrize("product", [Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT, Product.APP])
async def test_the_sdk_signs_what_our_channel_hands_out_in_the_same_way(
    product: Product,
    open_sdk: OpenSdk,
    wechat_simulator: Simulator,
    context: Context,
    transport: Any,
) -> None:
    client = await open_client(open_sdk, wechat_simulator, "ordinary")
    channel = channel_of(wechat_simulator, "ordinary")
    made = await transport.run(channel.create(order(product, context), context))
    assert isinstance(made, Pending)
    assert isinstance(made.action, ClientParameters)
    told = dict(made.action.parameters)
    names = ["appId", "timeStamp", "nonceStr", "package"]
    if product is Product.APP:
        names = ["appid", "timestamp", "noncestr", "prepayid"]
    signature = told.get("sign") or told["paySign"]
    assert await client.sdk("sign", lines=[told[name] for name in names]) == signature


async def test_the_sdk_reads_the_name_that_our_channel_encrypts(
    open_sdk: OpenSdk, wechat_simulator: Simulator, context: Context
) -> None:
    request = TransferRequest(
        reference="out0001",
        amount=Money(500, "CNY"),
        payee=OPENID,
        payee_name="张三",
        description="thanks",
    )
    sent = next(channel_of(wechat_simulator, "ordinary").transfer(request, context))
    private = {key.id: key.private_key for key in wechat_simulator.credentials.public_keys}
    sdk = await open_sdk("wechatpayv3")
    plain = await sdk(
        "decrypt",
        ciphertext=json.loads(sent.body)["user_name"],
        private_key=private[sent.headers["wechatpay-serial"]],
    )
    assert plain == "张三"
