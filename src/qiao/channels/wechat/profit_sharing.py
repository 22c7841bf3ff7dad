"""Profit sharing (分账): a paid payment is divided between receivers.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012466848 and 4012466850.
"""

from collections.abc import Mapping
from typing import Any

from qiao.channels.requests import Context, ProfitSharingQuery, ProfitSharingRequest
from qiao.channels.wechat.codes import NOT_FOUND, SHARING_REFUSALS
from qiao.channels.wechat.gateway import Gateway, expect, text_of
from qiao.channels.wechat.texts import (
    REFUND_REFERENCE,
    check_reference,
    fen,
    money_from,
    time_from,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

PATH = "/v3/profitsharing/orders"


def share_profit(
    gateway: Gateway, request: ProfitSharingRequest, context: Context
) -> Operation[TransferOutcome]:
    """Order the sharing; WeChat Pay works on it."""
    if not request.shares:
        raise InvalidInput("no shares", field="shares", remedy="give at least one share")
    settings = gateway.account.settings
    body = {
        "appid": settings.appid,
        "sub_mchid": settings.sub_mchid,
        "transaction_id": request.payment_channel_reference,
        "out_order_no": check_reference(request.reference, REFUND_REFERENCE),
        "receivers": [
            {
                "type": share.receiver_type,
                "account": share.receiver,
                "amount": fen(share.amount, field="shares"),
                "description": share.description,
            }
            for share in request.shares
        ],
        "unfreeze_unsplit": request.finish,
    }
    answer = yield from gateway.call("POST", PATH, context, body=body)
    if answer.code in SHARING_REFUSALS:
        return TransferRefused(
            code=SHARING_REFUSALS[answer.code],
            channel_code=answer.code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    query = ProfitSharingQuery(
        reference=request.reference,
        payment_reference=request.payment_reference,
        payment_channel_reference=request.payment_channel_reference,
        amount=sum((share.amount for share in request.shares), Money(0, "CNY")),
    )
    return _outcome(answer.fields, query)


def query_profit_sharing(
    gateway: Gateway, query: ProfitSharingQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for every receiver's share. Part done and part failed leaves the outcome open."""
    path = f"{PATH}/{check_reference(query.reference, REFUND_REFERENCE)}"
    asked = {
        "sub_mchid": gateway.account.settings.sub_mchid,
        "transaction_id": query.payment_channel_reference,
    }
    answer = yield from gateway.call("GET", path, context, query=asked)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer.fields, query)


def _outcome(fields: Mapping[str, Any], query: ProfitSharingQuery) -> TransferOutcome:
    expect(
        fields,
        {
            "out_order_no": query.reference,
            "transaction_id": query.payment_channel_reference,
        },
    )
    state = text_of(fields, "state")
    if state == "PROCESSING":
        return TransferPending(channel_reference=text_of(fields, "order_id"))
    if state != "FINISHED":
        raise AnswerUnreadable("there is a sharing state that Qiao does not know")
    receivers = fields.get("receivers")
    if not isinstance(receivers, list) or not all(isinstance(one, dict) for one in receivers):
        raise AnswerUnreadable("there are no receivers")
    shares = [one for one in receivers if one.get("description") != "解冻给分账方"]
    results = {text_of(share, "result") for share in shares}
    if results == {"CLOSED"}:
        reason = shares[0].get("fail_reason")
        return TransferRefused(
            code="declined", channel_code=reason if isinstance(reason, str) else "CLOSED"
        )
    if results != {"SUCCESS"}:
        raise AnswerUnreadable("not every receiver got its share, or none is named")
    shared = sum((money_from(share, "amount") for share in shares), Money(0, "CNY"))
    if shared != query.amount:
        raise AnswerUnreadable("it is about another amount")
    moments = [time_from(share["finish_time"]) for share in shares if "finish_time" in share]
    return Transferred(
        amount=query.amount,
        channel_reference=text_of(fields, "order_id"),
        transferred_at=max(moments, default=None),
    )
