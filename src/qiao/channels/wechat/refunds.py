"""Refunds and the question what became of one; ``out_refund_no`` makes a resend harmless.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012791862 and 4012791863.
"""

from collections.abc import Mapping
from typing import Any

from qiao.channels.requests import Context, RefundQuery, RefundRequest
from qiao.channels.wechat.codes import DOUBTFUL_REFUND_REFUSALS, NOT_FOUND, REFUND_REFUSALS
from qiao.channels.wechat.gateway import Answer, Gateway, expect, object_of, optional, text_of
from qiao.channels.wechat.texts import (
    REFUND_REFERENCE,
    check_reference,
    fen,
    money_from,
    time_from,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import NotFound, Refunded, RefundOutcome, RefundPending, RefundRefused

PATH = "/v3/refund/domestic/refunds"
MAX_REASON = 80


def refund_payment(
    gateway: Gateway, request: RefundRequest, context: Context
) -> Operation[RefundOutcome]:
    """Give money back. Mostly it is only accepted, and done some minutes later."""
    body = {
        "sub_mchid": gateway.account.settings.sub_mchid,
        "out_trade_no": request.payment_reference,
        "out_refund_no": check_reference(request.reference, REFUND_REFERENCE),
        "reason": request.reason[:MAX_REASON] if request.reason else None,
        "notify_url": request.notify_url,
        "amount": {
            "refund": fen(request.amount),
            "total": fen(request.payment_amount, field="payment_amount"),
            "currency": request.amount.currency,
        },
    }
    answer = yield from gateway.call("POST", PATH, context, body=body)
    asked = RefundQuery(
        reference=request.reference,
        payment_reference=request.payment_reference,
        amount=request.amount,
    )
    if answer.code in REFUND_REFUSALS:
        return _refused(REFUND_REFUSALS[answer.code], answer)
    if answer.code in DOUBTFUL_REFUND_REFUSALS:
        outcome = yield from query_refund(gateway, asked, context)
        refused = _refused(DOUBTFUL_REFUND_REFUSALS[answer.code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    return outcome_of(answer.fields, asked, text_of(answer.fields, "status"))


def query_refund(
    gateway: Gateway, query: RefundQuery, context: Context
) -> Operation[RefundOutcome]:
    """Ask for the refund."""
    path = f"{PATH}/{check_reference(query.reference, REFUND_REFERENCE)}"
    sub = {"sub_mchid": gateway.account.settings.sub_mchid}
    answer = yield from gateway.call("GET", path, context, query=sub)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return outcome_of(answer.fields, query, text_of(answer.fields, "status"))


def outcome_of(fields: Mapping[str, Any], query: RefundQuery, status: str) -> RefundOutcome:
    """What a refund's status says; raises AnswerUnreadable for another's refund or amount.

    ABNORMAL (the customer's card takes no money) is not refused: the money has left the order,
    and a person must send it another way on the merchant platform.
    """
    expect(fields, {"out_refund_no": query.reference, "out_trade_no": query.payment_reference})
    told = refunded_amount(fields)
    if told != query.amount:
        raise AnswerUnreadable("it is about another amount")
    return status_of(fields, told, status)


def refunded_amount(fields: Mapping[str, Any]) -> Money:
    return money_from(object_of(fields, "amount"), "refund")


def status_of(fields: Mapping[str, Any], told: Money, status: str) -> RefundOutcome:
    number = optional(fields, "refund_id")
    if status == "SUCCESS":
        moment = fields.get("success_time")
        return Refunded(
            amount=told,
            channel_reference=number,
            refunded_at=None if moment is None else time_from(moment),
        )
    if status in ("PROCESSING", "ABNORMAL"):
        return RefundPending(channel_reference=number)
    if status == "CLOSED":
        return RefundRefused(code="closed", channel_code=status)
    raise AnswerUnreadable("there is a refund status that Qiao does not know")


def _refused(code: str, answer: Answer) -> RefundRefused:
    return RefundRefused(code=code, channel_code=answer.code, channel_message=answer.message)
