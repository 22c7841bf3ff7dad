"""Complaints about trades (交易投诉): listed, asked for, answered, and said to be dealt with.

Alipay tells no time until when to act. Sources: https://opendocs.alipay.com/open/ —
alipay.merchant.tradecomplain.batchquery, .query, .reply.submit and .feedback.submit;
https://www.apifox.cn/apidoc/docs-site/3618910/doc-3307376 (the notification and the states).
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.alipay.codes import DISPUTE_REFUSALS, gateway_refusal
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.texts import money_from, time_from, time_text
from qiao.channels.disputes import (
    Dispute,
    DisputeKind,
    DisputeQuery,
    DisputeReply,
    DisputeSpan,
    DisputeState,
)
from qiao.channels.requests import Context
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import DisputeAnswered, DisputeAnswerRefused, DisputeOutcome, NotFound

PAGE: Final = 20
MAX_TEXT: Final = 200
OTHER_WAY: Final = "04"
"""``feedback_code``: dealt with in a way that none of the other codes names (其他)."""
STATES: Final = {
    "MERCHANT_PROCESSING": DisputeState.NEEDS_RESPONSE,
    "MERCHANT_FEEDBACKED": DisputeState.UNDER_REVIEW,
    "PLATFORM_PROCESSING": DisputeState.UNDER_REVIEW,
    "FINISHED": DisputeState.CLOSED,
    "PLATFORM_FINISH": DisputeState.CLOSED,
    "CANCELLED": DisputeState.CLOSED,
    "CLOSED": DisputeState.CLOSED,
}


def list_disputes(
    gateway: Gateway, span: DisputeSpan, context: Context
) -> Operation[tuple[Dispute, ...]]:
    """Every complaint of the span, page after page; the list tells no amounts."""
    if not span.since < span.until:
        raise InvalidInput("ends before it begins", field="until", remedy="give a later time")
    found: list[Dispute] = []
    page = 1
    while True:
        content = {
            "begin_time": time_text(span.since),
            "end_time": time_text(span.until),
            "page_num": page,
            "page_size": PAGE,
        }
        method = "alipay.merchant.tradecomplain.batchquery"
        answer = yield from gateway.call(method, content, context, effect=False)
        if not answer.succeeded:
            raise answer.open()
        lines = answer.fields.get("trade_complain_infos")
        if lines is None and answer.optional("total_num") == "0":
            lines = []
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise AnswerUnreadable(f"{method} answered without its list")
        found += [_dispute(_part(method, line)) for line in lines]
        if len(lines) < PAGE:
            return tuple(found)
        page += 1


def query_dispute(
    gateway: Gateway, query: DisputeQuery, context: Context
) -> Operation[Dispute | NotFound]:
    """The complaint, with its amount and the customer's phone.

    Alipay documents no answer for a number that it does not know: it stays open.
    """
    content = {"complain_event_id": query.number}
    method = "alipay.merchant.tradecomplain.query"
    answer = yield from gateway.call(method, content, context, effect=False)
    if not answer.succeeded:
        raise answer.open()
    answer.expect("complain_event_id", query.number)
    return _dispute(answer, phone=answer.optional("phone_no"))


def reply_to_dispute(
    gateway: Gateway, reply: DisputeReply, context: Context
) -> Operation[DisputeOutcome]:
    """Write to the customer (商家留言)."""
    content = {"complain_event_id": reply.number, "reply_content": _text(reply)}
    method = "alipay.merchant.tradecomplain.reply.submit"
    return _outcome((yield from gateway.call(method, content, context)))


def finish_dispute(
    gateway: Gateway, reply: DisputeReply, context: Context
) -> Operation[DisputeOutcome]:
    """Say how it was dealt with (商家处理交易投诉), by parameters beside biz_content."""
    answer = yield from gateway.call(
        "alipay.merchant.tradecomplain.feedback.submit",
        None,
        context,
        complain_event_id=reply.number,
        feedback_code=OTHER_WAY,
        feedback_content=_text(reply),
    )
    return _outcome(answer)


def _text(reply: DisputeReply) -> str:
    """Raises InvalidInput."""
    if not 0 < len(reply.text) <= MAX_TEXT:
        raise InvalidInput(
            "empty or too long", field="text", remedy=f"give 1 to {MAX_TEXT} characters"
        )
    return reply.text


def _part(method: str, fields: Mapping[str, Any]) -> Answer:
    return Answer(method=method, code="", sub_code="", message="", fields=fields)


def _outcome(answer: Answer) -> DisputeOutcome:
    if answer.refused_by_gateway:
        return DisputeAnswerRefused(
            code=gateway_refusal(answer),
            channel_code=answer.sub_code,
            channel_message=answer.message,
        )
    if answer.business_code in DISPUTE_REFUSALS:
        return DisputeAnswerRefused(
            code=DISPUTE_REFUSALS[answer.business_code],
            channel_code=answer.sub_code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    return DisputeAnswered()


def _dispute(answer: Answer, *, phone: str | None = None) -> Dispute:
    """Raises AnswerUnreadable for a state that nobody documented."""
    state = answer.text("status")
    if state not in STATES:
        raise AnswerUnreadable(f"{answer.method} answered a status that Qiao does not know")
    amount = answer.optional("trade_amount")
    return Dispute(
        number=answer.text("complain_event_id"),
        kind=DisputeKind.COMPLAINT,
        state=STATES[state],
        amount=Money(0, "CNY") if amount is None else money_from(amount),
        reason=answer.optional("leaf_category_name") or "",
        opened_at=time_from(answer.text("gmt_create")),
        payment_reference=answer.optional("merchant_order_no"),
        payment_channel_reference=answer.optional("trade_no"),
        text=answer.optional("content") or answer.optional("complain_reason") or "",
        phone=phone,
    )
