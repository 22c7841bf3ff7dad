"""What goes out, field by field, and what the rarer answers come to."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from lxml import etree

from qiao.channels.interface import RefundNotification
from qiao.channels.requests import (
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    StatementRequest,
)
from qiao.channels.wire import HttpMessage, HttpResponse
from qiao.crypto.aes import encrypt_ecb
from qiao.domain.errors import AnswerUnreadable, InvalidInput, NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Closed,
    Declined,
    NotFound,
    Pending,
    Refunded,
    RefundPending,
    RefundRefused,
    Succeeded,
)

Order = Callable[..., PaymentRequest]
QUERY = PaymentQuery(reference="1400755861", amount=Money(1250, "CNY"))
REFUND = RefundRequest(
    reference="ref0001",
    payment_reference="1400755861",
    payment_amount=Money(1250, "CNY"),
    amount=Money(200, "CNY"),
    notify_url="https://shop.example/notify",
    reason="售罄" * 60,
)
REFUND_QUERY = RefundQuery(
    reference="ref0001", payment_reference="1400755861", amount=Money(200, "CNY")
)
NONCE = "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"
WHO = {"appid": "wxd930ea5d5a258f4f", "mch_id": "1900000109", "nonce_str": NONCE}
COMMON = {**WHO, "sign_type": "HMAC-SHA256"}
ORDER = {
    **COMMON,
    "body": "茶点 tea",
    "out_trade_no": "1400755861",
    "total_fee": "1250",
    "fee_type": "CNY",
    "spbill_create_ip": "127.0.0.1",
}
UNIFIED = {
    **ORDER,
    "notify_url": "https://shop.example/notify",
    "time_expire": "20260115123000",
}


def sent(body: bytes) -> dict[str, str]:
    return {str(one.tag): one.text or "" for one in etree.fromstring(body)}


@pytest.mark.parametrize(
    ("asked", "path", "fields"),
    [
        (
            {"product": Product.QR},
            "/pay/unifiedorder",
            {**UNIFIED, "trade_type": "NATIVE", "product_id": "1400755861"},
        ),
        (
            {"product": Product.OFFICIAL_ACCOUNT, "payer": "oUpF8"},
            "/pay/unifiedorder",
            {**UNIFIED, "trade_type": "JSAPI", "openid": "oUpF8"},
        ),
        (
            {"product": Product.MINI_PROGRAM, "payer": "oUpF8"},
            "/pay/unifiedorder",
            {**UNIFIED, "appid": "wx-mini", "trade_type": "JSAPI", "openid": "oUpF8"},
        ),
        (
            {
                "product": Product.H5,
                "client_ip": "203.0.113.7",
                "return_url": "https://shop.example/back?a=1",
            },
            "/pay/unifiedorder",
            {
                **UNIFIED,
                "trade_type": "MWEB",
                "spbill_create_ip": "203.0.113.7",
                "scene_info": '{"h5_info":{"type":"Wap","wap_url":"https://shop.example",'
                '"wap_name":"茶点 tea"}}',
            },
        ),
        ({"product": Product.APP}, "/pay/unifiedorder", {**UNIFIED, "trade_type": "APP"}),
        (
            {"product": Product.CODE, "auth_code": "130000000000000001", "store": "till-7"},
            "/pay/micropay",
            {**ORDER, "auth_code": "130000000000000001", "device_info": "till-7"},
        ),
    ],
    ids=lambda value: str(value.get("product", "")) if isinstance(value, dict) else "",
)
def test_an_order_on_the_wire(
    asked: dict[str, Any],
    path: str,
    fields: dict[str, str],
    wechat: Any,
    order: Order,
    context: Context,
) -> None:
    channel = wechat.open(mini_program_appid="wx-mini")
    request = next(channel.create(order(**asked), context))
    assert request.url == f"https://api.mch.weixin.qq.com{path}"
    assert (request.effect, request.client_certificate) == (True, None)
    assert sent(request.body) == {**fields, "sign": wechat.sign(fields)}


def test_a_service_provider_names_the_merchant(wechat: Any, order: Order, context: Context) -> None:
    channel = wechat.open(sub_mchid="1900000999", sub_appid="wxsub", sign_type="MD5")
    told = sent(next(channel.create(order(), context)).body)
    signature = told.pop("sign")
    assert signature == wechat.sign(told, "MD5")
    assert (told["sub_mch_id"], told["sub_appid"], told["sign_type"]) == (
        "1900000999",
        "wxsub",
        "MD5",
    )
    app = channel.create(order(product=Product.APP), context)
    next(app)
    fields = {
        **WHO,
        "return_code": "SUCCESS",
        "sub_mch_id": "1900000999",
        "result_code": "SUCCESS",
        "prepay_id": "wx1",
    }
    body = wechat.xml({**fields, "sign": wechat.sign(fields, "MD5")})
    with pytest.raises(StopIteration) as end:
        app.send(HttpResponse(status=200, body=body))
    parameters = dict(end.value.value.action.parameters)
    assert parameters.pop("sign") == wechat.sign(parameters, "MD5")
    assert (parameters["appid"], parameters["partnerid"]) == ("wxsub", "1900000999")


def test_refunds_go_over_mutual_tls(wechat: Any, context: Context) -> None:
    channel = wechat.open(gateway_ca=wechat.material["gateway_ca"])
    request = next(channel.refund(REFUND, context))
    assert request.url == "https://api.mch.weixin.qq.com/secapi/pay/refund"
    assert request.client_certificate.certificate == wechat.material["certificate"]
    assert request.client_certificate.private_key == wechat.material["private_key"]
    assert request.trusted_ca == wechat.material["gateway_ca"]
    fields = {
        **COMMON,
        "out_trade_no": "1400755861",
        "out_refund_no": "ref0001",
        "total_fee": "1250",
        "refund_fee": "200",
        "refund_fee_type": "CNY",
        "refund_desc": ("售罄" * 60)[:80],
        "notify_url": "https://shop.example/notify",
    }
    assert sent(request.body) == {**fields, "sign": wechat.sign(fields)}
    shown = repr(request)
    assert "BEGIN" not in shown
    assert "售" not in shown


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("签名错误", "account_misconfigured"),
        ("商户号mch_id与appid不匹配", "account_misconfigured"),
        ("invalid total_fee", "invalid_request"),
        ("缺少参数openid", "invalid_request"),
        ("系统繁忙", None),
        ("", None),
    ],
)
def test_what_was_not_heard_is_declined_only_when_it_is_known_why(
    message: str, outcome: str | None, wechat: Any, order: Order, context: Context
) -> None:
    operation = wechat.open().create(order(), context)
    body = wechat.xml({"return_code": "FAIL", "return_msg": message})
    if outcome is None:
        with pytest.raises(AnswerUnreadable):
            wechat.finish(operation, body)
    else:
        declined = wechat.finish(operation, body)[1]
        assert isinstance(declined, Declined)
        assert declined.code == outcome


def refused(wechat: Any, code: str, **more: str) -> bytes:
    body: bytes = wechat.signed(result_code="FAIL", err_code=code, err_code_des="原因", **more)
    return body


def paid(wechat: Any, **more: str) -> bytes:
    told = {
        "result_code": "SUCCESS",
        "trade_state": "SUCCESS",
        "out_trade_no": "1400755861",
        "transaction_id": "4200000000202601150000000001",
        "total_fee": "1250",
        "cash_fee": "1050",
        "coupon_fee": "200",
        "coupon_count": "1",
        "coupon_id_0": "10000",
        "time_end": "20260115120000",
        "openid": "oUpF8",
        **more,
    }
    body: bytes = wechat.signed(**told)
    return body


def test_an_invalid_request_may_be_a_repeated_one(
    wechat: Any, order: Order, context: Context
) -> None:
    request = order(product=Product.CODE, auth_code="130000000000000001")
    first = refused(wechat, "INVALID_REQUEST")
    for second, outcome in (
        (paid(wechat), Succeeded),
        (refused(wechat, "ORDERNOTEXIST"), Declined),
        (paid(wechat, trade_state="USERPAYING", total_fee=""), Pending),
    ):
        asked, came = wechat.finish(wechat.open().create(request, context), first, second)
        assert [one.effect for one in asked] == [True, False]
        assert isinstance(came, outcome)


def test_what_was_paid_with_a_coupon_is_paid_in_full(wechat: Any, context: Context) -> None:
    came = wechat.finish(wechat.open().query(QUERY, context), paid(wechat))[1]
    assert came == Succeeded(
        amount=Money(1250, "CNY"),
        channel_reference="4200000000202601150000000001",
        paid_at=datetime(2026, 1, 15, 4, 0, tzinfo=UTC),
        payer="oUpF8",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_end": "2026011512000"},
        {"time_end": "20261315120000"},
        {"total_fee": "12.50"},
        {"total_fee": "-1250"},
        {"total_fee": "１２５０"},
        {"total_fee": "9" * 40},
        {"transaction_id": ""},
        {"trade_state": ""},
    ],
    ids=str,
)
def test_an_answer_that_is_signed_and_senseless_decides_nothing(
    wrong: dict[str, str], wechat: Any, context: Context
) -> None:
    with pytest.raises(AnswerUnreadable):
        wechat.finish(wechat.open().query(QUERY, context), paid(wechat, **wrong))


@pytest.mark.parametrize(
    ("answer", "then", "outcome"),
    [
        ({"result_code": "SUCCESS", "recall": "N"}, None, Closed),
        ({"result_code": "SUCCESS", "recall": "Y"}, None, None),
        ({"result_code": "SUCCESS"}, None, None),
        ({"result_code": "FAIL", "err_code": "USERPAYING", "recall": "Y"}, None, None),
        ({"result_code": "FAIL", "err_code": "USERPAYING", "recall": "N"}, None, None),
        ({"result_code": "FAIL", "err_code": "SYSTEMERROR", "recall": "Y"}, None, None),
        ({"result_code": "FAIL", "err_code": "ORDERNOTEXIST", "recall": "N"}, None, NotFound),
        ({"result_code": "FAIL", "err_code": "REVERSE_EXPIRE", "recall": "N"}, "paid", Succeeded),
    ],
    ids=str,
)
def test_a_reversal_is_done_when_it_says_so(
    answer: dict[str, str],
    then: str | None,
    outcome: type | None,
    wechat: Any,
    context: Context,
) -> None:
    operation = wechat.open().reverse(QUERY, context)
    answers = [wechat.signed(**answer), *([paid(wechat)] if then else [])]
    if outcome is None:
        with pytest.raises(AnswerUnreadable):
            wechat.finish(operation, *answers)
    else:
        assert isinstance(wechat.finish(operation, *answers)[1], outcome)


def found(wechat: Any, status: str = "SUCCESS", **more: str) -> bytes:
    """Ours is the third of the order's refunds, and one before it has the same amount."""
    told = {"result_code": "SUCCESS", "out_trade_no": "1400755861", "refund_count": "12"}
    for place, number in ((0, "ref0000"), (9, "ref0009"), (11, "ref0001")):
        told |= {
            f"out_refund_no_{place}": number,
            f"refund_id_{place}": f"5000{place}",
            f"refund_fee_{place}": "200",
            f"refund_status_{place}": status if number == "ref0001" else "REFUNDCLOSE",
            f"coupon_refund_fee_{place}_0": "1",
        }
    body: bytes = wechat.signed(**told, **more)
    return body


def test_our_refund_is_found_among_others(wechat: Any, context: Context) -> None:
    channel = wechat.open()

    def ask(body: bytes) -> Any:
        return wechat.finish(channel.query_refund(REFUND_QUERY, context), body)[1]

    done = ask(found(wechat, refund_success_time_11="2026-01-15 12:00:00"))
    assert done == Refunded(
        amount=Money(200, "CNY"),
        channel_reference="500011",
        refunded_at=datetime(2026, 1, 15, 4, 0, tzinfo=UTC),
    )
    assert ask(found(wechat, "PROCESSING")) == RefundPending(channel_reference="500011")
    assert ask(found(wechat, "CHANGE")) == RefundPending(channel_reference="500011")
    assert isinstance(ask(found(wechat, "REFUNDCLOSE")), RefundRefused)
    with pytest.raises(AnswerUnreadable):
        ask(wechat.signed(result_code="SUCCESS", out_trade_no="1400755861", refund_count="0"))


def test_a_doubtful_refusal_of_a_refund_is_looked_at(wechat: Any, context: Context) -> None:
    unsigned = wechat.xml({"return_code": "FAIL", "return_msg": "invalid refund_fee"})
    for first in (refused(wechat, "TRADE_STATE_ERROR"), refused(wechat, "CERT_ERROR"), unsigned):
        for second, outcome in (
            (found(wechat), Refunded),
            (refused(wechat, "REFUNDNOTEXIST"), RefundRefused),
        ):
            asked, came = wechat.finish(wechat.open().refund(REFUND, context), first, second)
            assert [one.effect for one in asked] == [True, False]
            assert isinstance(came, outcome)
    denied = wechat.xml({"return_code": "FAIL", "return_msg": "签名错误"})
    with pytest.raises(AnswerUnreadable):
        wechat.finish(wechat.open().refund(REFUND, context), denied, denied)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"<xml><return_code>FAIL</return_code><return_msg>No Bill Exist</return_msg></xml>", None),
        (
            b"<xml><return_code><![CDATA[FAIL]]></return_code>"
            b"<return_msg><![CDATA[Bill Creating]]></return_msg></xml>",
            None,
        ),
        (b"<xml><return_code>FAIL</return_code><return_msg>error</return_msg></xml>", "unknown"),
        ("交易时间\n".encode(), "unknown"),
        (b"\x1f\x8bnot gzip", "unknown"),
    ],
)
def test_a_day_without_a_bill(
    body: bytes, outcome: str | None, wechat: Any, context: Context
) -> None:
    day = StatementRequest(day=datetime(2026, 1, 14, tzinfo=UTC).date())
    operation = wechat.open().download_statement(day, context)
    if outcome is None:
        (request,), came = wechat.finish(operation, body)
        assert came is None
        assert sent(request.body)["bill_date"] == "20260114"
        assert not request.effect
    else:
        with pytest.raises(AnswerUnreadable):
            wechat.finish(operation, body)


def test_profit_sharing_is_left_to_the_newer_version(
    wechat: Any, order: Order, context: Context
) -> None:
    with pytest.raises(InvalidInput) as error:
        next(wechat.open().create(order(profit_sharing=True), context))
    assert error.value.field == "profit_sharing"


def hear(wechat: Any, context: Context, body: bytes, method: str = "POST") -> Any:
    message = HttpMessage(method=method, target="/", headers={}, body=body)
    return wechat.open().authenticate(message, context)


def test_only_a_refund_may_come_unsigned(wechat: Any, context: Context) -> None:
    """Whoever adds ``req_info`` to a payment gets no payment read from it."""
    key = wechat.open()._gateway.account.refund_key
    told = {
        "out_refund_no": "ref0001",
        "out_trade_no": "1400755861",
        "refund_fee": "200",
        "refund_id": "50001",
        "refund_status": "SUCCESS",
    }
    inner = wechat.xml(told).replace(b"xml>", b"root>")
    fields = {"return_code": "SUCCESS", **WHO, "req_info": encrypt_ecb(key, inner)}
    for info in (fields["req_info"], fields["req_info"].rstrip("=")):
        came = hear(wechat, context, wechat.xml({**fields, "req_info": info}))
        assert isinstance(came, RefundNotification)
        assert came.id == "50001.SUCCESS"
        assert came.outcome == Refunded(amount=Money(200, "CNY"), channel_reference="50001")
    claimed = {**fields, "result_code": "SUCCESS", "total_fee": "1250", "time_end": "x"}
    assert isinstance(hear(wechat, context, wechat.xml(claimed)), RefundNotification)
    del claimed["req_info"]
    with pytest.raises(NotificationRejected, match="no signature"):
        hear(wechat, context, wechat.xml(claimed))
    for wrong in ({"mch_id": "1"}, {"appid": "wx1"}, {"return_code": "FAIL"}, {"req_info": "!"}):
        with pytest.raises(NotificationRejected):
            hear(wechat, context, wechat.xml({**fields, **wrong}))


def test_a_failed_payment_is_no_success(wechat: Any, context: Context) -> None:
    for wrong in ({"result_code": "FAIL"}, {"trade_state": "CLOSED"}, {"return_code": "FAIL"}):
        with pytest.raises(NotificationRejected):
            hear(wechat, context, paid(wechat, **wrong))
    with pytest.raises(NotificationRejected):
        hear(wechat, context, paid(wechat), method="GET")


def test_acknowledgements_are_the_bytes_that_wechat_pay_expects(wechat: Any) -> None:
    accepted = wechat.open().acknowledge(accepted=True)
    assert accepted.body == (
        b"<xml><return_code><![CDATA[SUCCESS]]></return_code>"
        b"<return_msg><![CDATA[OK]]></return_msg></xml>"
    )
    assert accepted.status == 200
    assert b"FAIL" in wechat.open().acknowledge(accepted=False).body
