"""Consumers' complaints (消费者投诉 2.0): listed, asked for, answered, and said to be dealt with.

Sources: https://pay.weixin.qq.com/docs/merchant/products/consumer-complaint/apilist.html and
https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter10_2_11.shtml to chapter10_2_15.shtml; how long
a merchant has: https://kf.qq.com/faq/230125a6NbmA230125vMNZnE.html.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from qiao.channels.disputes import (
    Dispute,
    DisputeKind,
    DisputeQuery,
    DisputeReply,
    DisputeSpan,
    DisputeState,
)
from qiao.channels.requests import Context
from qiao.channels.wechat.codes import DISPUTE_REFUSALS, NOT_FOUND
from qiao.channels.wechat.gateway import Answer, Gateway, optional, text_of
from qiao.channels.wechat.texts import GMT8, check_number, money_from, time_from
from qiao.channels.wire import Operation
from qiao.crypto.rsa import decrypt_oaep
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import DisputeAnswered, DisputeAnswerRefused, DisputeOutcome, NotFound

PATH: Final = "/v3/merchant-service/complaints-v2"
PAGE: Final = 50
MAX_DAYS: Final = 30
MAX_TEXT: Final = 200
FIRST_REPLY: Final = timedelta(hours=24)
DONE: Final = timedelta(hours=72)
"""How long after a complaint the merchant has to reply first, and to have dealt with it."""
STATES: Final = {
    "PENDING": DisputeState.NEEDS_RESPONSE,
    "PROCESSING": DisputeState.UNDER_REVIEW,
    "PROCESSED": DisputeState.CLOSED,
}


def list_disputes(
    gateway: Gateway, span: DisputeSpan, context: Context
) -> Operation[tuple[Dispute, ...]]:
    """Every complaint of the days of the span, in GMT+8, page after page."""
    begin, end = (moment.astimezone(GMT8).date() for moment in (span.since, span.until))
    if not begin <= end <= begin + timedelta(days=MAX_DAYS):
        raise InvalidInput(
            "not a span that WeChat Pay takes",
            field="since",
            remedy=f"give at most {MAX_DAYS} days",
        )
    found: list[Dispute] = []
    while True:
        asked = {
            "limit": str(PAGE),
            "offset": str(len(found)),
            "begin_date": begin.isoformat(),
            "end_date": end.isoformat(),
            "complainted_mchid": _merchant(gateway),
        }
        answer = yield from gateway.call("GET", PATH, context, query=asked)
        if not answer.succeeded:
            raise answer.open()
        lines = answer.fields.get("data")
        if lines is None and answer.fields.get("total_count") == 0:
            lines = []
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise AnswerUnreadable("there is no list of complaints")
        found += [_dispute(gateway, line) for line in lines]
        if len(lines) < PAGE:
            return tuple(found)


def query_dispute(
    gateway: Gateway, query: DisputeQuery, context: Context
) -> Operation[Dispute | NotFound]:
    """The complaint; the phone is decrypted with the merchant's own key."""
    path = f"{PATH}/{check_number(query.number)}"
    answer = yield from gateway.call("GET", path, context)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    answer.expect(complaint_id=query.number)
    return _dispute(gateway, answer.fields, phone=_phone(gateway, answer.fields))


def reply_to_dispute(
    gateway: Gateway, reply: DisputeReply, context: Context
) -> Operation[DisputeOutcome]:
    """Write to the customer (回复用户); the first reply makes the complaint PROCESSING."""
    if not 0 < len(reply.text) <= MAX_TEXT:
        raise InvalidInput(
            "empty or too long", field="text", remedy=f"give 1 to {MAX_TEXT} characters"
        )
    body = {"complainted_mchid": _merchant(gateway), "response_content": reply.text}
    path = f"{PATH}/{check_number(reply.number)}/response"
    return _outcome((yield from gateway.call("POST", path, context, body=body)))


def finish_dispute(
    gateway: Gateway, reply: DisputeReply, context: Context
) -> Operation[DisputeOutcome]:
    """Say that it is dealt with (反馈处理完成). Nothing of the text is sent."""
    body = {"complainted_mchid": _merchant(gateway)}
    path = f"{PATH}/{check_number(reply.number)}/complete"
    return _outcome((yield from gateway.call("POST", path, context, body=body)))


def _merchant(gateway: Gateway) -> str:
    settings = gateway.account.settings
    return settings.sub_mchid or settings.mchid


def _outcome(answer: Answer) -> DisputeOutcome:
    if answer.code in DISPUTE_REFUSALS:
        return DisputeAnswerRefused(
            code=DISPUTE_REFUSALS[answer.code],
            channel_code=answer.code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    return DisputeAnswered()


def _dispute(gateway: Gateway, fields: Mapping[str, Any], *, phone: str | None = None) -> Dispute:
    """Raises AnswerUnreadable for another merchant's, or in a state that nobody documented."""
    if optional(fields, "complainted_mchid") not in (None, _merchant(gateway)):
        raise AnswerUnreadable("it is about another merchant")
    told = text_of(fields, "complaint_state")
    if told not in STATES:
        raise AnswerUnreadable("there is a complaint's state that Qiao does not know")
    state = STATES[told]
    if state is DisputeState.UNDER_REVIEW and fields.get("incoming_user_response") is True:
        state = DisputeState.NEEDS_RESPONSE
    opened_at = time_from(fields.get("complaint_time"))
    orders = fields.get("complaint_order_info") or []
    if not isinstance(orders, list) or not all(isinstance(one, dict) for one in orders):
        raise AnswerUnreadable("its orders cannot be read")
    amount = sum((money_from(one, "amount") for one in orders), Money(0, "CNY"))
    if fields.get("apply_refund_amount"):
        amount = money_from(fields, "apply_refund_amount")
    return Dispute(
        number=text_of(fields, "complaint_id"),
        kind=DisputeKind.COMPLAINT,
        state=state,
        amount=amount,
        reason=optional(fields, "problem_type") or optional(fields, "problem_description") or "",
        opened_at=opened_at,
        due_by=_due_by(told, opened_at),
        payment_reference=optional(orders[0], "out_trade_no") if len(orders) == 1 else None,
        payment_channel_reference=(
            optional(orders[0], "transaction_id") if len(orders) == 1 else None
        ),
        text=optional(fields, "complaint_detail") or "",
        phone=phone,
    )


def _due_by(state: str, opened_at: datetime) -> datetime | None:
    if state == "PROCESSED":
        return None
    return opened_at + (FIRST_REPLY if state == "PENDING" else DONE)


def _phone(gateway: Gateway, fields: Mapping[str, Any]) -> str | None:
    sealed = optional(fields, "payer_phone")
    if sealed is None:
        return None
    try:
        return decrypt_oaep(gateway.account.private_key, sealed)
    except ValueError:
        raise AnswerUnreadable("the customer's phone does not decrypt with private_key") from None
