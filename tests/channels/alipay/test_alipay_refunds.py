"""Refunds: what each answer says about one refund, which is never the sum of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from qiao.channels.requests import RefundQuery, RefundRequest
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import NotFound, Refunded, RefundPending, RefundRefused

REFUND = "alipay.trade.refund"
QUERY = "alipay.trade.fastpay.refund.query"
REQUEST = RefundRequest(
    reference="ref02",
    payment_reference="att01",
    payment_amount=Money(1000, "CNY"),
    amount=Money(300, "CNY"),
    notify_url="https://shop.example/notify",
    reason="太烫",
)
ASKED = RefundQuery(reference="ref02", payment_reference="att01", amount=Money(300, "CNY"))
ANSWER = {
    "out_trade_no": "att01",
    "trade_no": "T1",
    "fund_change": "Y",
    "refund_fee": "8.00",
    "gmt_refund_pay": "2026-01-02 11:04:06",
}
TOLD = {
    "out_trade_no": "att01",
    "out_request_no": "ref02",
    "trade_no": "T1",
    "total_amount": "10.00",
    "refund_amount": "3.00",
    "refund_status": "REFUND_SUCCESS",
    "gmt_refund_pay": "2026-01-02 11:04:06.120",
}
REFUNDED = Refunded(
    amount=Money(300, "CNY"),
    channel_reference="T1",
    refunded_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
)
NO_DATA: dict[str, str] = {}


def without(values: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def refund(alipay: Any, *responses: Any, request: RefundRequest = REQUEST) -> Any:
    return alipay.drive(alipay.channel().refund(request, alipay.context), *responses)


def query(alipay: Any, response: Any) -> Any:
    return alipay.drive(alipay.channel().query_refund(ASKED, alipay.context), response)


def test_the_whole_refund(alipay: Any) -> None:
    requests, outcome = refund(alipay, alipay.success(REFUND, **ANSWER))
    assert outcome == REFUNDED
    assert alipay.asked(requests[0], REFUND) == {
        "out_trade_no": "att01",
        "out_request_no": "ref02",
        "refund_amount": "3.00",
        "refund_reason": "太烫",
    }
    assert requests[0].effect


def test_a_refund_may_have_no_reason_and_no_time(alipay: Any) -> None:
    request = RefundRequest(
        reference="ref02",
        payment_reference="att01",
        payment_amount=Money(1000, "CNY"),
        amount=Money(1000, "CNY"),
    )
    node = {**without(ANSWER, "gmt_refund_pay"), "refund_fee": "10.00"}
    requests, outcome = refund(alipay, alipay.success(REFUND, **node), request=request)
    assert outcome == Refunded(amount=Money(1000, "CNY"), channel_reference="T1")
    assert "refund_reason" not in alipay.asked(requests[0], REFUND)


def test_the_whole_question(alipay: Any) -> None:
    requests, outcome = query(alipay, alipay.success(QUERY, **TOLD))
    assert outcome == REFUNDED
    assert alipay.asked(requests[0], QUERY) == {
        "out_trade_no": "att01",
        "out_request_no": "ref02",
        "query_options": ["gmt_refund_pay"],
    }
    assert not requests[0].effect


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (TOLD, REFUNDED),
        (NO_DATA, RefundPending(channel_reference="T1")),
        (without(TOLD, "refund_status"), RefundPending(channel_reference="T1")),
        ({**TOLD, "refund_status": "REFUND_PROCESSING"}, RefundPending(channel_reference="T1")),
    ],
    ids=["done before", "not done", "no status", "processing"],
)
@pytest.mark.parametrize("fund_change", ["N", None], ids=["N", "nothing"])
def test_without_a_change_of_funds_the_refund_is_asked_for(
    alipay: Any, fund_change: str | None, told: dict[str, str], outcome: object
) -> None:
    node = without(ANSWER, "fund_change") | ({"fund_change": fund_change} if fund_change else {})
    responses = alipay.success(REFUND, **node), alipay.success(QUERY, **told)
    assert refund(alipay, *responses)[1] == outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"out_trade_no": "att02"},
        {"refund_fee": "2.99"},
        {"refund_fee": "10.01"},
        {"refund_fee": ""},
        {"refund_fee": "three"},
        {"trade_no": ""},
        {"gmt_refund_pay": "soon"},
    ],
    ids=str,
)
def test_a_refund_that_does_not_match_is_not_believed(alipay: Any, changes: dict[str, str]) -> None:
    with pytest.raises(AnswerUnreadable):
        refund(alipay, alipay.success(REFUND, **{**ANSWER, **changes}))


@pytest.mark.parametrize(
    ("sub_code", "meaning"),
    [
        ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "insufficient_funds"),
        ("ACQ.TRADE_NOT_EXIST", "payment_not_found"),
        ("ACQ.INVALID_PARAMETER", "invalid_request"),
        ("ACQ.ACCESS_FORBIDDEN", "account_misconfigured"),
    ],
)
def test_a_refusal_after_which_no_money_moves(alipay: Any, sub_code: str, meaning: str) -> None:
    _, outcome = refund(alipay, alipay.failure(REFUND, sub_code))
    assert outcome == RefundRefused(code=meaning, channel_code=sub_code, channel_message="原因")


@pytest.mark.parametrize(
    ("sub_code", "meaning"),
    [
        ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "amount_not_allowed"),
        ("ACQ.REASON_TRADE_REFUND_FEE_ERR", "amount_not_allowed"),
        ("ACQ.TRADE_HAS_FINISHED", "payment_not_refundable"),
        ("ACQ.TRADE_STATUS_ERROR", "payment_not_refundable"),
        ("ACQ.REASON_TRADE_BEEN_FREEZEN", "payment_not_refundable"),
    ],
)
def test_a_refusal_that_an_earlier_send_may_have_caused_is_looked_into(
    alipay: Any, sub_code: str, meaning: str
) -> None:
    refusal = alipay.failure(REFUND, sub_code)
    assert refund(alipay, refusal, alipay.success(QUERY, **TOLD))[1] == REFUNDED
    refused = RefundRefused(code=meaning, channel_code=sub_code, channel_message="原因")
    assert refund(alipay, refusal, alipay.success(QUERY))[1] == refused
    with pytest.raises(AnswerUnreadable):
        refund(alipay, refusal, alipay.failure(QUERY, "ACQ.SYSTEM_ERROR"))


@pytest.mark.parametrize(
    ("code", "sub_code"),
    [
        ("40004", "ACQ.SYSTEM_ERROR"),
        ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST"),
        ("40004", "ACQ.NEVER_HEARD_OF"),
        ("20000", "isp.unknow-error"),
        ("40002", "isv.invalid-parameter"),
        ("10003", ""),
    ],
)
def test_every_other_refusal_leaves_the_refund_open(alipay: Any, code: str, sub_code: str) -> None:
    with pytest.raises(AnswerUnreadable):
        refund(alipay, alipay.failure(REFUND, sub_code, code))


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (NO_DATA, NotFound()),
        ({"out_trade_no": "att01", "trade_no": "T1"}, NotFound()),
        (without(TOLD, "refund_status"), RefundPending(channel_reference="T1")),
        ({**TOLD, "refund_status": "REFUND_PROCESSING"}, RefundPending(channel_reference="T1")),
        (
            {**TOLD, "refund_status": "REFUND_FAIL"},
            RefundRefused(code="declined", channel_code="REFUND_FAIL"),
        ),
        (
            without(TOLD, "gmt_refund_pay"),
            Refunded(amount=Money(300, "CNY"), channel_reference="T1"),
        ),
    ],
    ids=["nothing", "the trade alone", "no status", "processing", "failed", "no time"],
)
def test_what_alipay_knows_of_a_refund(alipay: Any, told: dict[str, str], outcome: object) -> None:
    assert query(alipay, alipay.success(QUERY, **told))[1] == outcome


def test_a_refund_of_an_unknown_trade_is_not_found(alipay: Any) -> None:
    assert query(alipay, alipay.failure(QUERY, "ACQ.TRADE_NOT_EXIST"))[1] == NotFound()


@pytest.mark.parametrize(
    "changes",
    [
        {"refund_amount": "3.01"},
        {"refund_amount": "8.00"},
        {"refund_amount": ""},
        {"out_request_no": "ref01"},
        {"out_request_no": ""},
        {"out_trade_no": "att02"},
        {"refund_status": "REFUND_CLOSED"},
    ],
    ids=str,
)
def test_the_answer_about_another_refund_is_not_believed(
    alipay: Any, changes: dict[str, str]
) -> None:
    with pytest.raises(AnswerUnreadable):
        query(alipay, alipay.success(QUERY, **{**TOLD, **changes}))


@pytest.mark.parametrize(
    ("reference", "amount", "field"),
    [
        ("no-dash", Money(300, "CNY"), "reference"),
        ("ref02", Money(0, "CNY"), "amount"),
        ("ref02", Money(300, "USD"), "amount"),
    ],
)
def test_a_wrong_refund_is_refused_before_anything_is_sent(
    alipay: Any, reference: str, amount: Money, field: str
) -> None:
    request = RefundRequest(
        reference=reference, payment_reference="att01", payment_amount=amount, amount=amount
    )
    with pytest.raises(InvalidInput) as error:
        refund(alipay, request=request)
    assert error.value.field == field
