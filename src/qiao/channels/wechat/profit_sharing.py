"""Profit sharing (分账): a paid payment is divided between receivers; the rest is let go (解冻).

Sources: https://pay.weixin.qq.com/doc/v3/merchant/4012466848 and 4012466850;
https://pay.weixin.qq.com/docs/merchant/apis/profit-sharing/orders/unfreeze-order.html.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from qiao.channels.requests import Context, ProfitSharingQuery, ProfitSharingRequest
from qiao.channels.wechat.codes import DOUBTFUL_SHARING_REFUSALS, NOT_FOUND, SHARING_REFUSALS
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
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    PartlyShared,
    ShareResult,
    SharingOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

PATH: Final = "/v3/profitsharing/orders"
RELEASED: Final = "解冻给分账方"
"""How WeChat Pay describes the line of what went back to the merchant itself."""
RELEASING: Final = "解冻剩余资金"


def share_profit(
    gateway: Gateway, request: ProfitSharingRequest, context: Context
) -> Operation[SharingOutcome]:
    """Order the sharing, or let what is left go; WeChat Pay works on it."""
    if not request.shares and not request.finish:
        raise InvalidInput("no shares", field="shares", remedy="give at least one share")
    path, body = f"{PATH}/unfreeze", {"description": RELEASING}
    if request.shares:
        path, body = PATH, _division(gateway, request)
    settings = gateway.account.settings
    ordered = {
        "sub_mchid": settings.sub_mchid,
        "transaction_id": request.payment_channel_reference,
        "out_order_no": check_reference(request.reference, REFUND_REFERENCE),
        **body,
    }
    answer = yield from gateway.call("POST", path, context, body=ordered)
    if answer.code in SHARING_REFUSALS:
        return _refused(SHARING_REFUSALS[answer.code], answer)
    query = ProfitSharingQuery(
        reference=request.reference,
        payment_reference=request.payment_reference,
        payment_channel_reference=request.payment_channel_reference,
        amount=sum((share.amount for share in request.shares), Money(0, "CNY")),
        shares=request.shares,
    )
    if answer.code in DOUBTFUL_SHARING_REFUSALS:
        outcome = yield from query_profit_sharing(gateway, query, context)
        refused = _refused(DOUBTFUL_SHARING_REFUSALS[answer.code], answer)
        return refused if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer.fields, query)


def _refused(code: str, answer: Answer) -> TransferRefused:
    return TransferRefused(code=code, channel_code=answer.code, channel_message=answer.message)


def _division(gateway: Gateway, request: ProfitSharingRequest) -> dict[str, Any]:
    return {
        "appid": gateway.account.settings.appid,
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


def query_profit_sharing(
    gateway: Gateway, query: ProfitSharingQuery, context: Context
) -> Operation[SharingOutcome]:
    """Ask for every receiver's share, or for the release."""
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


def _outcome(fields: Mapping[str, Any], query: ProfitSharingQuery) -> SharingOutcome:
    expect(
        fields,
        {
            "out_order_no": query.reference,
            "transaction_id": query.payment_channel_reference,
        },
    )
    state, number = text_of(fields, "state"), text_of(fields, "order_id")
    if state == "PROCESSING":
        return TransferPending(channel_reference=number)
    if state != "FINISHED":
        raise AnswerUnreadable("there is a sharing state that Qiao does not know")
    lines = _lines(fields, query)
    moments = [time_from(line["finish_time"]) for line in lines if "finish_time" in line]
    done = max(moments, default=None)
    if not query.amount.minor and not lines:
        return Transferred(amount=query.amount, channel_reference=number, transferred_at=done)
    states = [text_of(line, "result") for line in lines]
    if not states or not {"SUCCESS", "CLOSED"}.issuperset(states):
        raise AnswerUnreadable("a receiver's result is not known, or none is named")
    if sum((money_from(line, "amount") for line in lines), Money(0, "CNY")) != query.amount:
        raise AnswerUnreadable("it is about another amount")
    if "SUCCESS" not in states:
        reason = optional(lines[0], "fail_reason") or "CLOSED"
        return TransferRefused(code="declined", channel_code=reason)
    if "CLOSED" not in states:
        return Transferred(amount=query.amount, channel_reference=number, transferred_at=done)
    arrived, results = _results(lines, query)
    return PartlyShared(
        amount=arrived, results=results, channel_reference=number, transferred_at=done
    )


def _lines(fields: Mapping[str, Any], query: ProfitSharingQuery) -> list[dict[str, Any]]:
    """The receivers' lines, without the one of what was let go."""
    lines = fields.get("receivers")
    if lines is None and not query.amount.minor:
        return []
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise AnswerUnreadable("there are no receivers")
    receivers = {share.receiver for share in query.shares}
    return [
        line
        for line in lines
        if line.get("description") != RELEASED or line.get("account") in receivers
    ]


def _results(
    lines: Sequence[Mapping[str, Any]], query: ProfitSharingQuery
) -> tuple[Money, tuple[ShareResult, ...]]:
    """What arrived, and what became of each share; raises AnswerUnreadable unless all are told."""
    told = {text_of(line, "account"): line for line in lines}
    if len(told) != len(lines) or set(told) != {share.receiver for share in query.shares}:
        raise AnswerUnreadable("not every receiver got its share, and it is not told who did")
    arrived, results = Money(0, "CNY"), []
    for share in query.shares:
        line = told[share.receiver]
        if money_from(line, "amount") != share.amount:
            raise AnswerUnreadable("it is about another amount")
        if line["result"] == "SUCCESS":
            arrived += share.amount
            results.append(ShareResult(arrived=True))
        else:
            reason = optional(line, "fail_reason") or "CLOSED"
            results.append(ShareResult(arrived=False, channel_code=reason))
    return arrived, tuple(results)
