"""Returns of shares (退分账): a refund of nothing to the customer, and of a share to the merchant.

Sources: https://opendocs.alipay.com/support/01rg1b (``refund_amount`` 0 with
``refund_royalty_parameters``), https://opendocs.alipay.com/open/ — alipay.trade.refund and
alipay.trade.fastpay.refund.query (``refund_royaltys``).
"""

from typing import Any, Final

from qiao.channels.alipay.codes import (
    DOUBTFUL_RETURN_REFUSALS,
    REFUND_REFUSALS,
    TRADE_NOT_EXIST,
)
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.products import REFERENCE
from qiao.channels.alipay.texts import money_from, time_from, yuan_text
from qiao.channels.requests import Context, ShareReturnQuery, ShareReturnRequest
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    NotFound,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

NOTHING: Final = "0.00"


def return_share(
    gateway: Gateway, request: ShareReturnRequest, context: Context
) -> Operation[TransferOutcome]:
    """Ask for it back; what became of it is asked for at once. The same number moves no more."""
    answer = yield from gateway.call("alipay.trade.refund", _content(request), context)
    if answer.business_code in REFUND_REFUSALS:
        return _refused(REFUND_REFUSALS[answer.business_code], answer)
    if answer.business_code in DOUBTFUL_RETURN_REFUSALS:
        outcome = yield from query_share_return(gateway, request, context)
        refused = _refused(DOUBTFUL_RETURN_REFUSALS[answer.business_code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", request.payment_reference)
    outcome = yield from query_share_return(gateway, request, context)
    return TransferPending() if isinstance(outcome, NotFound) else outcome


def query_share_return(
    gateway: Gateway, query: ShareReturnQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for the return: ``refund_royaltys`` tells that it is done.

    An answer without any of it says that Alipay has no such refund, or not yet: NotFound. One that
    knows the refund and tells nothing of the share is no end, and no leave to take it for refused.
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
    told = answer.fields.get("refund_royaltys")
    known = answer.optional("refund_status") or answer.optional("refund_amount")
    if not told and known is None:
        return NotFound()
    answer.expect("out_trade_no", query.payment_reference)
    answer.expect("out_request_no", query.reference)
    if not told:
        return TransferPending()
    if not isinstance(told, list) or len(told) != 1 or not isinstance(told[0], dict):
        raise AnswerUnreadable(f"{method} answered about other returns than the one")
    back = Answer(method=method, code="", sub_code="", message="", fields=told[0])
    if money_from(back.text("refund_amount")) != query.amount:
        raise AnswerUnreadable(f"{method} answered about another amount")
    if back.text("result_code") != "SUCCESS":
        raise AnswerUnreadable(f"{method} answered a result_code that Qiao does not know")
    moment = answer.optional("gmt_refund_pay")
    return Transferred(
        amount=query.amount,
        channel_reference=answer.text("trade_no"),
        transferred_at=None if moment is None else time_from(moment),
    )


def _content(request: ShareReturnRequest) -> dict[str, Any]:
    """Raises InvalidInput."""
    if not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "not an Alipay refund number",
            field="reference",
            remedy="give 1 to 64 letters, digits and underscores",
        )
    return {
        "out_trade_no": request.payment_reference,
        "out_request_no": request.reference,
        "refund_amount": NOTHING,
        "refund_reason": request.description,
        "refund_royalty_parameters": [
            {
                "royalty_type": "transfer",
                "trans_out_type": request.share.receiver_type,
                "trans_out": request.share.receiver,
                "amount": yuan_text(request.amount),
                "desc": request.description,
            }
        ],
    }


def _refused(code: str, answer: Answer) -> TransferRefused:
    return TransferRefused(code=code, channel_code=answer.sub_code, channel_message=answer.message)
