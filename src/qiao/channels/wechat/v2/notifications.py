"""Notifications: a payment's is proven by its signature, a refund's by that it decrypts.

Source: facts of WeChat Pay's API v2 on notifications (支付结果通知, 退款结果通知).
"""

from collections.abc import Mapping
from typing import Final

from qiao.channels.interface import (
    AgreementNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
    RefundNotification,
)
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.agreements import notified
from qiao.channels.wechat.v2.codec import read
from qiao.channels.wechat.v2.codes import CHARGE_DECLINES
from qiao.channels.wechat.v2.gateway import (
    expect,
    expect_merchant,
    loose,
    rejected,
    signature_problem,
    text_of,
)
from qiao.channels.wechat.v2.payments import succeeded
from qiao.channels.wechat.v2.refunds import status_of
from qiao.channels.wechat.v2.texts import money_from
from qiao.channels.wire import HttpMessage, HttpReply
from qiao.crypto.aes import DecryptionFailed, decrypt_ecb
from qiao.domain.errors import AnswerUnreadable, NotificationRejected
from qiao.domain.outcomes import Declined

ACCEPTED: Final = (
    b"<xml><return_code><![CDATA[SUCCESS]]></return_code>"
    b"<return_msg><![CDATA[OK]]></return_msg></xml>"
)
REFUSED: Final = (
    b"<xml><return_code><![CDATA[FAIL]]></return_code>"
    b"<return_msg><![CDATA[rejected]]></return_msg></xml>"
)


def authenticate(account: Account, message: HttpMessage) -> Notification:
    """Prove that WeChat Pay sent the message for this merchant, then read it.

    Raises NotificationRejected. Only what carries ``req_info`` may come without a signature: it is
    encrypted under the account's key, and nothing but a refund is ever read from it.
    """
    if message.method != "POST":
        raise NotificationRejected("WeChat Pay notifies by POST")
    try:
        fields = read(message.body)
        if "req_info" in fields:
            return _refund(account, fields)
        problem = signature_problem(account, fields)
        if problem is not None:
            raise NotificationRejected(problem)
        if "change_type" in fields:
            return _agreement(account, fields)
        if "contract_id" in fields and fields.get("result_code") == "FAIL":
            return _refused_charge(account, fields)
        return _payment(account, fields)
    except AnswerUnreadable as error:
        raise rejected(error) from None


def acknowledge(*, accepted: bool) -> HttpReply:
    """SUCCESS, or FAIL so that WeChat Pay tells it again."""
    body = ACCEPTED if accepted else REFUSED
    return HttpReply(status=200, content_type="text/xml; charset=utf-8", body=body)


def _agreement(account: Account, fields: Mapping[str, str]) -> Notification:
    """Raises AnswerUnreadable."""
    outcome = notified(account, fields)
    change = fields["change_type"]
    id_ = f"{text_of(fields, 'contract_id')}.{change}.{fields.get('operate_time', '')}"
    if outcome is None:
        return OtherNotification(id=id_, kind=f"change_type {change}")
    return AgreementNotification(
        id=id_, reference=text_of(fields, "contract_code"), outcome=outcome
    )


def _refused_charge(account: Account, fields: Mapping[str, str]) -> Notification:
    """扣款结果通知 of a charge by an agreement that came to nothing; raises AnswerUnreadable."""
    expect(fields, {"return_code": "SUCCESS"})
    expect_merchant(account, fields)
    code = loose(text_of(fields, "err_code"))
    reference = text_of(fields, "out_trade_no")
    id_ = f"{reference}.{code}"
    if code not in CHARGE_DECLINES:
        return OtherNotification(id=id_, kind="charge refused")
    declined = Declined(
        code=CHARGE_DECLINES[code],
        channel_code=code,
        channel_message=fields.get("err_code_des", ""),
    )
    return PaymentNotification(id=id_, reference=reference, outcome=declined)


def _payment(account: Account, fields: Mapping[str, str]) -> PaymentNotification:
    """Raises AnswerUnreadable."""
    expect(fields, {"return_code": "SUCCESS", "result_code": "SUCCESS"})
    # A success has one; what the query calls trade_state is told here by its sisters alone.
    if fields.get("trade_state", "SUCCESS") != "SUCCESS":
        raise AnswerUnreadable("it tells of a success that is none")
    return PaymentNotification(
        id=text_of(fields, "transaction_id"),
        reference=text_of(fields, "out_trade_no"),
        outcome=succeeded(account, fields, None),
    )


def _refund(account: Account, fields: Mapping[str, str]) -> RefundNotification:
    """Raises AnswerUnreadable."""
    expect(fields, {"return_code": "SUCCESS"})
    expect_merchant(account, fields)
    try:
        plain = decrypt_ecb(account.refund_key, fields["req_info"])
    except DecryptionFailed:
        raise AnswerUnreadable(
            "it does not decrypt: is api_key the one of the merchant platform?"
        ) from None
    told = read(plain, root="root")
    number, status = text_of(told, "refund_id"), text_of(told, "refund_status")
    return RefundNotification(
        id=f"{number}.{status}",
        payment_reference=text_of(told, "out_trade_no"),
        reference=text_of(told, "out_refund_no"),
        outcome=status_of(
            money_from(told, "refund_fee"),
            status=status,
            number=number,
            moment=told.get("success_time"),
        ),
    )
