"""Alipay's answers and bills in pieces, of 预授权 and 周期扣款 too, from its documentation."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qiao.channels.conformance import NotApplicable, Situation, Status, Verb
from qiao.domain.money import Money

TRADE = "2026011522001400000000000001"
ORDER_STATUSES = {
    Status.PENDING: "INIT",
    Status.SUCCEEDED: "AUTHORIZED",
    Status.CLOSED: "CLOSED",
    Status.UNRECOGNISED: "LEVITATING",
}


AGREEMENT_STATUSES = {
    Status.PENDING: "TEMP",
    Status.SUCCEEDED: "NORMAL",
    Status.UNRECOGNISED: "LEVITATING",
}


def held(method: str, told: Situation) -> dict[str, Any]:
    """What the methods of an authorization (预授权) answer."""
    if told.status is Status.REFUSED and told.verb is Verb.AUTHORIZE:
        return {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-parameter"}
    order = {
        "auth_no": "2026011510002001000000000001",
        "out_order_no": told.payment_reference,
        "payer_user_id": "2088102146225135",
        **currency(told),
    }
    if method == "alipay.fund.auth.operation.detail.query":
        return detail(order, told)
    if told.status is Status.UNRECOGNISED:
        return failure("LEVITATING")
    if method == "alipay.fund.auth.order.voucher.create":
        return ok(**order, code_value="https://qr.alipay.com/bax0002", code_type="qrCode")
    status = "INIT" if told.status is Status.PENDING else "SUCCESS"
    return ok(**order, amount=yuan(told.amount), status=status)


def detail(order: Mapping[str, str], told: Situation) -> dict[str, Any]:
    if told.verb in (Verb.VOID, Verb.CAPTURE):  # it is held until then
        told = replace(told, status=Status.SUCCEEDED, amount=told.payment_amount)
    if told.status is Status.NOT_FOUND:
        return failure("AUTH_ORDER_NOT_EXIST")
    if told.status is Status.REFUSED:
        raise NotApplicable("an authorization that was refused is none")
    amount = yuan(told.amount)
    status = ORDER_STATUSES[told.status]
    return ok(**order, order_status=status, amount=amount, rest_amount=amount)


ELSEWHERE = (
    *(Verb.LIST_DISPUTES, Verb.QUERY_DISPUTE, Verb.REPLY_TO_DISPUTE, Verb.FINISH_DISPUTE),
    *(Verb.RETURN_SHARE, Verb.QUERY_SHARE_RETURN),
    *(Verb.BIND_RECEIVER, Verb.UNBIND_RECEIVER),
)


def other_node(
    method: str, asked: Mapping[str, Any], told: Situation, receiver: str
) -> dict[str, Any]:
    """What is answered about complaints, receivers of shares, and returns of shares."""
    if method.startswith("alipay.merchant.tradecomplain."):
        return disputed(method, told)
    if method.startswith("alipay.trade.royalty.relation."):
        return bound(told)
    return returned(method, asked, told, receiver)


def disputed(method: str, told: Situation) -> dict[str, Any]:
    """What is said of complaints."""
    if method.endswith(".submit"):
        if told.status is Status.REFUSED:
            return failure("INVALID_PARAMETER")
        return failure("LEVITATING") if told.status is Status.UNRECOGNISED else ok()
    if told.status is Status.NOT_FOUND:
        raise NotApplicable("an unknown complaint has no answer of its own")
    complaint = {
        "complain_event_id": told.reference,
        "status": "MERCHANT_PROCESSING" if told.status is Status.SUCCEEDED else "LEVITATING",
        "merchant_order_no": told.payment_reference,
        "gmt_create": "2026-01-15 12:00:00",
        "trade_amount": yuan(told.amount),
    }
    if method.endswith(".query"):
        return ok(**complaint)
    return ok(trade_complain_infos=[complaint], total_num="1")


def bound(told: Situation) -> dict[str, Any]:
    if told.status is Status.REFUSED:
        return failure("ACQ.USER_NOT_EXIST")
    return ok(result_code="SUCCESS" if told.status is Status.SUCCEEDED else "LEVITATING")


def returned(
    method: str, asked: Mapping[str, Any], told: Situation, receiver: str
) -> dict[str, Any]:
    """What comes of a refund that takes a share back."""
    only_yuan(told)
    if method == "alipay.trade.refund":
        if told.reference != asked["out_request_no"]:
            raise NotApplicable("the answer tells the trade")
        if told.status is Status.REFUSED:
            return failure("ACQ.SELLER_BALANCE_NOT_ENOUGH")
        if told.status is Status.UNRECOGNISED:
            return failure("ACQ.LEVITATING")
        return ok(out_trade_no=told.payment_reference, fund_change="Y")
    if told.verb is Verb.QUERY_SHARE_RETURN and told.status in (Status.PENDING, Status.REFUSED):
        raise NotApplicable("a return that is not done is not told")
    if told.status in (Status.NOT_FOUND, Status.PENDING):
        return ok()
    done = told.status is Status.SUCCEEDED
    back = {
        "royalty_type": "transfer",
        "refund_amount": yuan(told.amount),
        "result_code": "SUCCESS" if done else "LEVITATING",
        "trans_out": receiver,
    }
    return ok(
        out_trade_no=told.payment_reference,
        out_request_no=told.reference,
        trade_no="2026011522001400000000000001",
        refund_amount="0.00",
        refund_royaltys=[back],
    )


TRANSFER_STATUSES = {
    Status.PENDING: "DEALING",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "FAIL",
    Status.UNRECOGNISED: "LEVITATING",
}


def transferred(told: Situation) -> dict[str, Any]:
    """What comes of money paid out."""
    only_yuan(told)
    if told.status is Status.REFUSED and told.verb is Verb.TRANSFER:
        return failure("PAYEE_NOT_EXIST")
    if told.status is Status.NOT_FOUND:
        return failure("ORDER_NOT_EXIST")
    return ok(
        out_biz_no=told.reference,
        order_id="20260115110070000006700000000001",
        status=TRANSFER_STATUSES[told.status],
        trans_amount=yuan(told.amount),
    )


def standing(method: str, told: Situation) -> dict[str, Any]:
    """What is answered about what stands for a while: a hold, or an agreement."""
    return agreed(method, told) if ".agreement." in method else held(method, told)


def agreed(method: str, told: Situation) -> dict[str, Any]:
    """What the methods of an agreement (周期扣款) answer."""
    if told.status is Status.NOT_FOUND:
        return failure("USER_AGREEMENT_NOT_EXIST")
    if method == "alipay.user.agreement.unsign":
        return failure("LEVITATING") if told.status is Status.UNRECOGNISED else ok()
    if told.status is Status.CLOSED:
        raise NotApplicable("an agreement that was ended is not known any more")
    return ok(
        agreement_no="20260115000000000001",
        external_agreement_no=told.reference,
        status=AGREEMENT_STATUSES[told.status],
        sign_time="2026-01-15 12:00:00",
        invalid_time="2115-02-01 00:00:00",
    )


def ok(**fields: Any) -> dict[str, Any]:
    return {"code": "10000", "msg": "Success", **fields}


def failure(sub_code: str) -> dict[str, Any]:
    return {"code": "40004", "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "原因"}


def currency(told: Situation) -> dict[str, str]:
    return {} if told.amount.currency == "CNY" else {"trans_currency": told.amount.currency}


def yuan(amount: Money) -> str:
    return f"{amount.minor // 100}.{amount.minor % 100:02d}"


def bill_line(kind: str, amount: str, refund: str, fee: str) -> str:
    cells = [TRADE, "att0001", kind, "茶点", "2026-01-14 11:00:00", "2026-01-14 11:00:05"]
    cells += ["138******00", amount, amount, refund, fee, ""]
    return ",".join(f"{cell}\t" for cell in cells)


def bill_zip(lines: Sequence[str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("20880000000000010156_20260114_业务明细.csv", gbk(lines))
        summary = ["#支付宝业务汇总查询", "门店编号,门店名称", "合计,"]
        archive.writestr("20880000000000010156_20260114_业务明细(汇总).csv", gbk(summary))
    return packed.getvalue()


def gbk(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("gbk")


def only_yuan(told: Situation) -> None:
    if told.amount.currency != "CNY":
        raise NotApplicable("the answer has no currency: it is yuan")
