"""Receivers of shares (分账接收方) are added to the merchant, and deleted; each again does no harm.

Source: https://pay.weixin.qq.com/docs/partner/apis/profit-sharing/receivers/add-receiver.html and
delete-receiver.html beside it.
"""

from typing import Any, Final

from qiao.channels.requests import Context, ReceiverRequest
from qiao.channels.wechat.codes import RECEIVER_REFUSALS
from qiao.channels.wechat.gateway import Answer, Gateway
from qiao.channels.wire import Operation
from qiao.crypto.rsa import encrypt_oaep
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import BindingOutcome, BindingRefused, Bound, Unbound

PATH: Final = "/v3/profitsharing/receivers"
TYPES: Final = frozenset({"MERCHANT_ID", "PERSONAL_OPENID", "PERSONAL_SUB_OPENID"})
RELATIONS: Final = frozenset(
    {
        *("SERVICE_PROVIDER", "STORE", "STAFF", "STORE_OWNER", "PARTNER", "HEADQUARTER"),
        *("BRAND", "DISTRIBUTOR", "USER", "SUPPLIER", "CUSTOM"),
    }
)
MAX_CUSTOM: Final = 10


def bind_receiver(
    gateway: Gateway, request: ReceiverRequest, context: Context
) -> Operation[BindingOutcome]:
    """Add the receiver. ``memo`` tells a relation that is ``CUSTOM``; a name is encrypted."""
    body = {**_who(gateway, request), **_relation(request)}
    if request.receiver_type == "MERCHANT_ID" and not request.name:
        raise InvalidInput(
            "missing", field="name", remedy="give the receiving merchant's full name"
        )
    if request.name:
        account = gateway.account
        key = account.platform_keys[account.announced].key
        body["name"] = encrypt_oaep(key, request.name)
    answer = yield from gateway.call("POST", f"{PATH}/add", context, body=body)
    return _outcome(answer, request, Bound())


def unbind_receiver(
    gateway: Gateway, request: ReceiverRequest, context: Context
) -> Operation[BindingOutcome]:
    """Delete the receiver."""
    body = _who(gateway, request)
    answer = yield from gateway.call("POST", f"{PATH}/delete", context, body=body)
    return _outcome(answer, request, Unbound())


def _who(gateway: Gateway, request: ReceiverRequest) -> dict[str, Any]:
    """Raises InvalidInput."""
    if request.receiver_type not in TYPES:
        raise InvalidInput(
            "not a kind of receiver that WeChat Pay knows",
            field="receiver_type",
            remedy=f"give one of: {', '.join(sorted(TYPES))}",
        )
    settings = gateway.account.settings
    sub = request.receiver_type == "PERSONAL_SUB_OPENID"
    return {
        "sub_mchid": settings.sub_mchid,
        "appid": settings.appid,
        "sub_appid": settings.sub_appid if sub else None,
        "type": request.receiver_type,
        "account": request.receiver,
    }


def _relation(request: ReceiverRequest) -> dict[str, str | None]:
    """Raises InvalidInput."""
    if request.relation not in RELATIONS:
        raise InvalidInput(
            "not a relation that WeChat Pay knows",
            field="relation",
            remedy=f"give one of: {', '.join(sorted(RELATIONS))}",
        )
    custom = request.relation == "CUSTOM"
    if custom and not 0 < len(request.memo or "") <= MAX_CUSTOM:
        raise InvalidInput(
            "a custom relation has no name",
            field="memo",
            remedy=f"give 1 to {MAX_CUSTOM} characters",
        )
    return {
        "relation_type": request.relation,
        "custom_relation": request.memo if custom else None,
    }


def _outcome(answer: Answer, request: ReceiverRequest, done: BindingOutcome) -> BindingOutcome:
    if answer.code in RECEIVER_REFUSALS:
        return BindingRefused(
            code=RECEIVER_REFUSALS[answer.code],
            channel_code=answer.code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    answer.expect(account=request.receiver, type=request.receiver_type)
    return done
