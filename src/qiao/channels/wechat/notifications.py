"""Notifications: proven by their signature, opened with the APIv3 key, and read afterwards.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012791861 and 4012791865.
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.interface import (
    DisputeNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
    RefundNotification,
)
from qiao.channels.requests import Context
from qiao.channels.wechat.account import Account
from qiao.channels.wechat.gateway import (
    expect,
    object_of,
    optional,
    read_object,
    rejected,
    signature_problem,
    text_of,
)
from qiao.channels.wechat.payments import succeeded
from qiao.channels.wechat.refunds import refunded_amount, status_of
from qiao.channels.wire import HttpMessage, HttpReply
from qiao.crypto.aes import DecryptionFailed, decrypt_gcm
from qiao.domain.errors import AnswerUnreadable, NotificationRejected

ALGORITHM: Final = "AEAD_AES_256_GCM"
COMPLAINTS: Final = frozenset({"COMPLAINT.CREATE", "COMPLAINT.STATE_CHANGE"})
"""They only name it: https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter10_2_16.shtml."""
FAILURE: Final = b'{"code":"FAIL","message":"rejected"}'


def authenticate(account: Account, message: HttpMessage, context: Context) -> Notification:
    """Prove that WeChat Pay sent the message just now, for this merchant, then read it.

    Raises NotificationRejected; the signature probe (WECHATPAY/SIGNTEST/…) is a signature that
    does not verify like any other.
    """
    if message.method != "POST":
        raise NotificationRejected("WeChat Pay notifies by POST")
    problem = signature_problem(account, message.headers, message.body, context.now())
    if problem is not None:
        raise NotificationRejected(problem)
    try:
        envelope = read_object(message.body)
        return _read(account, envelope, _opened(account, object_of(envelope, "resource")))
    except AnswerUnreadable as error:
        raise rejected(error) from None


def acknowledge(*, accepted: bool) -> HttpReply:
    """An empty 204, or an error so that WeChat Pay tells it again."""
    if accepted:
        return HttpReply(status=204)
    return HttpReply(status=400, content_type="application/json", body=FAILURE)


def _opened(account: Account, resource: Mapping[str, Any]) -> dict[str, Any]:
    if resource.get("algorithm") != ALGORITHM:
        raise AnswerUnreadable("it is encrypted by another algorithm")
    associated = resource.get("associated_data") or ""
    if not isinstance(associated, str):
        raise AnswerUnreadable("its associated_data is no text")
    try:
        plain = decrypt_gcm(
            account.api_v3_key,
            text_of(resource, "ciphertext"),
            nonce=text_of(resource, "nonce").encode(),
            associated_data=associated.encode(),
        )
    except DecryptionFailed:
        raise AnswerUnreadable(
            "it does not decrypt: is api_v3_key the one of the merchant platform?"
        ) from None
    return read_object(plain)


def _read(account: Account, envelope: Mapping[str, Any], told: Mapping[str, Any]) -> Notification:
    """Raises AnswerUnreadable."""
    id_, kind = text_of(envelope, "id"), text_of(envelope, "event_type")
    if kind == "TRANSACTION.SUCCESS":
        if text_of(told, "trade_state") != "SUCCESS":
            raise AnswerUnreadable("it tells of a success that is none")
        return PaymentNotification(
            id=id_,
            reference=text_of(told, "out_trade_no"),
            outcome=succeeded(account, told, None),
        )
    if kind.startswith("REFUND."):
        settings = account.settings
        merchant = {"mchid": settings.mchid}
        if account.partner:
            merchant = {"sp_mchid": settings.mchid, "sub_mchid": settings.sub_mchid or ""}
        expect(told, merchant)
        amount = refunded_amount(told)
        return RefundNotification(
            id=id_,
            payment_reference=text_of(told, "out_trade_no"),
            reference=text_of(told, "out_refund_no"),
            outcome=status_of(told, amount, text_of(told, "refund_status")),
        )
    if kind in COMPLAINTS:
        return DisputeNotification(id=id_, number=text_of(told, "complaint_id"))
    if "mchid" in told or "sp_mchid" in told:
        mine = optional(told, "sp_mchid") or optional(told, "mchid")
        if mine != account.settings.mchid:
            raise AnswerUnreadable("it is for another merchant")
    return OtherNotification(id=id_, kind=kind)
