"""Asking about a payment, closing it, and taking a code payment back.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012791911 and its siblings.
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.requests import Context, PaymentQuery
from qiao.channels.wechat.account import Account
from qiao.channels.wechat.codes import ALREADY, NOT_FOUND
from qiao.channels.wechat.gateway import Answer, Gateway, expect, object_of, optional, text_of
from qiao.channels.wechat.texts import check_reference, money_from, time_from
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


def order_path(gateway: Gateway, product: str) -> str:
    """Where orders of a product are made; service providers have addresses of their own."""
    partner = "/partner" if gateway.account.partner else ""
    return f"/v3/pay{partner}/transactions/{product}"


def merchant(account: Account) -> dict[str, str | None]:
    """Who the merchant is, as later questions name it."""
    settings = account.settings
    if account.partner:
        return {"sp_mchid": settings.mchid, "sub_mchid": settings.sub_mchid}
    return {"mchid": settings.mchid}


def query_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Ask for the order's state."""
    path = order_path(gateway, f"out-trade-no/{check_reference(query.reference)}")
    answer = yield from gateway.call("GET", path, context, query=merchant(gateway.account))
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return outcome_of(gateway.account, answer.fields, query)


def close_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Close the order; one that was paid meanwhile is told as it stands."""
    path = order_path(gateway, f"out-trade-no/{check_reference(query.reference)}/close")
    answer = yield from gateway.call("POST", path, context, body=merchant(gateway.account))
    return (yield from _ended(gateway, query, context, answer))


def reverse_payment(
    gateway: Gateway, query: PaymentQuery, context: Context
) -> Operation[PaymentOutcome]:
    """Take a code payment back: what was paid goes back in full, what was not is closed.

    Source: https://pay.weixin.qq.com/docs/merchant/apis/code-payment-v3/direct/reverse.html
    """
    settings = gateway.account.settings
    app = (
        {"sp_appid": settings.appid, "sub_appid": settings.sub_appid}
        if gateway.account.partner
        else {"appid": settings.appid}
    )
    path = order_path(gateway, f"out-trade-no/{check_reference(query.reference)}/reverse")
    body = {**app, **merchant(gateway.account)}
    answer = yield from gateway.call("POST", path, context, body=body)
    return (yield from _ended(gateway, query, context, answer))


def _ended(
    gateway: Gateway, query: PaymentQuery, context: Context, answer: Answer
) -> Operation[PaymentOutcome]:
    if answer.code in NOT_FOUND:
        return NotFound()
    if answer.code in ALREADY:
        return (yield from query_payment(gateway, query, context))
    if not answer.succeeded:
        raise answer.open()
    told = optional(answer.fields, "out_trade_no")
    if told not in (None, query.reference):
        raise AnswerUnreadable("it is about another out_trade_no")
    return Closed()


def outcome_of(account: Account, fields: Mapping[str, Any], query: PaymentQuery) -> PaymentOutcome:
    """What an order's state says; raises AnswerUnreadable for another's order or amount."""
    expect(fields, {"out_trade_no": query.reference})
    state = text_of(fields, "trade_state")
    trade = optional(fields, "transaction_id")
    if state in PAID:
        return succeeded(account, fields, query.amount)
    expect_merchant(account, fields)
    if isinstance(fields.get("amount"), dict):
        check_amount(fields, query.amount)
    if state in WAITING:
        return Pending(action=AwaitCustomer(), channel_reference=trade)
    if state in ENDED:
        return Closed(channel_reference=trade)
    if state == "PAYERROR":
        text = optional(fields, "trade_state_desc") or ""
        return Declined(code="declined", channel_code=state, channel_message=text)
    raise AnswerUnreadable("there is a trade_state that Qiao does not know")


def succeeded(account: Account, fields: Mapping[str, Any], asked: Money | None) -> Succeeded:
    """A paid order, once its merchant, app and (where it was asked) amount are ours."""
    expect_merchant(account, fields)
    told = check_amount(fields, asked)
    payer = fields.get("payer")
    payer = payer if isinstance(payer, dict) else {}
    return Succeeded(
        amount=told,
        channel_reference=text_of(fields, "transaction_id"),
        paid_at=time_from(fields.get("success_time")),
        payer=optional(payer, "openid") or optional(payer, "sp_openid"),
    )


def check_amount(fields: Mapping[str, Any], asked: Money | None) -> Money:
    told = money_from(object_of(fields, "amount"), "total")
    if asked is not None and told != asked:
        raise AnswerUnreadable("it is about another amount")
    return told


def expect_merchant(account: Account, fields: Mapping[str, Any]) -> None:
    """Raises AnswerUnreadable unless the order is this merchant's and this app's."""
    settings = account.settings
    if account.partner:
        expect(fields, {"sp_mchid": settings.mchid, "sub_mchid": settings.sub_mchid})
        apps, app = [settings.appid], fields.get("sp_appid")
    else:
        expect(fields, {"mchid": settings.mchid})
        apps = [settings.appid, settings.mini_program_appid or settings.appid]
        app = fields.get("appid")
    if app not in apps:
        raise AnswerUnreadable("it is about another appid")
