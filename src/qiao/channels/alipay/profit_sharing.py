"""Dividing a paid trade between receivers (分账), always in Alipay's asynchronous mode.

The order must have been made with ``profit_sharing`` and every receiver bound to the merchant
(分账关系). Sources: https://opendocs.alipay.com/open/ — alipay.trade.order.settle and
alipay.trade.order.settle.query; https://apifox.com/apidoc/docs-site/3618910/doc-3272472: settled
without royalty parameters, ``royalty_finish`` alone lets what is left go.
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
from qiao.domain.outcomes import (
    PartlyShared,
    ShareResult,
    SharingOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)


def share_profit(
    gateway: Gateway, request: ProfitSharingRequest, context: Context
) -> Operation[SharingOutcome]:
    """Order the sharing; Alipay works on it, and :func:`query_profit_sharing` tells the end.

    One trade may not mix the synchronous and the asynchronous mode, so there is only one here. A
    resend with the same number carries on where the first one failed. What is left is let go at
    once.
    """
    _check(request)
    content: dict[str, Any] = {
        "out_request_no": request.reference,
        "trade_no": request.payment_channel_reference,
        "extend_params": {"royalty_finish": "true" if request.finish else "false"},
    }
    if request.shares:
        content["royalty_mode"] = "async"
        content["royalty_parameters"] = [
            {
                "royalty_type": "transfer",
                "trans_in_type": share.receiver_type,
                "trans_in": share.receiver,
                "amount": yuan_text(share.amount, field="shares"),
                "desc": share.description,
            }
            for share in request.shares
        ]
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
    number = answer.optional("settle_no")
    if request.shares:
        return TransferPending(channel_reference=number)
    return Transferred(amount=Money(0, "CNY"), channel_reference=number or answer.text("trade_no"))


def _check(request: ProfitSharingRequest) -> None:
    """Raises InvalidInput."""
    nothing = not request.shares and not request.finish
    if nothing or not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "no shares" if nothing else "not an Alipay request number",
            field="shares" if nothing else "reference",
            remedy="give at least one share, under 1 to 64 letters, digits and underscores",
        )


def query_profit_sharing(
    gateway: Gateway, query: ProfitSharingQuery, context: Context
) -> Operation[SharingOutcome]:
    """Ask for every receiver's share. Alipay documents no answer for a number that it lacks."""
    content = {"trade_no": query.payment_channel_reference, "out_request_no": query.reference}
    answer = yield from gateway.call(
        "alipay.trade.order.settle.query", content, context, effect=False
    )
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_request_no", query.reference)
    return _outcome(answer, query)


def _outcome(answer: Answer, query: ProfitSharingQuery) -> SharingOutcome:
    if not query.amount.minor:
        return Transferred(amount=query.amount, channel_reference=query.payment_channel_reference)
    shares = _shares(answer)
    states = {share.text("state") for share in shares}
    if not states <= {"SUCCESS", "FAIL", "PROCESSING"} or not states:
        raise AnswerUnreadable(f"{answer.method} answered no state that Qiao knows")
    if "PROCESSING" in states:
        return TransferPending()
    if sum((money_from(one.text("amount")) for one in shares), Money(0, "CNY")) != query.amount:
        raise AnswerUnreadable(f"{answer.method} answered about another amount")
    moments = [time_from(text) for share in shares if (text := share.optional("execute_dt"))]
    done = max(moments, default=None)
    if states == {"FAIL"}:
        return TransferRefused(
            code="declined",
            channel_code=shares[0].optional("error_code") or "FAIL",
            channel_message=shares[0].optional("error_desc") or "",
        )
    if states == {"SUCCESS"}:
        return Transferred(
            amount=query.amount,
            channel_reference=query.payment_channel_reference,
            transferred_at=done,
        )
    arrived, results = _results(shares, query)
    return PartlyShared(
        amount=arrived,
        results=results,
        channel_reference=query.payment_channel_reference,
        transferred_at=done,
    )


def _results(
    shares: Sequence[Answer], query: ProfitSharingQuery
) -> tuple[Money, tuple[ShareResult, ...]]:
    """What arrived, and what became of each share; raises AnswerUnreadable unless all are told."""
    told = {share.text("trans_in"): share for share in shares}
    if len(told) != len(shares) or set(told) != {share.receiver for share in query.shares}:
        raise AnswerUnreadable(
            "some receivers got their share and some did not, and it is not told who did"
        )
    arrived, results = Money(0, "CNY"), []
    for share in query.shares:
        one = told[share.receiver]
        if money_from(one.text("amount")) != share.amount:
            raise AnswerUnreadable("a receiver's share is of another amount")
        if one.text("state") == "SUCCESS":
            arrived += share.amount
            results.append(ShareResult(arrived=True))
        else:
            results.append(
                ShareResult(
                    arrived=False,
                    channel_code=one.optional("error_code") or "FAIL",
                    channel_message=one.optional("error_desc") or "",
                )
            )
    return arrived, tuple(results)


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
