"""Refusals by the gateway itself may come unsigned: they decline an order, and nothing else."""

import json
from datetime import timedelta
from typing import Any

import pytest

from qiao.channels.requests import (
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.wire import HttpResponse
from qiao.domain.errors import AnswerForged, AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import Declined

ONE = Money(100, "CNY")
REFUSAL = {"code": "40002", "msg": "Invalid", "sub_code": "isv.invalid-app-id", "sub_msg": "无效"}


def unsigned(name: str, node: dict[str, str]) -> HttpResponse:
    return HttpResponse(status=200, body=json.dumps({name: node}).encode())


def order(alipay: Any) -> Any:
    request = PaymentRequest(
        reference="att01",
        amount=ONE,
        product=Product.QR,
        description="tea",
        notify_url="https://shop.example/notify",
        expires_at=alipay.now + timedelta(minutes=5),
    )
    return alipay.channel().create(request, alipay.context)


@pytest.mark.parametrize("name", ["error_response", "alipay_trade_precreate_response"])
def test_an_unsigned_refusal_declines_an_order(alipay: Any, name: str) -> None:
    _, outcome = alipay.drive(order(alipay), unsigned(name, REFUSAL))
    assert outcome == Declined(
        code="account_misconfigured", channel_code="isv.invalid-app-id", channel_message="无效"
    )


def test_a_refusal_with_a_wrong_signature_is_forged(alipay: Any) -> None:
    response = alipay.answer(
        "alipay.trade.precreate", REFUSAL, name="error_response", sign=lambda _: "AAAA"
    )
    with pytest.raises(AnswerForged):
        alipay.drive(order(alipay), response)


@pytest.mark.parametrize("code", ["10000", "10003", "20000", "40004", "40002x", ""])
def test_any_other_unsigned_answer_is_forged_and_says_what_it_claims(
    alipay: Any, code: str
) -> None:
    node = {**REFUSAL, "code": code}
    with pytest.raises(AnswerForged, match="unsigned"):
        alipay.drive(order(alipay), unsigned("error_response", node))


@pytest.mark.parametrize(
    ("verb", "asked"),
    [
        ("query", PaymentQuery(reference="att01", amount=ONE)),
        ("close", PaymentQuery(reference="att01", amount=ONE)),
        ("reverse", PaymentQuery(reference="att01", amount=ONE)),
        (
            "refund",
            RefundRequest(
                reference="ref01", payment_reference="att01", payment_amount=ONE, amount=ONE
            ),
        ),
        ("query_refund", RefundQuery(reference="ref01", payment_reference="att01", amount=ONE)),
        (
            "transfer",
            TransferRequest(reference="tra01", amount=ONE, payee="0abc", description="x"),
        ),
        ("query_transfer", TransferQuery(reference="tra01", amount=ONE)),
    ],
)
def test_for_every_other_verb_it_leaves_open_what_an_earlier_send_did(
    alipay: Any, verb: str, asked: object
) -> None:
    operation = getattr(alipay.channel(), verb)(asked, alipay.context)
    with pytest.raises(AnswerUnreadable, match=r"isv\.invalid-app-id"):
        alipay.drive(operation, unsigned("error_response", REFUSAL))
