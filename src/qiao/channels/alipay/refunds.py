"""Refunds and the question what became of one; ``out_request_no`` makes a resend harmless.

Sources: https://opendocs.alipay.com/open/ — alipay.trade.refund and
alipay.trade.fastpay.refund.query.
"""

from datetime import datetime
from typing import Final

from qiao.channels.alipay.codes import (
    DOUBTFUL_REFUND_REFUSALS,
    REFUND_REFUSALS,
    TRADE_NOT_EXIST,
)
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.products import REFERENCE
from qiao.channels.alipay.texts import money_from, time_from, yuan_text
from qiao.channels.requests import Context, RefundQuery, RefundRequest
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    NotFound,
    Refunded,
    RefundOutcome,
    RefundPending,
    RefundRefused,
)

_MAX_REASON_CHARACTERS: Final = 256


def refund_payment(
    gateway: Gateway, request: RefundRequest, context: Context
) -> Operation[RefundOutcome]:
    """Give money back. ``fund_change=Y`` alone is a refund; after ``N`` the refund is asked for.

    ``N`` means that this request moved no money: an earlier one with the same number did, or the
    refund is not done yet.
    """
    content = _content(request)
    answer = yield from gateway.call("alipay.trade.refund", content, context)
    if answer.business_code in REFUND_REFUSALS:
        return _refused(REFUND_REFUSALS[answer.business_code], answer)
    asked = RefundQuery(
        reference=request.reference,
        payment_reference=request.payment_reference,
        amount=request.amount,
    )
    if answer.business_code in DOUBTFUL_REFUND_REFUSALS:
        outcome = yield from query_refund(gateway, asked, context)
        refused = _refused(DOUBTFUL_REFUND_REFUSALS[answer.business_code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", request.payment_reference)
    refunded_in_all = money_from(answer.text("refund_fee"))
    if not refunded_in_all <= request.payment_amount:
        raise AnswerUnreadable("alipay.trade.refund answered with more than the payment")
    trade = answer.text("trade_no")
    if answer.fields.get("fund_change") == "Y":
        if refunded_in_all < request.amount:
            raise AnswerUnreadable("alipay.trade.refund answered about another amount")
        return Refunded(
            amount=request.amount,
            channel_reference=trade,
            refunded_at=_time(answer, "gmt_refund_pay"),
        )
    outcome = yield from query_refund(gateway, asked, context)
    return RefundPending(channel_reference=trade) if isinstance(outcome, NotFound) else outcome


def query_refund(
    gateway: Gateway, query: RefundQuery, context: Context
) -> Operation[RefundOutcome]:
    """Ask for the refund. Only ``refund_status=REFUND_SUCCESS`` says that it is done.

    An answer without status and amount says that Alipay has no such refund, or not yet: NotFound,
    after which the same refund may be sent again under the same number.
    """
    content = {
        "out_trade_no": query.payment_reference,
        "out_request_no": query.reference,
        "query_options": ["gmt_refund_pay"],
    }
    method = "alipay.trade.fastpay.refund.query"
    answer = yield from gateway.call(method, content, context, effect=False)
    if answer.business_code == TRADE_NOT_EXIST:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    status, amount = answer.optional("refund_status"), answer.optional("refund_amount")
    if status is None and amount is None:
        return NotFound()
    answer.expect("out_trade_no", query.payment_reference)
    answer.expect("out_request_no", query.reference)
    trade = answer.optional("trade_no")
    if status in (None, "REFUND_PROCESSING"):
        return RefundPending(channel_reference=trade)
    if status == "REFUND_FAIL":
        return RefundRefused(code="declined", channel_code=status)
    if status != "REFUND_SUCCESS":
        raise AnswerUnreadable(f"{method} answered a refund_status that Qiao does not know")
    if money_from(answer.text("refund_amount")) != query.amount:
        raise AnswerUnreadable(f"{method} answered about another amount")
    return Refunded(
        amount=query.amount,
        channel_reference=trade,
        refunded_at=_time(answer, "gmt_refund_pay"),
    )


def _content(request: RefundRequest) -> dict[str, str]:
    """Raises InvalidInput."""
    if not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "not an Alipay refund number",
            field="reference",
            remedy="give 1 to 64 letters, digits and underscores",
        )
    content = {
        "out_trade_no": request.payment_reference,
        "out_request_no": request.reference,
        "refund_amount": yuan_text(request.amount),
    }
    if request.reason:
        content["refund_reason"] = request.reason[:_MAX_REASON_CHARACTERS]
    return content


def _refused(code: str, answer: Answer) -> RefundRefused:
    return RefundRefused(code=code, channel_code=answer.sub_code, channel_message=answer.message)


def _time(answer: Answer, name: str) -> datetime | None:
    text = answer.optional(name)
    return None if text is None else time_from(text)
