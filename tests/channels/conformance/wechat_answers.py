"""What WeChat Pay's side answers about money that goes out, for the conformance harness."""

from datetime import timedelta
from typing import Any

from qiao.channels.conformance import (
    Account,
    ConformanceHarness,
    NotApplicable,
    Situation,
    Status,
    Verb,
)

REFUND_STATES = {
    Status.PENDING: "PROCESSING",
    Status.SUCCEEDED: "SUCCESS",
    Status.REFUSED: "CLOSED",
    Status.UNRECOGNISED: "LEVITATING",
}
SHARE_RESULTS = {**REFUND_STATES, Status.PENDING: "PENDING"}
RETURN_RESULTS = {
    Status.SUCCEEDED: "SUCCESS",
    Status.PENDING: "PROCESSING",
    Status.REFUSED: "FAILED",
    Status.UNRECOGNISED: "LEVITATING",
}


def failure(code: str) -> dict[str, Any]:
    return {"code": code, "message": "原因"}


def only_ours(told: Situation) -> None:
    if told.account is not Account.OURS:
        raise NotApplicable("the answer names neither merchant nor app")


def only_yuan(told: Situation) -> None:
    if told.amount.currency != "CNY":
        raise NotApplicable("the answer has no currency: it is yuan")


def shared(method: str, told: Situation, harness: ConformanceHarness) -> tuple[int, dict[str, Any]]:
    only_ours(told)
    only_yuan(told)
    if told.status is Status.NOT_FOUND:
        return 404, failure("RESOURCE_NOT_EXISTS")
    if method == "POST" and told.status is Status.REFUSED:
        return 403, failure("NOT_ENOUGH")
    pending = told.status is Status.PENDING
    return 200, {
        "transaction_id": "4200000000202601150000000001",
        "out_order_no": told.reference,
        "order_id": "3008450740201411110007820472",
        "state": "PROCESSING" if pending else "FINISHED",
        "receivers": [
            {
                "type": harness.receiver_type,
                "account": harness.receiver,
                "amount": told.amount.minor,
                "description": "part",
                "result": SHARE_RESULTS[told.status],
                "finish_time": f"{harness.now + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}+08:00",
            }
        ],
    }


def returned(
    method: str, told: Situation, harness: ConformanceHarness
) -> tuple[int, dict[str, Any]]:
    only_ours(told)
    only_yuan(told)
    if told.status is Status.NOT_FOUND:
        return 404, failure("RESOURCE_NOT_EXISTS")
    if method == "POST" and told.status is Status.REFUSED:
        return 403, failure("NOT_ENOUGH")
    return 200, {
        "order_id": "3008450740201411110007820472",
        "out_order_no": "share000001",
        "out_return_no": told.reference,
        "return_id": "3008450740201411110007820999",
        "return_mchid": harness.receiver,
        "amount": told.amount.minor,
        "result": RETURN_RESULTS[told.status],
        "finish_time": f"{harness.now + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}+08:00",
    }


def receiver_told(told: Situation, harness: ConformanceHarness) -> tuple[int, dict[str, Any]]:
    if told.status is Status.REFUSED:
        return 400, failure("PARAM_ERROR")
    if told.status is Status.UNRECOGNISED:
        return 400, failure("LEVITATING")
    return 200, {"type": harness.receiver_type, "account": harness.receiver}


def disputed(told: Situation, harness: ConformanceHarness) -> tuple[int, dict[str, Any] | None]:
    """What is said of complaints."""
    if told.verb in (Verb.REPLY_TO_DISPUTE, Verb.FINISH_DISPUTE):
        if told.status is Status.REFUSED:
            return 400, failure("INVALID_REQUEST")
        if told.status is Status.UNRECOGNISED:
            return 400, failure("LEVITATING")
        return 204, None
    if told.status is Status.NOT_FOUND:
        return 404, failure("RESOURCE_NOT_EXISTS")
    complaint = {
        "complaint_id": told.reference,
        "complaint_time": f"{harness.now + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}+08:00",
        "complaint_detail": "broken",
        "complaint_state": "PENDING" if told.status is Status.SUCCEEDED else "LEVITATING",
        "complaint_order_info": [
            {
                "transaction_id": "4200000000202601150000000001",
                "out_trade_no": told.payment_reference,
                "amount": told.amount.minor,
            }
        ],
    }
    if told.verb is Verb.QUERY_DISPUTE:
        return 200, complaint
    return 200, {"data": [complaint], "limit": 50, "offset": 0, "total_count": 1}


def elsewhere(
    method: str, path: str, told: Situation, harness: ConformanceHarness
) -> tuple[int, dict[str, Any] | None]:
    """What is said of complaints, of shares, of their receivers and of their returns."""
    if path.startswith("/v3/merchant-service/"):
        return disputed(told, harness)
    if path.startswith("/v3/profitsharing/return-orders"):
        return returned(method, told, harness)
    if path.startswith("/v3/profitsharing/receivers/"):
        return receiver_told(told, harness)
    return shared(method, told, harness)
