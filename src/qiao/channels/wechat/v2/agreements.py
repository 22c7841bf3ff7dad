"""Agreements (委托代扣, papay): signed on a page inside WeChat, asked about, ended, and charged.

Sources: https://pay.weixin.qq.com/wiki/doc/api/wxpay_v2/papay/ — chapter3_1 (公众号纯签约),
chapter3_7 (查询签约关系), chapter3_9 (申请解约), chapter3_8 (申请扣款), chapter3_6 (签约和解约通知)
and chapter2_8 (周期扣费). The first three know MD5 alone, and neither nonce_str nor sign_type.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from qiao.channels.requests import (
    AgreementCharge,
    AgreementQuery,
    AgreementRequest,
    Context,
    PaymentQuery,
    Product,
)
from qiao.channels.wechat.products import MAX_DESCRIPTION, MAX_NOTIFY_URL
from qiao.channels.wechat.texts import check_reference, fen
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.codes import CHARGE_DECLINES, CONTRACT_NOT_FOUND
from qiao.channels.wechat.v2.gateway import Answer, Gateway, expect, text_of
from qiao.channels.wechat.v2.payments import refusal
from qiao.channels.wechat.v2.products import SERVER_IP
from qiao.channels.wechat.v2.texts import time_from
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    AwaitCustomer,
    NotFound,
    PaymentOutcome,
    Pending,
    Redirect,
)

PRODUCTS: Final = frozenset({Product.OFFICIAL_ACCOUNT})
_VERSION: Final = "1.0"
_SIGNED: Final = "0"
_NOT_SIGNED: Final = "1"
_BEING_SIGNED: Final = "9"
_NOT_ENDED: Final = ("", "0")
"""contract_termination_mode of what was never signed, or is signed."""
_PLAN: Final = re.compile(r"[1-9][0-9]{0,27}", re.ASCII)
_CODE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{9,11}", re.ASCII)
_BEYOND_BMP: Final = 0xFFFF
_MAX_NAME_BYTES: Final = 128
_REMARK: Final = "商户解约"


def sign(
    gateway: Gateway, request: AgreementRequest, context: Context
) -> Operation[AgreementOutcome]:
    """Where the customer signs: a page that WeChat's own browser opens. Nothing is sent from here.

    What may be charged, and how often, stands in the plan (协议模板) and is WeChat Pay's to keep.
    """
    _check(request)
    settings = gateway.account.settings
    fields = {
        "appid": settings.appid,
        "mch_id": settings.mchid,
        "plan_id": request.plan or "",
        "contract_code": request.reference,
        "request_serial": str(_serial(request.reference)),
        "contract_display_account": request.display_name,
        "notify_url": request.notify_url,
        "version": _VERSION,
        "timestamp": str(int(context.now().timestamp())),
    }
    fields["sign"] = gateway.sign(fields)
    yield from ()
    url = f"{settings.gateway}/papay/entrustweb?{urlencode(fields)}"
    return AgreementPending(action=Redirect(url=url))


def query_agreement(
    gateway: Gateway, query: AgreementQuery, context: Context
) -> Operation[AgreementOutcome]:
    """Ask by our number and its plan."""
    asked = _named(query)
    answer = yield from gateway.call(
        "/papay/querycontract", asked, context, effect=False, bare=True
    )
    if answer.code in CONTRACT_NOT_FOUND:
        return AgreementEnded() if query.channel_reference is not None else NotFound()
    if not answer.succeeded:
        raise answer.open()
    expect(answer.fields, {"contract_code": query.reference})
    return _state(answer)


def _state(answer: Answer) -> AgreementOutcome:
    state = answer.text("contract_state")
    if state == _SIGNED:
        return AgreementActive(
            channel_reference=answer.text("contract_id"),
            signed_at=moment_from(answer.fields, "contract_signed_time"),
            valid_until=moment_from(answer.fields, "contract_expired_time"),
        )
    if state == _BEING_SIGNED:
        return AgreementPending()
    if state != _NOT_SIGNED:
        raise AnswerUnreadable("there is a contract_state that Qiao does not know")
    if answer.fields.get("contract_termination_mode", "") in _NOT_ENDED:
        return AgreementPending()
    return AgreementEnded(
        channel_reference=answer.fields.get("contract_id") or None,
        ended_at=moment_from(answer.fields, "contract_terminated_time"),
    )


def end_agreement(
    gateway: Gateway, query: AgreementQuery, context: Context
) -> Operation[AgreementOutcome]:
    """End it by our number and its plan."""
    asked = {**_named(query), "contract_termination_remark": _REMARK}
    answer = yield from gateway.call("/papay/deletecontract", asked, context, bare=True)
    if answer.code in CONTRACT_NOT_FOUND:
        return AgreementEnded() if query.channel_reference is not None else NotFound()
    if not answer.succeeded:
        raise answer.open()
    if answer.fields.get("contract_code", query.reference) != query.reference:
        raise AnswerUnreadable("it is about another contract_code")
    return AgreementEnded(channel_reference=answer.fields.get("contract_id") or None)


def charge(
    gateway: Gateway, request: AgreementCharge, context: Context
) -> Operation[PaymentOutcome]:
    """Take money. A success is only that it was accepted: the customer is told first, and WeChat
    Pay charges 24 hours later (at once within 12 hours of the signature).

    The same ``out_trade_no`` of a merchant is charged once.
    """
    _check_charge(request)
    fields = {
        "body": request.description,
        "out_trade_no": check_reference(request.reference),
        "total_fee": str(fen(request.amount)),
        "fee_type": request.amount.currency,
        "spbill_create_ip": SERVER_IP,
        "notify_url": request.notify_url,
        "trade_type": "PAP",
        "contract_id": request.agreement_reference,
    }
    answer = yield from gateway.call("/pay/pappayapply", fields, context)
    query = PaymentQuery(reference=request.reference, amount=request.amount, by_agreement=True)
    refused = yield from refusal(gateway, answer, CHARGE_DECLINES, query, context)
    return Pending(action=AwaitCustomer()) if refused is None else refused


def notified(account: Account, fields: Mapping[str, str]) -> AgreementOutcome | None:
    """What 签约、解约结果通知 says, which names the merchant and not always the app.

    None for a change that is neither. Raises AnswerUnreadable for another's.
    """
    settings = account.settings
    expect(fields, {"return_code": "SUCCESS", "result_code": "SUCCESS", "mch_id": settings.mchid})
    if fields.get("appid", settings.appid) != settings.appid:
        raise AnswerUnreadable("it is about another appid")
    match fields.get("change_type"):
        case "ADD":
            return AgreementActive(
                channel_reference=text_of(fields, "contract_id"),
                signed_at=moment_from(fields, "operate_time"),
                valid_until=moment_from(fields, "contract_expired_time"),
            )
        case "DELETE":
            return AgreementEnded(
                channel_reference=fields.get("contract_id") or None,
                ended_at=moment_from(fields, "operate_time"),
            )
        case _:
            return None


def moment_from(fields: Mapping[str, str], name: str) -> datetime | None:
    """Seconds since 1970, or a time in Beijing: the documentation has both. AnswerUnreadable."""
    text = fields.get(name, "")
    if not text or set(text) <= set("0-: "):  # not set
        return None
    if _SECONDS.fullmatch(text):
        return datetime.fromtimestamp(int(text), UTC)
    return time_from(text)


def _named(query: AgreementQuery) -> dict[str, str | None]:
    return {
        "plan_id": query.plan,
        "contract_code": query.reference,
        "version": _VERSION,
    }


def _serial(reference: str) -> int:
    """请求序列号: a positive int64 of our number's own, the same on every resend."""
    digest = hashlib.sha256(reference.encode()).digest()
    return int.from_bytes(digest[:8]) >> 2 | 1 << 61


def _check(request: AgreementRequest) -> None:
    """Raises InvalidInput."""
    name = request.display_name
    fen(request.rule.max_amount, field="max_amount")
    problems = {
        "product": request.product not in PRODUCTS
        and ("WeChat Pay lets no agreement be signed by it here", "give official_account"),
        "reference": not _CODE.fullmatch(request.reference)
        and ("not a WeChat Pay contract code", "give 1 to 32 letters and digits"),
        "plan": not _PLAN.fullmatch(request.plan or "")
        and ("not a plan (协议模板id)", "give the number that the merchant platform shows"),
        "display_name": (
            not 0 < len(name.encode()) <= _MAX_NAME_BYTES
            or any(ord(letter) > _BEYOND_BMP for letter in name)
        )
        and ("empty, too long or with emoji", f"give 1 to {_MAX_NAME_BYTES} bytes without emoji"),
        "notify_url": (len(request.notify_url) > MAX_NOTIFY_URL or "?" in request.notify_url)
        and ("too long, or with a query", "give an address without a query"),
    }
    for field, problem in problems.items():
        if problem:
            raise InvalidInput(problem[0], field=field, remedy=problem[1])


def _check_charge(request: AgreementCharge) -> None:
    """Raises InvalidInput."""
    if not 0 < len(request.description) <= MAX_DESCRIPTION:
        raise InvalidInput(
            "empty or too long",
            field="description",
            remedy=f"give 1 to {MAX_DESCRIPTION} characters",
        )
