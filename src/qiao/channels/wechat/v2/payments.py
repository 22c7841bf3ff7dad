"""Asking about a payment, closing it, and taking a code payment back.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011935215 (query), 4011935216 (closing) and
4011937361 (reversal).
"""

from collections.abc import Mapping
from typing import Final

from qiao.channels.requests import Context, PaymentQuery
from qiao.channels.wechat.texts import check_reference
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.codes import (
    ALREADY,
    DOUBTFUL_DECLINES,
    NOT_FOUND,
    NOT_REVERSIBLE,
)
from qiao.channels.wechat.v2.gateway import Answer, Gateway, expect, expect_merchant, text_of
from qiao.channels.wechat.v2.texts import money_from, time_from
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AwaitCustomer,
    Closed,
    Declined,
    NotFound,
    PaymentOutcome,
    Pending,
    Succeeded,
)

PAID: Final = frozenset({"SUCCESS", "REFUND"})
WAITING: Final = frozenset({"NOTPAY", "USERPAYING", "ACCEPT"})
ENDED: Final = frozenset({"CLOSED", "REVOKED"})
FAILED: Final = frozenset({"PAYERROR", "PAY_FAIL"})
"""The second of what was charged by an agreement, whose waiting is ACCEPT until the notice is over.
"""


def query_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the order's state. What an agreement was charged for is asked for elsewhere.

    Source: https://pay.weixin.qq.com/doc/v2/merchant/4013894074 (查询订单, paporderquery).
    """
    asked = {"out_trade_no": check_reference(query.reference)}
    path = "/pay/paporderquery" if query.by_agreement else "/pay/orderquery"
    answer = yield from gateway.call(path, asked, context, effect=False)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return outcome_of(gateway.account, answer.fields, query)


def refusal(
    gateway: Gateway,
    answer: Answer,
    declines: Mapping[str, str],
    query: PaymentQuery,
    context: Context,
) -> Operation[PaymentOutcome | None]:
    """What became of an order or a charge that was not accepted; None for one that was.

    One whose number was used before is asked about, and so is one whose refusal may only say that
    it was repeated. Raises AnswerUnreadable where it stays open.
    """
    if answer.code in ALREADY:
        return (yield from query_payment(gateway, query, context))
    if answer.code in declines:
        return _declined(declines[answer.code], answer)
    if answer.code in DOUBTFUL_DECLINES:
        outcome = yield from query_payment(gateway, query, context)
        declined = _declined("invalid_request", answer)
        return declined if isinstance(outcome, NotFound) else outcome
    if not answer.succeeded:
        raise answer.open()
    return None


def _declined(code: str, answer: Answer) -> Declined:
    return Declined(code=code, channel_code=answer.code, channel_message=answer.message)


def close_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Close the order; one that was paid meanwhile is told as it stands."""
    asked = {"out_trade_no": check_reference(query.reference)}
    answer = yield from gateway.call("/pay/closeorder", asked, context)
    if answer.code in NOT_FOUND:
        return NotFound()
    if answer.code in ALREADY:
        return (yield from query_payment(gateway, query, context))
    if not answer.succeeded:
        raise answer.open()
    return Closed()


def reverse_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Take a code payment back: what was paid goes back in full, what was not is closed.

    ``recall`` Y says that it is not done and must be asked for again: that is unknown until then.
    """
    asked = {"out_trade_no": check_reference(query.reference)}
    answer = yield from gateway.call("/secapi/pay/reverse", asked, context)
    if answer.code in NOT_FOUND:
        return NotFound()
    if answer.fields.get("recall") == "Y":
        raise AnswerUnreadable("it is not reversed yet: ask for it again")
    if answer.code in NOT_REVERSIBLE:
        return (yield from query_payment(gateway, query, context))
    if not answer.succeeded:
        raise answer.open()
    if answer.fields.get("recall") != "N":
        raise AnswerUnreadable("it does not say whether it is reversed")
    return Closed()


def outcome_of(account: Account, fields: Mapping[str, str], query: PaymentQuery) -> PaymentOutcome:
    """What an order's state says; raises AnswerUnreadable for another's order or amount."""
    expect(fields, {"out_trade_no": query.reference})
    state, trade = text_of(fields, "trade_state"), fields.get("transaction_id") or None
    if state in PAID:
        return succeeded(account, fields, query.amount)
    expect_merchant(account, fields)
    if fields.get("total_fee"):
        check_amount(fields, query.amount)
    if state in WAITING:
        return Pending(action=AwaitCustomer(), channel_reference=trade)
    if state in ENDED:
        return Closed(channel_reference=trade)
    if state in FAILED:
        text = fields.get("trade_state_desc", "")
        return Declined(code="declined", channel_code=state, channel_message=text)
    raise AnswerUnreadable("there is a trade_state that Qiao does not know")


def succeeded(account: Account, fields: Mapping[str, str], asked: Money | None) -> Succeeded:
    """A paid order, once its merchant, app and (where it was asked) amount are ours."""
    expect_merchant(account, fields)
    return Succeeded(
        amount=check_amount(fields, asked),
        channel_reference=text_of(fields, "transaction_id"),
        paid_at=time_from(text_of(fields, "time_end")),
        payer=fields.get("openid") or None,
    )


def check_amount(fields: Mapping[str, str], asked: Money | None) -> Money:
    """The order's amount; raises AnswerUnreadable when it is not the one that was asked for."""
    told = money_from(fields, "total_fee")
    if asked is not None and told != asked:
        raise AnswerUnreadable("it is about another amount")
    return told
