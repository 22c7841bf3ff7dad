"""Consumers' complaints (消费者投诉 2.0): made by a customer, read and answered by the merchant.

As https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter10_2_11.shtml and its siblings tell it.
"""

import secrets
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.kit.complaining import Complaining
from qiao.simulators.wechat.book import CHINA, Order, china_time, text_of
from qiao.simulators.wechat.codec import Refusal, Request
from qiao.simulators.wechat.methods import Reply

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

PATH: Final = "/v3/merchant-service/complaints-v2"
NOTIFICATIONS: Final = "/v3/merchant-service/complaint-notifications"
MAX_PAGE: Final = 50
MAX_SPAN: Final = timedelta(days=30)


@dataclass(kw_only=True)
class Complaint:
    """One complaint about an order. ``history`` is what was said, and by whom."""

    complaint_id: str
    order: Order
    text: str
    phone: str
    at: datetime
    state: str = "PENDING"
    unread: bool = False
    """Whether the customer wrote after the merchant did."""
    history: list[dict[str, str]] = field(default_factory=list)


def complain(simulator: "Simulator", order: Order, text: str, phone: str) -> Complaint:
    """The customer complains, once more if need be, and the merchant is told."""
    now = simulator.clock.now()
    known = simulator.book.complaints.get(order.transaction_id)
    kind, action = "COMPLAINT.STATE_CHANGE", "CONTINUE_COMPLAINT"
    if known is None:
        kind, action = "COMPLAINT.CREATE", "CREATE_COMPLAINT"
        known = Complaint(
            complaint_id=f"2002018{now:%Y%m%d}{secrets.randbelow(10**11):011}",
            order=order,
            text=text,
            phone=phone,
            at=now,
        )
        simulator.book.complaints[order.transaction_id] = known
    else:
        known.unread = known.state == "PROCESSING"
        known.state = "PENDING" if known.state == "PROCESSED" else known.state
    known.history.append({"operator": "投诉人", "operate_details": text})
    notify(simulator, known, kind, action)
    return known


def notify(simulator: "Simulator", complaint: Complaint, kind: str, action: str) -> None:
    """To the address that the merchant registered; without one it is not told."""
    url = simulator.book.complaint_urls.get(complaint.order.mchid)
    if url:
        told = {"complaint_id": complaint.complaint_id, "action_type": action}
        simulator.tell(complaint.order, kind, "complaint", told, url)


def list_them(simulator: "Simulator", request: Request) -> Reply:
    """The complaints of some days."""
    query = request.query
    try:
        begin, end = (date.fromisoformat(query.get(f"{one}_date", "")) for one in ("begin", "end"))
        limit, offset = int(query.get("limit", "10")), int(query.get("offset", "0"))
    except ValueError:
        raise Refusal(400, "PARAM_ERROR", "参数错误") from None
    if not (begin <= end <= begin + MAX_SPAN and 1 <= limit <= MAX_PAGE and offset >= 0):
        raise Refusal(400, "PARAM_ERROR", "参数错误: 查询日期跨度, limit")
    _check_merchant(request, query.get("complainted_mchid"))
    mine = [
        one
        for one in simulator.book.complaints.values()
        if one.order.owner == request.owner and begin <= one.at.astimezone(CHINA).date() <= end
    ]
    return 200, {
        "data": [_view(simulator, one) for one in mine[offset : offset + limit]],
        "limit": limit,
        "offset": offset,
        "total_count": len(mine),
    }


def query(simulator: "Simulator", request: Request, number: str) -> Reply:
    """One complaint."""
    return 200, _view(simulator, _find(simulator, request, number))


def history(simulator: "Simulator", request: Request, number: str) -> Reply:
    """What was said (协商历史)."""
    found = _find(simulator, request, number).history
    return 200, {"data": found, "limit": 100, "offset": 0, "total_count": len(found)}


def respond(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The merchant writes to the customer."""
    found = _open(simulator, request, number)
    text = text_of(request.body, "response_content", most=200)
    found.state, found.unread = "PROCESSING", False
    found.history.append({"operator": "商家", "operate_details": text})
    notify(simulator, found, "COMPLAINT.STATE_CHANGE", "MERCHANT_RESPONSE")
    return 204, None


def complete(simulator: "Simulator", request: Request, number: str) -> Reply:
    """The merchant says that it is dealt with."""
    found = _open(simulator, request, number)
    found.state = "PROCESSED"
    notify(simulator, found, "COMPLAINT.STATE_CHANGE", "MERCHANT_CONFIRM_COMPLETE")
    return 204, None


def register(simulator: "Simulator", request: Request) -> Reply:
    """Where complaints are told."""
    url = text_of(request.body, "url", most=255)
    simulator.book.complaint_urls[request.merchant.mchid] = url
    return 200, {"mchid": request.merchant.mchid, "url": url}


def _find(simulator: "Simulator", request: Request, number: str) -> Complaint:
    for one in simulator.book.complaints.values():
        if (one.complaint_id, one.order.owner) == (number, request.owner):
            return one
    raise Refusal(404, "RESOURCE_NOT_EXISTS", "投诉单不存在")


def _open(simulator: "Simulator", request: Request, number: str) -> Complaint:
    _check_merchant(request, request.body.get("complainted_mchid"))
    found = _find(simulator, request, number)
    if found.state == "PROCESSED":
        raise Refusal(400, "INVALID_REQUEST", "投诉单已处理完成")
    return found


def _check_merchant(request: Request, named: object) -> None:
    if named != request.owner:
        raise Refusal(400, "PARAM_ERROR", "参数错误: complainted_mchid")


def _view(simulator: "Simulator", one: Complaint) -> dict[str, Any]:
    order = one.order
    return {
        "complaint_id": one.complaint_id,
        "complaint_time": china_time(one.at),
        "complaint_detail": one.text,
        "complaint_state": one.state,
        "complainted_mchid": order.owner,
        "payer_phone": simulator.codec.for_merchant(simulator.merchant(order.mchid), one.phone),
        "complaint_order_info": [
            {
                "transaction_id": order.transaction_id,
                "out_trade_no": order.out_trade_no,
                "amount": order.fen,
            }
        ],
        "complaint_full_refunded": order.refunded == order.fen,
        "incoming_user_response": one.unread,
        "user_complaint_times": sum(line["operator"] == "投诉人" for line in one.history),
        "problem_description": "商家服务问题",
        "problem_type": "SERVICE_NOT_WORK",
    }


def control(simulator: "Simulator", order: Order, asked: Complaining) -> str | None:
    """The number of a complaint; None for an order that is not paid."""
    if not order.paid_at:
        return None
    if asked.told and order.notify_url:
        simulator.book.complaint_urls.setdefault(order.mchid, order.notify_url)
    return complain(simulator, order, asked.text, asked.phone).complaint_id
