"""Asking about a payment, closing it, and taking it back: every status and refusal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from qiao.channels.requests import PaymentQuery
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import AwaitCustomer, Closed, NotFound, Pending, Succeeded

QUERY = PaymentQuery(reference="att01", amount=Money(1230, "CNY"))
TRADE = {"out_trade_no": "att01", "trade_no": "T1", "total_amount": "12.30"}
PAID_AT = {"send_pay_date": "2026-01-01 00:00:01"}
SUCCEEDED = Succeeded(
    amount=Money(1230, "CNY"),
    channel_reference="T1",
    paid_at=datetime(2025, 12, 31, 16, 0, 1, tzinfo=UTC),
    payer="2088000000000009",
)
PAID = {**TRADE, **PAID_AT, "trade_status": "TRADE_SUCCESS", "buyer_user_id": "2088000000000009"}
WAITING = {**TRADE, "trade_status": "WAIT_BUYER_PAY"}


def run(alipay: Any, verb: str, *responses: Any) -> Any:
    operation = getattr(alipay.channel(), verb)(QUERY, alipay.context)
    return alipay.drive(operation, *responses)


@pytest.mark.parametrize(
    ("node", "outcome"),
    [
        (PAID, SUCCEEDED),
        ({**PAID, "trade_status": "TRADE_FINISHED"}, SUCCEEDED),
        ({**PAID, "total_amount": "12.3"}, SUCCEEDED),
        (WAITING, Pending(action=AwaitCustomer(), channel_reference="T1")),
        ({**TRADE, "trade_status": "TRADE_CLOSED"}, Closed(channel_reference="T1")),
        ({**PAID, "trade_status": "TRADE_CLOSED"}, Closed(channel_reference="T1")),
    ],
    ids=["success", "finished", "one decimal", "waiting", "closed", "refunded in full"],
)
def test_a_trade_status_is_an_outcome(alipay: Any, node: dict[str, str], outcome: object) -> None:
    requests, result = run(alipay, "query", alipay.success("alipay.trade.query", **node))
    assert result == outcome
    assert alipay.asked(requests[0], "alipay.trade.query") == {"out_trade_no": "att01"}
    assert not requests[0].effect


@pytest.mark.parametrize(
    "changes",
    [
        {"trade_status": "TRADE_PENDING"},
        {"trade_status": ""},
        {"total_amount": "12.31"},
        {"total_amount": "1230"},
        {"total_amount": "-12.30"},
        {"total_amount": "1e1"},
        {"out_trade_no": "att02"},
        {"out_trade_no": ""},
        {"trans_currency": "HKD"},
        {"trade_no": ""},
        {"send_pay_date": ""},
        {"send_pay_date": "0001-01-01 00:00:00"},
        {"send_pay_date": "2026-02-30 00:00:00"},
    ],
    ids=str,
)
def test_a_trade_that_is_not_ours_or_not_known_is_not_believed(
    alipay: Any, changes: dict[str, str]
) -> None:
    with pytest.raises(AnswerUnreadable):
        run(alipay, "query", alipay.success("alipay.trade.query", **{**PAID, **changes}))


@pytest.mark.parametrize(
    ("verb", "method"),
    [
        ("query", "alipay.trade.query"),
        ("close", "alipay.trade.close"),
        ("reverse", "alipay.trade.cancel"),
    ],
)
def test_a_trade_that_is_not_there_is_not_found_and_never_closed(
    alipay: Any, verb: str, method: str
) -> None:
    requests, result = run(alipay, verb, alipay.failure(method, "ACQ.TRADE_NOT_EXIST"))
    assert result == NotFound()
    assert alipay.asked(requests[0], method) == {"out_trade_no": "att01"}


@pytest.mark.parametrize(
    ("verb", "method"),
    [
        ("query", "alipay.trade.query"),
        ("close", "alipay.trade.close"),
        ("reverse", "alipay.trade.cancel"),
    ],
)
@pytest.mark.parametrize(
    ("code", "sub_code"),
    [
        ("40004", "ACQ.SYSTEM_ERROR"),
        ("40004", "AQC.SYSTEM_ERROR"),
        ("40004", "ACQ.INVALID_PARAMETER"),
        ("40002", "isv.invalid-signature"),
        ("40006", "isv.insufficient-isv-permissions"),
        ("20000", "isp.unknow-error"),
        ("20000", "ACQ.TRADE_NOT_EXIST"),
        ("10003", ""),
    ],
)
def test_a_refusal_says_nothing_about_the_payment(
    alipay: Any, verb: str, method: str, code: str, sub_code: str
) -> None:
    with pytest.raises(AnswerUnreadable):
        run(alipay, verb, alipay.failure(method, sub_code, code))


def test_a_closed_trade_is_closed(alipay: Any) -> None:
    response = alipay.success("alipay.trade.close", out_trade_no="att01", trade_no="T1")
    requests, result = run(alipay, "close", response)
    assert result == Closed(channel_reference="T1")
    assert requests[0].effect


def test_the_close_of_another_trade_is_not_believed(alipay: Any) -> None:
    with pytest.raises(AnswerUnreadable):
        run(alipay, "close", alipay.success("alipay.trade.close", out_trade_no="att02"))


@pytest.mark.parametrize(
    ("verb", "method"), [("close", "alipay.trade.close"), ("reverse", "alipay.trade.cancel")]
)
@pytest.mark.parametrize(
    "sub_code",
    [
        "ACQ.TRADE_HAS_SUCCESS",
        "ACQ.TRADE_HAS_FINISHED",
        "ACQ.TRADE_STATUS_ERROR",
        "ACQ.REASON_TRADE_STATUS_INVALID",
        "ACQ.TRADE_HAS_CLOSE",
        "ACQ.TRADE_CANCEL_TIME_OUT",
        "ACQ.SELLER_BALANCE_NOT_ENOUGH",
    ],
)
@pytest.mark.parametrize(
    ("node", "outcome"),
    [
        (PAID, SUCCEEDED),
        (WAITING, Pending(action=AwaitCustomer(), channel_reference="T1")),
        ({**TRADE, "trade_status": "TRADE_CLOSED"}, Closed(channel_reference="T1")),
    ],
    ids=["paid", "waiting", "closed"],
)
def test_a_trade_in_another_state_is_told_as_it_stands(
    alipay: Any, verb: str, method: str, sub_code: str, node: dict[str, str], outcome: object
) -> None:
    refusal, told = alipay.failure(method, sub_code), alipay.success("alipay.trade.query", **node)
    requests, result = run(alipay, verb, refusal, told)
    assert result == outcome
    assert alipay.asked(requests[1], "alipay.trade.query") == {"out_trade_no": "att01"}


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"retry_flag": "N", "action": "close", "trade_no": "T1"}, Closed(channel_reference="T1")),
        ({"retry_flag": "N", "action": "refund", "trade_no": "T1"}, Closed(channel_reference="T1")),
        ({"retry_flag": "N"}, NotFound()),
    ],
    ids=["closed", "refunded", "no such trade"],
)
def test_a_reversal_is_what_alipay_did(
    alipay: Any, fields: dict[str, str], outcome: object
) -> None:
    response = alipay.success("alipay.trade.cancel", out_trade_no="att01", **fields)
    _, result = run(alipay, "reverse", response)
    assert result == outcome


@pytest.mark.parametrize(
    "fields",
    [
        {"out_trade_no": "att01", "retry_flag": "Y", "action": "close"},
        {"out_trade_no": "att01", "action": "close"},
        {"out_trade_no": "att01", "retry_flag": "N", "action": "freeze"},
        {"out_trade_no": "att02", "retry_flag": "N", "action": "close"},
    ],
    ids=["again", "no flag", "another action", "another trade"],
)
def test_a_reversal_that_is_not_over_is_open(alipay: Any, fields: dict[str, str]) -> None:
    with pytest.raises(AnswerUnreadable):
        run(alipay, "reverse", alipay.success("alipay.trade.cancel", **fields))
