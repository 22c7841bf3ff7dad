"""Asking Alipay for a payment: each product's whole payload, and what each answer means."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from qiao.channels.requests import PaymentRequest, Product
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AwaitCustomer,
    ClientParameters,
    Declined,
    Pending,
    QrCode,
    Redirect,
    Succeeded,
)

CORE = {
    "out_trade_no": "att01",
    "total_amount": "12.30",
    "subject": "一杯茶 & tea",
    "time_expire": "2026-01-02 11:34:05",
}
METHOD = {
    Product.QR: "alipay.trade.precreate",
    Product.CODE: "alipay.trade.pay",
    Product.MINI_PROGRAM: "alipay.trade.create",
    Product.OFFICIAL_ACCOUNT: "alipay.trade.create",
}
PAID = {
    "out_trade_no": "att01",
    "trade_no": "2026010222001",
    "total_amount": "12.30",
    "gmt_payment": "2026-01-02 11:04:06",
    "buyer_open_id": "0abc",
}
SUCCEEDED = Succeeded(
    amount=Money(1230, "CNY"),
    channel_reference="2026010222001",
    paid_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    payer="0abc",
)
PRODUCT_FIELDS: dict[Product, dict[str, object]] = {
    Product.CODE: {"auth_code": "280000000000000001"},
    Product.MINI_PROGRAM: {"payer": "0abc"},
    Product.OFFICIAL_ACCOUNT: {"payer": "2088000000000009"},
}


def order(alipay: Any, product: Product, **changes: Any) -> PaymentRequest:
    values: dict[str, Any] = {
        "reference": "att01",
        "amount": Money(1230, "CNY"),
        "product": product,
        "description": "一杯茶 & tea",
        "notify_url": "https://shop.example/notify",
        "expires_at": alipay.now + timedelta(minutes=30),
        "return_url": "https://shop.example/back?a=1&b=2",
        **PRODUCT_FIELDS.get(product, {}),
    }
    return PaymentRequest(**(values | changes))


def create(alipay: Any, request: PaymentRequest, *responses: Any, **settings: object) -> Any:
    channel = alipay.channel(**settings)
    return alipay.drive(channel.create(request, alipay.context), *responses)


@pytest.mark.parametrize(
    ("product", "own_fields", "told", "action"),
    [
        (
            Product.QR,
            {"product_code": "FACE_TO_FACE_PAYMENT"},
            {"qr_code": "https://qr.alipay.com/x"},
            Pending(action=QrCode(content="https://qr.alipay.com/x")),
        ),
        (
            Product.CODE,
            {
                "product_code": "FACE_TO_FACE_PAYMENT",
                "scene": "bar_code",
                "auth_code": "280000000000000001",
            },
            PAID,
            SUCCEEDED,
        ),
        (
            Product.MINI_PROGRAM,
            {"product_code": "JSAPI_PAY", "buyer_open_id": "0abc"},
            {"trade_no": "2026010222001"},
            Pending(
                action=ClientParameters(parameters={"tradeNO": "2026010222001"}),
                channel_reference="2026010222001",
            ),
        ),
        (
            Product.OFFICIAL_ACCOUNT,
            {"product_code": "JSAPI_PAY", "buyer_id": "2088000000000009"},
            {"trade_no": "2026010222001"},
            Pending(
                action=ClientParameters(parameters={"tradeNO": "2026010222001"}),
                channel_reference="2026010222001",
            ),
        ),
    ],
    ids=["qr", "code", "mini_program", "official_account"],
)
def test_the_whole_order_of_a_product_that_is_sent(
    alipay: Any, product: Product, own_fields: dict[str, str], told: dict[str, str], action: object
) -> None:
    response = alipay.success(METHOD[product], **{"out_trade_no": "att01", **told})
    requests, outcome = create(alipay, order(alipay, product), response)
    assert outcome == action
    content = alipay.asked(requests[0], METHOD[product], notify_url="https://shop.example/notify")
    assert content == {**CORE, **own_fields}
    assert requests[0].effect


@pytest.mark.parametrize(
    ("product", "method", "code"),
    [
        (Product.PAGE, "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        (Product.H5, "alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    ],
    ids=["page", "h5"],
)
def test_a_browser_is_sent_with_a_signed_order_and_nothing_goes_out_before(
    alipay: Any, product: Product, method: str, code: str
) -> None:
    requests, outcome = create(alipay, order(alipay, product))
    assert requests == []
    assert isinstance(outcome, Pending)
    assert isinstance(outcome.action, Redirect)
    url = urlsplit(outcome.action.url)
    assert outcome.action.url.startswith("http://localhost:8000/gateway.do?")
    received = alipay.verified(dict(parse_qsl(url.query, strict_parsing=True)))
    content = json.loads(received.pop("biz_content"))
    assert content == {**CORE, "product_code": code}
    assert received == alipay.common(
        method,
        notify_url="https://shop.example/notify",
        return_url="https://shop.example/back?a=1&b=2",
    )


def test_an_app_is_handed_a_signed_order_text(alipay: Any) -> None:
    requests, outcome = create(alipay, order(alipay, Product.APP))
    assert requests == []
    assert isinstance(outcome, Pending)
    assert isinstance(outcome.action, ClientParameters)
    assert set(outcome.action.parameters) == {"orderString"}
    text = outcome.action.parameters["orderString"]
    received = alipay.verified(dict(parse_qsl(text, strict_parsing=True)))
    content = json.loads(received.pop("biz_content"))
    assert content == {**CORE, "product_code": "QUICK_MSECURITY_PAY"}
    assert received == alipay.common(
        "alipay.trade.app.pay", notify_url="https://shop.example/notify"
    )


def test_a_service_provider_names_itself_and_its_merchant(alipay: Any) -> None:
    request = order(alipay, Product.QR, profit_sharing=True, store="S1")
    response = alipay.success(METHOD[Product.QR], out_trade_no="att01", qr_code="q")
    requests, _ = create(
        alipay,
        request,
        response,
        app_auth_token="token",
        service_provider_id="2088000000000007",
    )
    content = alipay.asked(
        requests[0],
        METHOD[Product.QR],
        notify_url="https://shop.example/notify",
        app_auth_token="token",
    )
    assert "token" not in requests[0].url
    assert content == {
        **CORE,
        "product_code": "FACE_TO_FACE_PAYMENT",
        "store_id": "S1",
        "extend_params": {
            "sys_service_provider_id": "2088000000000007",
            "royalty_freeze": "true",
        },
    }


def test_a_mini_programs_own_app_is_named_when_it_is_set(alipay: Any) -> None:
    request = order(alipay, Product.MINI_PROGRAM)
    response = alipay.success(METHOD[request.product], out_trade_no="att01", trade_no="1")
    requests, _ = create(alipay, request, response, mini_program_app_id="2021000000000009")
    content = alipay.asked(
        requests[0], METHOD[request.product], notify_url="https://shop.example/notify"
    )
    assert content["op_app_id"] == "2021000000000009"


@pytest.mark.parametrize(
    ("product", "changes", "field"),
    [
        (Product.QR, {"reference": "no-dash"}, "reference"),
        (Product.QR, {"reference": "x" * 65}, "reference"),
        (Product.QR, {"amount": Money(0, "CNY")}, "amount"),
        (Product.QR, {"amount": Money(10_000_000_001, "CNY")}, "amount"),
        (Product.QR, {"amount": Money(100, "USD")}, "amount"),
        (Product.QR, {"description": " "}, "description"),
        (Product.QR, {"description": "x" * 257}, "description"),
        (Product.PAGE, {"notify_url": "https://" + "x" * 250}, "notify_url"),
        (Product.H5, {"expires_at": "now"}, "expires_at"),
        (Product.APP, {"expires_at": "later"}, "expires_at"),
        (Product.CODE, {"auth_code": None}, "auth_code"),
        (Product.CODE, {"auth_code": "130000000000000001"}, "auth_code"),
        (Product.CODE, {"auth_code": "28000000000000000１"}, "auth_code"),
        (Product.MINI_PROGRAM, {"payer": None}, "payer"),
        (Product.OFFICIAL_ACCOUNT, {"payer": ""}, "payer"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_is_sent(
    alipay: Any, product: Product, changes: dict[str, Any], field: str
) -> None:
    moments = {"now": alipay.now, "later": alipay.now + timedelta(days=16)}
    if "expires_at" in changes:
        changes = {"expires_at": moments[changes["expires_at"]]}
    with pytest.raises(InvalidInput) as error:
        create(alipay, order(alipay, product, **changes))
    assert error.value.field == field
    assert "13000000" not in str(error.value)


def test_a_paying_customer_is_waited_for(alipay: Any) -> None:
    node = {"code": "10003", "msg": "wait", "out_trade_no": "att01", "trade_no": "7"}
    response = alipay.answer("alipay.trade.pay", node)
    _, outcome = create(alipay, order(alipay, Product.CODE), response)
    assert outcome == Pending(action=AwaitCustomer(), channel_reference="7")


@pytest.mark.parametrize("product", METHOD, ids=list(METHOD))
@pytest.mark.parametrize(
    ("sub_code", "code", "meaning"),
    [
        ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "40004", "insufficient_funds"),
        ("aop.ACQ.BUYER_BALANCE_NOT_ENOUGH", "40004", "insufficient_funds"),
        ("ACQ.BUYER_BANKCARD_BALANCE_NOT_E", "40004", "insufficient_funds"),
        ("ACQ.PAYMENT_AUTH_CODE_INVALID", "40004", "invalid_auth_code"),
        ("ACQ.BUYER_ENABLE_STATUS_FORBID", "40004", "account_restricted"),
        ("ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIM", "40004", "limit_exceeded"),
        ("ACQ.ERROR_BALANCE_PAYMENT_DISABLE", "40004", "payment_method_unavailable"),
        ("ACQ.BUYER_SELLER_EQUAL", "40004", "payer_not_allowed"),
        ("ACQ.PAYMENT_REQUEST_HAS_RISK", "40004", "risk_rejected"),
        ("ACQ.SELLER_BEEN_BLOCKED", "40004", "merchant_restricted"),
        ("ACQ.ACCESS_FORBIDDEN", "40004", "account_misconfigured"),
        ("ACQ.INVALID_PARAMETER", "40004", "invalid_request"),
        ("ACQ.TRADE_HAS_CLOSE", "40004", "closed"),
        ("ACQ.PAYMENT_FAIL", "40004", "declined"),
        ("aop.invalid-app-auth-token", "20001", "account_misconfigured"),
        ("isv.missing-method", "40001", "invalid_request"),
        ("isv.invalid-signature", "40002", "account_misconfigured"),
        ("isv.invalid-parameter", "40002", "invalid_request"),
        ("isv.insufficient-isv-permissions", "40006", "account_misconfigured"),
    ],
)
def test_a_refusal_after_which_no_money_moves_is_a_decline(
    alipay: Any, product: Product, sub_code: str, code: str, meaning: str
) -> None:
    response = alipay.failure(METHOD[product], sub_code, code)
    _, outcome = create(alipay, order(alipay, product), response)
    assert outcome == Declined(code=meaning, channel_code=sub_code, channel_message="原因")


@pytest.mark.parametrize("product", METHOD, ids=list(METHOD))
@pytest.mark.parametrize(
    "node",
    [
        {"code": "40004", "sub_code": "ACQ.SYSTEM_ERROR"},
        {"code": "40004", "sub_code": "aop.ACQ.SYSTEM_ERROR"},
        {"code": "40004", "sub_code": "ACQ.CONTEXT_INCONSISTENT"},
        {"code": "40004", "sub_code": "ACQ.TRADE_BUYER_NOT_MATCH"},
        {"code": "40004", "sub_code": "ACQ.NEVER_HEARD_OF"},
        {"code": "40004"},
        {"code": "20000", "sub_code": "isp.unknow-error"},
        {"code": "20000", "sub_code": "aop.unknow-error"},
        {"code": "40002", "sub_code": "isp.unknow-error"},
        {"code": "40004", "sub_code": "isv.invalid-signature"},
        {"code": "99999"},
        {"code": 10000},
        {},
        {"code": "10000", "out_trade_no": "another", "trade_no": "1", "qr_code": "q"},
        {"code": "10000", "trade_no": "1", "qr_code": "q"},
        {"code": "10000", "out_trade_no": "att01"},
    ],
    ids=lambda node: json.dumps(node),
)
def test_everything_else_leaves_the_outcome_open(
    alipay: Any, product: Product, node: dict[str, Any]
) -> None:
    with pytest.raises(AnswerUnreadable):
        create(alipay, order(alipay, product), alipay.answer(METHOD[product], node))


@pytest.mark.parametrize("product", [Product.QR, Product.MINI_PROGRAM])
def test_only_a_code_payment_may_be_said_to_be_paying(alipay: Any, product: Product) -> None:
    node = {"code": "10003", "out_trade_no": "att01", "trade_no": "1", "qr_code": "q"}
    with pytest.raises(AnswerUnreadable):
        create(alipay, order(alipay, product), alipay.answer(METHOD[product], node))


@pytest.mark.parametrize(
    "changes",
    [
        {"total_amount": "12.31"},
        {"total_amount": "12.3a"},
        {"total_amount": None},
        {"trans_currency": "USD"},
        {"gmt_payment": "yesterday"},
        {"gmt_payment": None},
        {"trade_no": None},
        {"trade_no": {"a": "b"}},
    ],
    ids=lambda changes: json.dumps(changes),
)
def test_a_success_that_does_not_match_is_not_believed(
    alipay: Any, changes: dict[str, Any]
) -> None:
    node = {name: value for name, value in {**PAID, **changes}.items() if value is not None}
    with pytest.raises(AnswerUnreadable):
        create(alipay, order(alipay, Product.CODE), alipay.success("alipay.trade.pay", **node))


def test_a_number_that_is_already_paid_is_asked_about(alipay: Any) -> None:
    request = order(alipay, Product.CODE)
    refusal = alipay.failure("alipay.trade.pay", "ACQ.TRADE_HAS_SUCCESS")
    told = alipay.success("alipay.trade.query", trade_status="TRADE_SUCCESS", **PAID)
    requests, outcome = create(alipay, request, refusal, told)
    assert outcome == SUCCEEDED
    assert alipay.asked(requests[1], "alipay.trade.query") == {"out_trade_no": "att01"}
