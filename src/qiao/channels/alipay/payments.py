"""Asking about a payment, closing it, and taking a code payment back.

Sources: https://opendocs.alipay.com/open/ — alipay.trade.query, .close and .cancel.
"""

from typing import Final

from qiao.channels.alipay.codes import NOT_OPEN, TRADE_NOT_EXIST
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.texts import CURRENCY, money_from, time_from
from qiao.channels.requests import Context, PaymentQuery
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

PAID_STATUSES: Final = frozenset({"TRADE_SUCCESS", "TRADE_FINISHED"})
WAITING_STATUS: Final = "WAIT_BUYER_PAY"
CLOSED_STATUS: Final = "TRADE_CLOSED"
PAYING: Final = "10003"
"""``code`` of alipay.trade.pay while the customer has yet to confirm."""


def query_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the trade's state. A trade that was paid and wholly refunded is Closed.

    NotFound is usual for an unscanned QR code or an unopened page: no trade is there before.
    """
    content = {"out_trade_no": query.reference}
    answer = yield from gateway.call("alipay.trade.query", content, context, effect=False)
    if answer.business_code == TRADE_NOT_EXIST:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", query.reference)
    check_amount(answer, query.amount)
    status, trade = answer.text("trade_status"), answer.text("trade_no")
    if status in PAID_STATUSES:
        return succeeded(answer, query.amount)
    if status == WAITING_STATUS:
        return Pending(action=AwaitCustomer(), channel_reference=trade)
    if status == CLOSED_STATUS:
        return Closed(channel_reference=trade)
    raise AnswerUnreadable("alipay.trade.query answered a trade_status that Qiao does not know")


def close_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Close the trade, and say Closed only when Alipay says so.

    NotFound when there is no trade yet: then nothing was closed, and the customer may still open
    the order until its ``time_expire``. ``trade.cancel`` would be no proof either: it answers
    success for a number that it does not know, and would give a payment back that came meanwhile.
    """
    content = {"out_trade_no": query.reference}
    answer = yield from gateway.call("alipay.trade.close", content, context)
    if answer.business_code == TRADE_NOT_EXIST:
        return NotFound()
    if answer.business_code in NOT_OPEN:
        return (yield from query_payment(gateway, query, context))
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", query.reference)
    return Closed(channel_reference=answer.optional("trade_no"))


def reverse_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Take a code payment back: an unpaid trade is closed, a paid one refunded in full.

    Either way Closed. A success that names no action found no trade: NotFound. A trade that can't
    be taken back any more (24 hours, partly refunded, no balance) is told as it stands.
    """
    content = {"out_trade_no": query.reference}
    answer = yield from gateway.call("alipay.trade.cancel", content, context)
    if answer.business_code == TRADE_NOT_EXIST:
        return NotFound()
    if answer.business_code in NOT_OPEN:
        return (yield from query_payment(gateway, query, context))
    if not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", query.reference)
    if answer.text("retry_flag") != "N":
        raise AnswerUnreadable("alipay.trade.cancel wants to be asked again")
    action = answer.optional("action")
    if action is None:
        return NotFound()
    if action not in ("close", "refund"):
        raise AnswerUnreadable("alipay.trade.cancel took an action that Qiao does not know")
    return Closed(channel_reference=answer.optional("trade_no"))


def taken(answer: Answer, reference: str, asked: Money) -> PaymentOutcome:
    """What an ``alipay.trade.pay`` says that was not refused: paid, or the customer is to confirm.

    Raises AnswerUnreadable where it stays open.
    """
    if answer.code != PAYING and not answer.succeeded:
        raise answer.open()
    answer.expect("out_trade_no", reference)
    if answer.code == PAYING:
        return Pending(action=AwaitCustomer(), channel_reference=answer.optional("trade_no"))
    return succeeded(answer, asked)


def declined(code: str, answer: Answer) -> Declined:
    """Refused, by the business or by the gateway itself."""
    return Declined(
        code=code, channel_code=answer.sub_code or answer.code, channel_message=answer.message
    )


def succeeded(answer: Answer, asked: Money) -> Succeeded:
    """A paid trade, once its amount is what was asked; raises AnswerUnreadable."""
    check_amount(answer, asked)
    paid_at = answer.optional("send_pay_date") or answer.text("gmt_payment")
    return Succeeded(
        amount=asked,
        channel_reference=answer.text("trade_no"),
        paid_at=time_from(paid_at),
        payer=answer.optional("buyer_open_id") or answer.optional("buyer_user_id"),
    )


def check_amount(answer: Answer, asked: Money) -> None:
    """Raise AnswerUnreadable unless the trade is for ``asked``, in yuan."""
    if (answer.optional("trans_currency") or CURRENCY) != CURRENCY:
        raise AnswerUnreadable(f"{answer.method} answered in another currency")
    if money_from(answer.text("total_amount")) != asked:
        raise AnswerUnreadable(f"{answer.method} answered about another amount")
