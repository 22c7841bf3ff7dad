"""Agreements (周期扣款) by Alipay's own SDK: at the simulator, and in what Qiao's channel sends."""

import json
from datetime import date, datetime

import aiohttp
from yarl import URL

from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
    ChargeRule,
    Context,
    Product,
)
from qiao.domain.outcomes import AgreementPending, QrCode
from qiao.domain.periods import PeriodUnit
from qiao.simulators.alipay import Simulator
from qiao.simulators.alipay.codec import CHINA
from tests.interop.alipay import AMOUNT, channel_of, parameters_of
from tests.interop.harness import OpenSdk, Shop
from tests.interop.test_alipay_sdk_python import body_of, name_of, open_client

NAMED = {
    "personal_product_code": "CYCLE_PAY_AUTH_P",
    "sign_scene": "INDUSTRY|EDU",
    "external_agreement_no": "agr1",
}


async def test_signed_charged_and_ended_by_the_sdk(
    open_sdk: OpenSdk,
    alipay_simulator: Simulator,
    alipay_http: aiohttp.ClientSession,
    alipay_shop: Shop,
) -> None:
    client = await open_client(open_sdk, alipay_simulator, "ordinary")
    content = {
        **NAMED,
        "product_code": "CYCLE_PAY_AUTH",
        "access_params": {"channel": "QRCODE"},
        "period_rule_params": {
            "period_type": "DAY",
            "period": 30,
            "execute_time": datetime.now(CHINA).date().isoformat(),
            "single_amount": "20.00",
        },
    }
    url = await client.sdk(
        "page",
        name="AlipayUserAgreementPageSign",
        content=content,
        options=client.options(notify_url=alipay_shop.url),
        http_method="GET",
    )
    missing = await client.call("AlipayUserAgreementQuery", NAMED)
    assert (missing["is_success"], missing["sub_code"]) == (False, "USER_AGREEMENT_NOT_EXIST")
    async with alipay_http.get(url) as page:
        wallet = page.url.path
    (await alipay_http.post(f"{wallet}/approve")).close()
    found = await client.call("AlipayUserAgreementQuery", NAMED)
    assert (found["status"], found["external_agreement_no"]) == ("NORMAL", "agr1")
    told = client.read((await alipay_shop.message(1)).body)
    assert (told["notify_type"], told["status"]) == ("dut_user_sign", "NORMAL")
    assert await client.believes(told)

    order = {
        "out_trade_no": "pay_1",
        "subject": "Lessons 课程",
        "total_amount": "12.50",
        "product_code": "CYCLE_PAY_AUTH",
        "agreement_params": {"agreement_no": found["agreement_no"]},
    }
    paid = await client.call("AlipayTradePay", order)
    assert (paid["code"], paid["receipt_amount"]) == ("10000", "12.50")
    ended = await client.call("AlipayUserAgreementUnsign", NAMED)
    assert ended["is_success"]
    told = client.read((await alipay_shop.message(2)).body)
    assert (told["notify_type"], told["status"]) == ("dut_user_unsign", "UNSIGN")
    assert await client.believes(told)
    refused = await client.call("AlipayTradePay", {**order, "out_trade_no": "pay_2"})
    assert refused["sub_code"] == "ACQ.AGREEMENT_NOT_EXIST"


async def test_the_sdk_knows_and_verifies_what_our_channel_sends(
    open_sdk: OpenSdk, alipay_simulator: Simulator, context: Context
) -> None:
    sdk = await open_sdk("alipay_sdk_python")
    channel = channel_of(alipay_simulator, "ordinary")
    rule = ChargeRule(max_amount=AMOUNT, unit=PeriodUnit.MONTH, count=1, first_on=date(2026, 12, 1))
    request = AgreementRequest(
        reference="agr1",
        product=Product.QR,
        rule=rule,
        display_name="member 17",
        notify_url="https://shop.example/notify",
        plan="INDUSTRY|EDU",
    )
    query = AgreementQuery(reference="agr1", plan="INDUSTRY|EDU")
    charge = AgreementCharge(
        reference="pay_1",
        amount=AMOUNT,
        agreement_reference="20260115000000000001",
        description="Lessons 课程",
        notify_url="https://shop.example/notify",
    )
    operation = channel.sign(request, context)
    try:
        next(operation)
        raise AssertionError("it asks for nothing")
    except StopIteration as end:
        pending = end.value
    assert isinstance(pending, AgreementPending)
    assert isinstance(pending.action, QrCode)
    asked = [
        dict(URL(pending.action.content, encoded=True).query),
        parameters_of(next(channel.query_agreement(query, context))),
        parameters_of(next(channel.end_agreement(query, context))),
        parameters_of(next(channel.charge(charge, context))),
    ]
    key = body_of(alipay_simulator.credentials.apps["ordinary"].public_key)
    for parameters in asked:
        assert await sdk("verify", parameters=parameters, public_key=key, without=["sign"])
        name, content = name_of(parameters), json.loads(parameters["biz_content"])
        assert await sdk("as_the_model_knows_it", name=name, content=content) == content
