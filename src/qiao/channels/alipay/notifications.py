"""Asynchronous notifications (异步通知): proven first, from raw bytes, and read afterwards.

Source: https://opendocs.alipay.com/open/203/105286 and facts of Alipay OpenAPI, section 6.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from qiao.channels.alipay.account import Account
from qiao.channels.alipay.agreements import ENDED, SIGNED, active
from qiao.channels.alipay.payments import CLOSED_STATUS, PAID_STATUSES, WAITING_STATUS
from qiao.channels.alipay.signing import notification_content, parsed_object
from qiao.channels.alipay.texts import CURRENCY, money_from, time_from
from qiao.channels.interface import (
    AgreementNotification,
    DisputeNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
)
from qiao.channels.wire import HttpMessage, HttpReply
from qiao.domain.errors import AnswerUnreadable, NotificationRejected
from qiao.domain.outcomes import (
    AgreementEnded,
    AgreementOutcome,
    Authorized,
    AwaitCustomer,
    Closed,
    PaymentOutcome,
    Pending,
    Succeeded,
)

_CHARSETS: Final = {"utf-8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030"}
FROZEN: Final = "fund_auth_freeze"
AGREEMENTS: Final = frozenset({"dut_user_sign", "dut_user_unsign"})
COMPLAINT: Final = "alipay.merchant.tradecomplain.changed"
_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def authenticate(account: Account, message: HttpMessage) -> Notification:
    """Prove that Alipay sent the message, for this app and merchant, then read it.

    Raises NotificationRejected. The amount and our number are the caller's to compare with the
    order, which no channel knows.
    """
    if message.method != "POST":
        raise NotificationRejected("Alipay notifies by POST")
    raw = _form(message.body)
    _verify(account, raw)
    fields = _decoded(raw)
    _check_addressee(account, fields)
    try:
        return _read(fields)
    except AnswerUnreadable as error:
        raise NotificationRejected(f"authentic, but not readable: {error}") from None


def acknowledge(*, accepted: bool) -> HttpReply:
    """Exactly ``success`` stops the repeats; anything else asks for another."""
    return HttpReply(status=200, body=b"success" if accepted else b"fail")


def _verify(account: Account, raw: Mapping[bytes, bytes]) -> None:
    signature = raw.get(b"sign", b"").decode("ascii", "replace")
    if not signature:
        raise NotificationRejected("it carries no signature")
    if raw.get(b"sign_type", account.settings.sign_type.encode()) != (
        account.settings.sign_type.encode()
    ):
        raise NotificationRejected(
            f"it is signed with another algorithm than the account's {account.settings.sign_type}: "
            "set the app to it in Alipay's console"
        )
    serial = raw[b"alipay_cert_sn"].decode("ascii", "replace") if _names_key(account, raw) else None
    if not any(
        account.verifies(notification_content(raw, with_sign_type=kept), signature, serial)
        for kept in (False, True)
    ):
        raise NotificationRejected("its signature does not verify")


def _names_key(account: Account, raw: Mapping[bytes, bytes]) -> bool:
    return account.certificate_mode and b"alipay_cert_sn" in raw


def _check_addressee(account: Account, fields: Mapping[str, str]) -> None:
    """One Alipay key signs for every merchant: the message must be for this one."""
    settings = account.settings
    authorised = settings.auth_app_id
    if settings.app_auth_token is None:
        authorised = settings.app_id
    wanted = {
        "app_id": settings.app_id,
        "auth_app_id": authorised,
        "seller_id": settings.seller_id,
    }
    for name, value in wanted.items():
        told = fields.get(name)
        optional = name == "auth_app_id" and settings.app_auth_token is None
        if value is None or (told is None and (optional or _not_about_a_trade(name, fields))):
            continue
        if told != value:
            raise NotificationRejected(f"it is for another {name}")


def _not_about_a_trade(name: str, fields: Mapping[str, str]) -> bool:
    return name == "seller_id" and "trade_status" not in fields


def _read(fields: Mapping[str, str]) -> Notification:
    """Raises AnswerUnreadable.

    A refund is notified to the payment's own address. After part of the money the trade is still
    TRADE_SUCCESS, and so is the payment; after all of it TRADE_CLOSED, which takes nothing back
    that was paid, and ``refund_fee`` is the sum of all refunds: neither tells of one refund.
    """
    id_ = _text(fields, "notify_id")
    status = fields.get("trade_status")
    if fields.get("notify_type") == FROZEN:
        return _frozen(id_, fields)
    if fields.get("notify_type") in AGREEMENTS:
        return _agreement(id_, fields)
    if fields.get("msg_method") == COMPLAINT:
        return DisputeNotification(id=id_, number=_complaint(fields))
    if status is None:
        return OtherNotification(
            id=id_, kind=fields.get("notify_type") or fields.get("msg_method") or "unknown"
        )
    if status == CLOSED_STATUS and (fields.get("gmt_refund") or fields.get("refund_fee")):
        return OtherNotification(id=id_, kind="refund")
    outcome = _outcome(status, fields)
    if outcome is None:
        return OtherNotification(id=id_, kind=f"trade_status {status}")
    return PaymentNotification(id=id_, reference=_text(fields, "out_trade_no"), outcome=outcome)


def _complaint(fields: Mapping[str, str]) -> str:
    """https://www.apifox.cn/apidoc/docs-site/3618910/doc-3307376: it names the complaint only."""
    told = parsed_object(_text(fields, "biz_content"))
    number = told.get("complain_event_id")
    if not isinstance(number, str) or not number:
        raise AnswerUnreadable("it names no complaint")
    return number


def _frozen(id_: str, fields: Mapping[str, str]) -> Notification:
    """An amount is held. Source for the fields: alipay.fund.auth.order.freeze."""
    if (fields.get("operation_type"), fields.get("status")) != ("FREEZE", "SUCCESS"):
        return OtherNotification(id=id_, kind=FROZEN)
    if fields.get("trans_currency", CURRENCY) != CURRENCY:
        raise AnswerUnreadable("it is in another currency")
    held = Authorized(
        amount=money_from(_text(fields, "amount")), channel_reference=_text(fields, "auth_no")
    )
    return PaymentNotification(id=id_, reference=_text(fields, "out_order_no"), outcome=held)


def _agreement(id_: str, fields: Mapping[str, str]) -> Notification:
    """Signed (status NORMAL) or ended (UNSIGN); one that was made without our number is not ours.

    Alipay tells of an end at the app's own gateway (应用网关), unless it answers an unsign.
    """
    kind, status = fields["notify_type"], fields.get("status")
    reference = fields.get("external_agreement_no")
    outcome: AgreementOutcome | None = None
    if status == SIGNED and kind == "dut_user_sign":
        outcome = active(fields)
    elif status in ENDED and kind == "dut_user_unsign":
        outcome = AgreementEnded(channel_reference=fields.get("agreement_no") or None)
    if outcome is None or not reference:
        return OtherNotification(id=id_, kind=kind)
    return AgreementNotification(id=id_, reference=reference, outcome=outcome)


def _outcome(status: str, fields: Mapping[str, str]) -> PaymentOutcome | None:
    trade = _text(fields, "trade_no")
    if status in PAID_STATUSES:
        if fields.get("trans_currency", CURRENCY) != CURRENCY:
            raise AnswerUnreadable("it is in another currency")
        return Succeeded(
            amount=money_from(_text(fields, "total_amount")),
            channel_reference=trade,
            paid_at=time_from(_text(fields, "gmt_payment")),
            payer=fields.get("buyer_open_id") or fields.get("buyer_id") or None,
        )
    if status == WAITING_STATUS:
        return Pending(action=AwaitCustomer(), channel_reference=trade)
    return Closed(channel_reference=trade) if status == CLOSED_STATUS else None


def _text(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise AnswerUnreadable(f"it has no {name}")
    return value


def _form(body: bytes) -> dict[bytes, bytes]:
    """The form's parameters, percent-decoded once, still in the sender's character set."""
    parameters: dict[bytes, bytes] = {}
    for pair in body.split(b"&"):
        name, equals, value = pair.partition(b"=")
        if not equals or _ESCAPE.search(pair):
            raise NotificationRejected("it is not a form")
        name = unquote_to_bytes(name.replace(b"+", b" "))
        if name in parameters:
            raise NotificationRejected("it says the same parameter twice")
        parameters[name] = unquote_to_bytes(value.replace(b"+", b" "))
    return parameters


def _decoded(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    charset = raw.get(b"charset", b"utf-8").decode("ascii", "replace").lower()
    codec = _CHARSETS.get(charset)
    if codec is None:
        raise NotificationRejected("its charset is neither UTF-8 nor GBK")
    try:
        return {name.decode("ascii"): value.decode(codec) for name, value in raw.items()}
    except UnicodeDecodeError:
        raise NotificationRejected("it is not in its own charset") from None
