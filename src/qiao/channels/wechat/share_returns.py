"""Returns of shares (分账回退): a merchant that got a share gives it back.

Only a receiver that is a merchant can; a person cannot. Mostly it is done at once, and one that is
processed for five days is closed. Sources: https://pay.weixin.qq.com/doc/v3/partner/4012467097 and
https://pay.weixin.qq.com/docs/partner/apis/brand-profit-sharing/return-orders/query-return-order.html;
the states of ``result`` as in the models of wechatpay-apiv3/wechatpay-go (services/profitsharing).
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.requests import Context, ShareReturnQuery, ShareReturnRequest
from qiao.channels.wechat.codes import DOUBTFUL_RETURN_REFUSALS, NOT_FOUND, SHARING_REFUSALS
from qiao.channels.wechat.gateway import Answer, Gateway, expect, optional, text_of
from qiao.channels.wechat.texts import (
    REFUND_REFERENCE,
    check_reference,
    fen,
    money_from,
    time_from,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    NotFound,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

PATH: Final = "/v3/profitsharing/return-orders"
MERCHANT: Final = "MERCHANT_ID"


def return_share(
    gateway: Gateway, request: ShareReturnRequest, context: Context
) -> Operation[TransferOutcome]:
    """Ask for it back. The same ``out_return_no`` again moves no money."""
    if request.share.receiver_type != MERCHANT:
        raise InvalidInput(
            "only a merchant can give a share back, a person cannot",
            field="line",
            remedy="settle it with the person, who keeps the share",
        )
    body = {
        "sub_mchid": gateway.account.settings.sub_mchid,
        "out_order_no": check_reference(request.sharing_reference, REFUND_REFERENCE),
        "out_return_no": check_reference(request.reference, REFUND_REFERENCE),
        "return_mchid": request.share.receiver,
        "amount": fen(request.amount),
        "description": request.description,
    }
    answer = yield from gateway.call("POST", PATH, context, body=body)
    if answer.code in SHARING_REFUSALS:
        return _refused(SHARING_REFUSALS[answer.code], answer)
    if answer.code in DOUBTFUL_RETURN_REFUSALS:
        outcome = yield from query_share_return(gateway, request, context)
        refused = _refused(DOUBTFUL_RETURN_REFUSALS[answer.code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer.fields, request)


def query_share_return(
    gateway: Gateway, query: ShareReturnQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for the return by our number."""
    path = f"{PATH}/{check_reference(query.reference, REFUND_REFERENCE)}"
    asked = {
        "sub_mchid": gateway.account.settings.sub_mchid,
        "out_order_no": check_reference(query.sharing_reference, REFUND_REFERENCE),
    }
    answer = yield from gateway.call("GET", path, context, query=asked)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer.fields, query)


def _outcome(fields: Mapping[str, Any], query: ShareReturnQuery) -> TransferOutcome:
    expect(
        fields,
        {
            "out_return_no": query.reference,
            "out_order_no": query.sharing_reference,
            "return_mchid": query.share.receiver,
        },
    )
    if money_from(fields, "amount") != query.amount:
        raise AnswerUnreadable("it is about another amount")
    result, number = text_of(fields, "result"), optional(fields, "return_id")
    if result == "PROCESSING":
        return TransferPending(channel_reference=number)
    if result in ("FAILED", "FAIL"):
        reason = optional(fields, "fail_reason") or result
        return TransferRefused(code="declined", channel_code=reason)
    if result != "SUCCESS":
        raise AnswerUnreadable("there is a result of a return that Qiao does not know")
    moment = fields.get("finish_time")
    return Transferred(
        amount=query.amount,
        channel_reference=text_of(fields, "return_id"),
        transferred_at=None if moment is None else time_from(moment),
    )


def _refused(code: str, answer: Answer) -> TransferRefused:
    return TransferRefused(code=code, channel_code=answer.code, channel_message=answer.message)
