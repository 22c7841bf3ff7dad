"""Refunds and the question what became of one; ``out_refund_no`` makes a resend harmless.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011935217 and 4011935218 (query).
"""

import re
from collections.abc import Mapping
from typing import Final

from qiao.channels.requests import Context, RefundQuery, RefundRequest
from qiao.channels.wechat.texts import REFUND_REFERENCE, check_reference, fen
from qiao.channels.wechat.v2.codes import (
    DOUBTFUL_REFUND_REFUSALS,
    REFUND_NOT_FOUND,
    REFUND_REFUSALS,
)
from qiao.channels.wechat.v2.gateway import Answer, Gateway, expect, text_of
from qiao.channels.wechat.v2.texts import money_from, time_from
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import NotFound, Refunded, RefundOutcome, RefundPending, RefundRefused

MAX_REASON: Final = 80
_NUMBERED: Final = re.compile(r"out_refund_no_([0-9]{1,3})", re.ASCII)


def refund_payment(
    gateway: Gateway, request: RefundRequest, context: Context
) -> Operation[RefundOutcome]:
    """Give money back. It is only accepted; whether it is done, the query tells."""
    asked = RefundQuery(
        reference=check_reference(request.reference, REFUND_REFERENCE),
        payment_reference=request.payment_reference,
        amount=request.amount,
    )
    fields = {
        "out_trade_no": request.payment_reference,
        "out_refund_no": request.reference,
        "total_fee": str(fen(request.payment_amount, field="payment_amount")),
        "refund_fee": str(fen(request.amount)),
        "refund_fee_type": request.amount.currency,
        "refund_desc": request.reason[:MAX_REASON] if request.reason else None,
        "notify_url": request.notify_url,
    }
    answer = yield from gateway.call("/secapi/pay/refund", fields, context)
    if answer.code in REFUND_REFUSALS:
        return _refused(REFUND_REFUSALS[answer.code], answer)
    if answer.code in DOUBTFUL_REFUND_REFUSALS:
        outcome = yield from query_refund(gateway, asked, context)
        refused = _refused(DOUBTFUL_REFUND_REFUSALS[answer.code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    _expect_refund(answer.fields, asked, "")
    return RefundPending(channel_reference=answer.text("refund_id"))


def query_refund(
    gateway: Gateway, query: RefundQuery, context: Context
) -> Operation[RefundOutcome]:
    """Ask for the refund."""
    asked = {"out_refund_no": check_reference(query.reference, REFUND_REFERENCE)}
    answer = yield from gateway.call("/pay/refundquery", asked, context, effect=False)
    if answer.code in REFUND_NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    fields, end = answer.fields, _numbered(answer.fields, query.reference)
    told = _expect_refund(fields, query, end)
    return status_of(
        told,
        status=text_of(fields, f"refund_status{end}"),
        number=fields.get(f"refund_id{end}"),
        moment=fields.get(f"refund_success_time{end}"),
    )


def _numbered(fields: Mapping[str, str], reference: str) -> str:
    """How the names of our refund's fields end; an order's refunds are counted from ``_0``."""
    for name, text in fields.items():
        found = _NUMBERED.fullmatch(name)
        if found and text == reference:
            return f"_{found[1]}"
    raise AnswerUnreadable("it is about another out_refund_no")


def _expect_refund(fields: Mapping[str, str], query: RefundQuery, end: str) -> Money:
    expect(
        fields,
        {f"out_refund_no{end}": query.reference, "out_trade_no": query.payment_reference},
    )
    told = money_from(fields, f"refund_fee{end}")
    if told != query.amount:
        raise AnswerUnreadable("it is about another amount")
    return told


def status_of(told: Money, *, status: str, number: str | None, moment: str | None) -> RefundOutcome:
    """What a refund's status says; raises AnswerUnreadable for one that nobody documented.

    CHANGE (the customer's card takes no money) is not refused: the money has left the order, and a
    person must send it another way on the merchant platform.
    """
    if status == "SUCCESS":
        return Refunded(
            amount=told,
            channel_reference=number or None,
            refunded_at=time_from(moment) if moment else None,
        )
    if status in ("PROCESSING", "CHANGE"):
        return RefundPending(channel_reference=number or None)
    if status == "REFUNDCLOSE":
        return RefundRefused(code="closed", channel_code=status)
    raise AnswerUnreadable("there is a refund status that Qiao does not know")


def _refused(code: str, answer: Answer) -> RefundRefused:
    return RefundRefused(code=code, channel_code=answer.code, channel_message=answer.message)
