"""Paying money out to an Alipay user (商家转账), and asking what became of it.

Alipay opens these two methods to apps in certificate mode only. Sources:
https://opendocs.alipay.com/open/ — alipay.fund.trans.uni.transfer and
alipay.fund.trans.common.query.
"""

import re
from typing import Any, Final

from qiao.channels.alipay.codes import TRANSFER_REFUSALS
from qiao.channels.alipay.gateway import Answer, Gateway
from qiao.channels.alipay.products import REFERENCE
from qiao.channels.alipay.texts import money_from, time_from, yuan_text
from qiao.channels.requests import Context, TransferQuery, TransferRequest
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

_PRODUCT: Final = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}
_USER_ID: Final = re.compile(r"2088[0-9]{12}", re.ASCII)
_LOGON_ID: Final = re.compile(r"1[0-9]{10}|[^@\s]+@[^@\s]+", re.ASCII)
_MAX_TITLE_CHARACTERS: Final = 128
_PENDING: Final = frozenset({"DEALING", "WAIT_PAY"})
_REFUSED: Final = {"FAIL": "declined", "CLOSED": "closed", "REFUND": "returned"}


def send_transfer(
    gateway: Gateway, request: TransferRequest, context: Context
) -> Operation[TransferOutcome]:
    """Pay out. The same ``out_biz_no`` with the same content never pays twice."""
    content = _content(request)
    answer = yield from gateway.call("alipay.fund.trans.uni.transfer", content, context)
    if answer.business_code in TRANSFER_REFUSALS:
        return TransferRefused(
            code=TRANSFER_REFUSALS[answer.business_code],
            channel_code=answer.sub_code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer, request.reference, request.amount)


def query_transfer(
    gateway: Gateway, query: TransferQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for the transfer by our number."""
    content = {"out_biz_no": query.reference, **_PRODUCT}
    answer = yield from gateway.call(
        "alipay.fund.trans.common.query", content, context, effect=False
    )
    if answer.business_code == "ORDER_NOT_EXIST":
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return _outcome(answer, query.reference, query.amount)


def _outcome(answer: Answer, reference: str, amount: Money) -> TransferOutcome:
    answer.expect("out_biz_no", reference)
    for name in ("amount", "trans_amount"):
        told = answer.optional(name)
        if told is not None and money_from(told) != amount:
            raise AnswerUnreadable(f"{answer.method} answered about another amount")
    status = answer.text("status")
    if status in _PENDING:
        return TransferPending(channel_reference=answer.optional("order_id"))
    if status in _REFUSED:
        return TransferRefused(
            code=_REFUSED[status],
            channel_code=answer.optional("error_code") or status,
            channel_message=answer.optional("fail_reason") or "",
        )
    if status != "SUCCESS":
        raise AnswerUnreadable(f"{answer.method} answered a status that Qiao does not know")
    moment = answer.optional("trans_date") or answer.optional("pay_date")
    return Transferred(
        amount=amount,
        channel_reference=answer.text("order_id"),
        transferred_at=None if moment is None else time_from(moment),
    )


def _content(request: TransferRequest) -> dict[str, Any]:
    """Raises InvalidInput."""
    if not REFERENCE.fullmatch(request.reference):
        raise InvalidInput(
            "not an Alipay transfer number",
            field="reference",
            remedy="give 1 to 64 letters, digits and underscores",
        )
    if not 0 < len(request.description) <= _MAX_TITLE_CHARACTERS:
        raise InvalidInput(
            "empty or too long",
            field="description",
            remedy=f"give 1 to {_MAX_TITLE_CHARACTERS} characters",
        )
    content: dict[str, Any] = {
        "out_biz_no": request.reference,
        "trans_amount": yuan_text(request.amount),
        **_PRODUCT,
        "order_title": request.description,
        "payee_info": _payee(request),
    }
    if request.scene is not None:
        content["transfer_scene_name"] = request.scene
    return content


def _payee(request: TransferRequest) -> dict[str, str]:
    """Raises InvalidInput: a login name (手机号 or 邮箱) must come with the person's name."""
    payee = {"identity": request.payee, "identity_type": "ALIPAY_OPEN_ID"}
    if _USER_ID.fullmatch(request.payee):
        payee["identity_type"] = "ALIPAY_USER_ID"
    elif _LOGON_ID.fullmatch(request.payee):
        payee["identity_type"] = "ALIPAY_LOGON_ID"
        if not request.payee_name:
            raise InvalidInput(
                "missing",
                field="payee_name",
                remedy="give the person's real name: a phone number or e-mail alone can be wrong",
            )
    elif not request.payee:
        raise InvalidInput("missing", field="payee", remedy="give the payee's open id or user id")
    if request.payee_name:
        payee["name"] = request.payee_name
    return payee
