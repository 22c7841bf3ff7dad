"""Money to a person (商家转账): the interface of 2025, where the payee confirms in WeChat.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012716434 and 4012716437.
"""

from collections.abc import Mapping
from typing import Any, Final

from qiao.channels.requests import Context, TransferQuery, TransferRequest
from qiao.channels.wechat.codes import NOT_FOUND, TRANSFER_REFUSALS
from qiao.channels.wechat.gateway import Gateway, expect, optional, text_of
from qiao.channels.wechat.texts import (
    BILL_REFERENCE,
    check_reference,
    fen,
    money_from,
    time_from,
)
from qiao.channels.wire import Operation
from qiao.crypto.rsa import encrypt_oaep
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    ClientParameters,
    NotFound,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
)

PATH: Final = "/v3/fund-app/mch-transfer/transfer-bills"
WAITING: Final = frozenset({"ACCEPTED", "PROCESSING", "TRANSFERING", "CANCELING"})
REFUSED: Final = {"FAIL": "declined", "CANCELLED": "closed"}
MAX_DESCRIPTION: Final = 32


def send_transfer(
    gateway: Gateway, request: TransferRequest, context: Context
) -> Operation[TransferOutcome]:
    """Pay out. The same ``out_bill_no`` with the same content never pays twice."""
    body = _content(gateway, request)
    answer = yield from gateway.call("POST", PATH, context, body=body)
    if answer.code in TRANSFER_REFUSALS:
        return TransferRefused(
            code=TRANSFER_REFUSALS[answer.code],
            channel_code=answer.code,
            channel_message=answer.message,
        )
    if not answer.succeeded:
        raise answer.open()
    return _outcome(gateway, answer.fields, request.reference, request.amount)


def query_transfer(
    gateway: Gateway, query: TransferQuery, context: Context
) -> Operation[TransferOutcome]:
    """Ask for the transfer by our number."""
    path = f"{PATH}/out-bill-no/{check_reference(query.reference, BILL_REFERENCE)}"
    answer = yield from gateway.call("GET", path, context)
    if answer.code in NOT_FOUND:
        return NotFound()
    if not answer.succeeded:
        raise answer.open()
    return _outcome(gateway, answer.fields, query.reference, query.amount)


def _outcome(
    gateway: Gateway, fields: Mapping[str, Any], reference: str, amount: Money
) -> TransferOutcome:
    expect(fields, {"out_bill_no": reference})
    if "transfer_amount" in fields and money_from(fields, "transfer_amount") != amount:
        raise AnswerUnreadable("it is about another amount")
    state, number = text_of(fields, "state"), optional(fields, "transfer_bill_no")
    if state == "SUCCESS":
        return Transferred(
            amount=amount,
            channel_reference=text_of(fields, "transfer_bill_no"),
            transferred_at=time_from(fields["update_time"]) if "update_time" in fields else None,
        )
    if state == "WAIT_USER_CONFIRM":
        return TransferPending(channel_reference=number, action=_confirmation(gateway, fields))
    if state in WAITING:
        return TransferPending(channel_reference=number)
    if state in REFUSED:
        reason = optional(fields, "fail_reason") or state
        return TransferRefused(code=REFUSED[state], channel_code=reason)
    raise AnswerUnreadable("there is a transfer state that Qiao does not know")


def _confirmation(gateway: Gateway, fields: Mapping[str, Any]) -> ClientParameters | None:
    """What WeChat's page needs to ask the payee; only the first answer has it."""
    package = optional(fields, "package_info")
    if package is None:
        return None
    settings = gateway.account.settings
    return ClientParameters(
        parameters={"mchId": settings.mchid, "appId": settings.appid, "package": package}
    )


def _content(gateway: Gateway, request: TransferRequest) -> dict[str, Any]:
    """Raises InvalidInput."""
    account, settings = gateway.account, gateway.account.settings
    if not 0 < len(request.description) <= MAX_DESCRIPTION:
        raise InvalidInput(
            "empty or too long",
            field="description",
            remedy=f"give 1 to {MAX_DESCRIPTION} characters",
        )
    scene = request.scene or next(iter(settings.transfer_scene_reports), None)
    if scene is None or scene not in settings.transfer_scene_reports:
        raise InvalidInput(
            "not a transfer scene of this account",
            field="scene",
            remedy="give one that settings.transfer_scene_reports names",
        )
    name = request.payee_name
    key = account.platform_keys[account.announced].key
    return {
        "appid": settings.appid,
        "out_bill_no": check_reference(request.reference, BILL_REFERENCE),
        "transfer_scene_id": scene,
        "openid": request.payee,
        "user_name": encrypt_oaep(key, name) if name else None,
        "transfer_amount": fen(request.amount),
        "transfer_remark": request.description,
        "notify_url": request.notify_url,
        "transfer_scene_report_infos": [
            {"info_type": kind, "info_content": request.description}
            for kind in settings.transfer_scene_reports[scene]
        ],
    }
