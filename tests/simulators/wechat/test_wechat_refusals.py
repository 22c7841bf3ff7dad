"""What the simulated WeChat Pay refuses because a request does not say whose it is."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from qiao.channels.interface import Channel
from qiao.channels.requests import Context, PaymentRequest, Product
from qiao.channels.wechat.account import Account
from qiao.channels.wechat.gateway import Answer, Gateway
from qiao.channels.wechat.settings import WechatSettings
from qiao.domain.outcomes import Succeeded
from qiao.simulators.wechat import Simulator
from qiao.transport.asynchronous import AsyncTransport

ME, SUB = {"mchid": "1900000001"}, {"sub_mchid": "1900000101"}
PROVIDER = {"sp_mchid": "1900000004", **SUB}
APP = {"appid": "wx0000000000000001"}
ORDERS, PARTNER = "/v3/pay/transactions", "/v3/pay/partner/transactions"
NUMBER = "out-trade-no/pay_000001"
REFUND = {
    "out_trade_no": "pay_000001",
    "out_refund_no": "ref_1",
    "amount": {"refund": 1, "total": 1250, "currency": "CNY"},
}


@pytest.mark.parametrize(
    ("merchant", "method", "path", "told", "status", "code"),
    [
        ("ordinary", "GET", f"{ORDERS}/{NUMBER}", {}, 400, "PARAMERROR"),
        ("ordinary", "GET", f"{ORDERS}/{NUMBER}", {"mchid": "1900000002"}, 400, "PARAMERROR"),
        ("ordinary", "GET", f"{ORDERS}/{NUMBER}", ME, 200, ""),
        ("ordinary", "GET", f"{ORDERS}/id/1", {}, 400, "PARAMERROR"),
        ("ordinary", "GET", f"{PARTNER}/{NUMBER}", ME, 403, "NOAUTH"),
        ("ordinary", "POST", f"{ORDERS}/{NUMBER}/close", {}, 400, "PARAMERROR"),
        ("ordinary", "POST", f"{ORDERS}/{NUMBER}/reverse", ME, 400, "PARAMERROR"),
        ("ordinary", "POST", f"{ORDERS}/{NUMBER}/reverse", {**ME, **APP}, 200, ""),
        ("provider", "GET", f"{ORDERS}/{NUMBER}", PROVIDER, 403, "NOAUTH"),
        ("provider", "GET", f"{PARTNER}/{NUMBER}", {"sp_mchid": "1900000004"}, 400, "PARAMERROR"),
        ("provider", "GET", f"{PARTNER}/{NUMBER}", PROVIDER, 200, ""),
        ("provider", "POST", f"{PARTNER}/{NUMBER}/reverse", PROVIDER, 200, ""),
        ("provider", "POST", "/v3/refund/domestic/refunds", REFUND, 400, "PARAMERROR"),
        ("provider", "POST", "/v3/refund/domestic/refunds", {**REFUND, **SUB}, 200, ""),
        ("provider", "GET", "/v3/refund/domestic/refunds/ref_1", {}, 400, "PARAMERROR"),
        ("provider", "GET", "/v3/refund/domestic/refunds/ref_1", SUB, 404, "RESOURCENOTEXISTS"),
        ("provider", "POST", "/v3/profitsharing/orders", {}, 400, "PARAMERROR"),
        ("provider", "GET", "/v3/profitsharing/orders/s_1", {}, 400, "PARAMERROR"),
    ],
)
async def test_whose_it_is(
    merchant: str,
    method: str,
    path: str,
    told: dict[str, Any],
    status: int,
    code: str,
    simulator: Simulator,
    open_channel: Callable[[str], Channel],
    transport: AsyncTransport,
    http: aiohttp.ClientSession,
    order: Callable[..., PaymentRequest],
    context: Context,
) -> None:
    async with http.post("/_control/auth_codes") as answer:
        scanned = (await answer.json())["auth_code"]
    paying = order("pay_000001", product=Product.CODE, auth_code=scanned)
    paid = await transport.run(open_channel(merchant).create(paying, context))
    assert isinstance(paid, Succeeded)

    settings = simulator.credentials.settings(merchant, base_url=simulator.base_url)
    gateway = Gateway(account=Account.load(WechatSettings.read(settings)))
    where = {"query": told} if method == "GET" else {"body": told}
    found = await transport.run(gateway.call(method, path, context, **where))
    assert isinstance(found, Answer)
    assert (found.status, found.code) == (status, code)


async def test_a_code_payment_says_where_it_was_scanned(
    simulator: Simulator, transport: AsyncTransport, context: Context
) -> None:
    settings = simulator.credentials.settings("ordinary", base_url=simulator.base_url)
    gateway = Gateway(account=Account.load(WechatSettings.read(settings)))
    body = {
        **ME,
        **APP,
        "out_trade_no": "pay_000001",
        "description": "tea",
        "amount": {"total": 1250},
        "payer": {"auth_code": simulator.book.new_code()},
    }
    refused = await transport.run(gateway.call("POST", f"{ORDERS}/codepay", context, body=body))
    assert isinstance(refused, Answer)
    assert (refused.status, refused.code) == (400, "PARAMERROR")
