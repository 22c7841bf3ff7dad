"""Dividing a paid trade between receivers (分账), always in Alipay's asynchronous mode.

The order must have been made with ``profit_sharing`` and every receiver bound to the merchant
(分账关系). Sources: https://opendocs.alipay.com/open/ — alipay.trade.order.settle and
alipay.trade.order.settle.query.
"""

from collections.abc import Sequence
from typing import Any

from qiao.channels.alipay.codes import PROFIT_SHARING_REFUSALS
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.products import REFERENCE
from qiao.channels.alipay.texts import money_from, time_from, yuan_text
from qiao.channels.requests import Context, ProfitSharingQuery, ProfitSharingRequest
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import TransferOutcome, TransferPending, Transferred, TransferRefused


def share_profit(
    gateway: Gateway, request: ProfitSharingRequest, context: Context
) -> Operation[TransferOutcome]:
    """Order the sharing; Alipay works on it, and :func:`query_profit_sharing` tells the end.

    One trade may not mix the synchronous and the asynchronous mode, so there is only one here. A
    resend with the same number carries on where the first one failed.
    """
    if not request.shares or not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "no shares" if not request.shares else "not an Alipay request number",
            field="shares" if not request.shares else "reference",
            remedy="give at least one share, under 1 to 64 letters, digits and underscores",
        )
    content: dict[str, Any] = {
        "out_request_no": request.reference,
        "trade_no": request.payment_channel_reference,
        "royalty_parameters": [
            {
                "royalty_type": "transfer",
                "trans_in_type": share.receiver_type,
                "trans_in": share.receiver,
                "amount": yuan_text(share.amount, field="shares"),
                "desc": share.description,
            }
            for share in request.shares
        ],
        "extend_params": {"royalty_finish": "true" if request.finish else "false"},
        "royalty_mode": "async",
    }
    answer = yield from gateway.call("alipay.trade.order.settle", content, context)
    if answer.business_code in PROFIT_SHARING_REFUSALS:
        return TransferRefused(
            code=PROFIT_SHARING_REFUSALS[answer.business_code],
            channel_code=answer.sub_code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    answer.expect("trade_no", request.payment_channel_reference)
    return TransferPending(channel_reference=answer.optional("settle_no"))


def query_profit_sharing(
    gateway: Gateway, query: ProfitSharingQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for every receiver's share. Part done and part failed leaves the outcome open."""
    content = {"trade_no": query.payment_channel_reference, "out_request_no": query.reference}
    answer = yield from gateway.call(
        "alipay.trade.order.settle.query", content, context, effect=False
    )
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_request_no", query.reference)
    return _outcome(answer, query)


def _outcome(answer: Answer, query: ProfitSharingQuery) -> TransferOutcome:
    shares = _shares(answer)
    states = {share.text("state") for share in shares}
    if not states <= {"SUCCESS", "FAIL", "PROCESSING"} or not states:
        raise AnswerUnreadable(f"{answer.method} answered no state that Qiao knows")
    if "PROCESSING" in states:
        return TransferPending()
    if states == {"FAIL"}:
        return TransferRefused(
            code="declined",
            channel_code=shares[0].optional("error_code") or "FAIL",
            channel_message=shares[0].optional("error_desc") or "",
        )
    if "FAIL" in states:
        raise AnswerUnreadable(
            "some receivers got their share and some did not: send the same sharing again"
        )
    shared = sum((money_from(share.text("amount")) for share in shares), Money(0, "CNY"))
    if shared != query.amount:
        raise AnswerUnreadable(f"{answer.method} answered about another amount")
    moments = [time_from(text) for share in shares if (text := share.optional("execute_dt"))]
    return Transferred(
        amount=query.amount,
        channel_reference=query.payment_channel_reference,
        transferred_at=max(moments, default=None),
    )


def _shares(answer: Answer) -> Sequence[Answer]:
    """The shares alone: the same list may also hold what was given back (``transfer_refund``)."""
    details = answer.fields.get("royalty_detail_list")
    if not isinstance(details, list) or not all(isinstance(detail, dict) for detail in details):
        raise AnswerUnreadable(f"{answer.method} answered without its list")
    return [
        Answer(method=answer.method, code="", sub_code="", message="", fields=detail)
        for detail in details
        if detail.get("operation_type", "transfer") == "transfer"
    ]
