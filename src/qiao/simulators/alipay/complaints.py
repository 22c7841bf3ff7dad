"""Complaints about trades (交易投诉): made by a customer, read and answered by the seller.

As alipay.merchant.tradecomplain.* tell it; a change is told to the app's gateway (应用网关) by the
message alipay.merchant.tradecomplain.changed, which names the complaint and no more
(https://www.apifox.cn/apidoc/docs-site/3618910/doc-3307376).
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from qiao.simulators.alipay.book import Trade, refused, yuan_of
from qiao.simulators.alipay.codec import CHINA, Refusal, Request, china_time
from qiao.simulators.kit.complaining import Complaining
from qiao.simulators.kit.notifier import Message

if TYPE_CHECKING:
    from qiao.simulators.alipay.simulator import Simulator

Node = dict[str, Any]
MAX_PAGE: Final = 20
OPEN: Final = ("MERCHANT_PROCESSING", "MERCHANT_FEEDBACKED")
FEEDBACK_CODES: Final = ("00", "02", "03", "04", "05", "06")


@dataclass(kw_only=True)
class Complaint:
    """One complaint about a trade."""

    complain_event_id: str
    trade: Trade
    text: str
    phone: str
    at: datetime
    changed_at: datetime
    status: str = "MERCHANT_PROCESSING"


def complain(simulator: "Simulator", trade: Trade, text: str, phone: str) -> Complaint:
    """The customer complains, and the seller is told."""
    now = simulator.clock.now()
    made = Complaint(
        complain_event_id=f"{now:%Y%m%d}00102000000{secrets.randbelow(10**15):015}",
        trade=trade,
        text=text,
        phone=phone,
        at=now,
        changed_at=now,
    )
    known = simulator.book.complaints.setdefault(trade.trade_no, made)
    notify(simulator, known)
    return known


def notify(simulator: "Simulator", complaint: Complaint) -> None:
    """To the app's gateway; an app without one is not told."""
    app = simulator.app(complaint.trade.app_id)
    url = simulator.book.gateways.get(app.app_id)
    if not url:
        return
    now = simulator.clock.now()
    fields = {
        "charset": "UTF-8",
        "biz_content": json.dumps({"complain_event_id": complaint.complain_event_id}),
        "msg_method": "alipay.merchant.tradecomplain.changed",
        "utc_timestamp": str(int(now.timestamp() * 1000)),
        "version": "1.1",
        "notify_id": f"{now:%Y%m%d}00262{secrets.randbelow(10**21):021}",
        "app_id": app.app_id,
    }

    def build(wrongly: bool) -> tuple[dict[str, str], bytes]:
        kind = "application/x-www-form-urlencoded; charset=UTF-8"
        return {"content-type": kind}, simulator.codec.form(app, fields, wrongly=wrongly)

    simulator.notifier.notify(
        Message(
            operation="notify.complaint",
            url=url,
            build=build,
            accepts=lambda status, body: (status, body) == (200, b"success"),
        )
    )


async def batch_query(simulator: "Simulator", request: Request) -> Node:
    content = request.content
    try:
        begin, end = (
            datetime.strptime(str(content.get(name)), "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
            for name in ("begin_time", "end_time")
        )
        page, size = int(content.get("page_num", 1)), int(content.get("page_size", 10))
    except ValueError:
        raise _wrong("begin_time") from None
    if page < 1 or not 1 <= size <= MAX_PAGE:
        raise _wrong("page_size")
    mine = [
        one
        for one in simulator.book.complaints.values()
        if one.trade.seller_id == request.seller_id
        and begin <= one.at.replace(microsecond=0) <= end
    ]
    shown = mine[(page - 1) * size : page * size]
    return {
        "page_num": page,
        "page_size": size,
        "total_num": len(mine),
        "total_page_num": -(-len(mine) // size),
        "trade_complain_infos": [_view(one) for one in shown],
    }


async def query(simulator: "Simulator", request: Request) -> Node:
    found = _find(simulator, request.seller_id, request.content.get("complain_event_id"))
    return {**_view(found), "trade_amount": yuan_of(found.trade.fen), "reply_detail_infos": []}


async def reply(simulator: "Simulator", request: Request) -> Node:
    content = request.content
    found = _open(simulator, request.seller_id, content.get("complain_event_id"))
    _text(content.get("reply_content"), "reply_content")
    _change(simulator, found, found.status)
    return {}


async def feedback(simulator: "Simulator", request: Request) -> Node:
    """It takes parameters of its own, no biz_content."""
    given = request.parameters
    found = _open(simulator, request.seller_id, given.get("complain_event_id"))
    if given.get("feedback_code") not in FEEDBACK_CODES:
        raise _wrong("feedback_code")
    _text(given.get("feedback_content"), "feedback_content")
    _change(simulator, found, "MERCHANT_FEEDBACKED")
    return {}


def _change(simulator: "Simulator", complaint: Complaint, status: str) -> None:
    complaint.status, complaint.changed_at = status, simulator.clock.now()
    notify(simulator, complaint)


def _find(simulator: "Simulator", seller_id: str, number: object) -> Complaint:
    for one in simulator.book.complaints.values():
        if (one.complain_event_id, one.trade.seller_id) == (number, seller_id):
            return one
    raise _wrong("complain_event_id")


def _open(simulator: "Simulator", seller_id: str, number: object) -> Complaint:
    found = _find(simulator, seller_id, number)
    if found.status not in OPEN:
        raise _wrong("complain_event_id")
    return found


def _text(value: object, name: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise _wrong(name)


def _wrong(name: str) -> Refusal:
    return refused("INVALID_PARAMETER", f"参数有误: {name}")


def _view(one: Complaint) -> Node:
    return {
        "complain_event_id": one.complain_event_id,
        "status": one.status,
        "trade_no": one.trade.trade_no,
        "merchant_order_no": one.trade.out_trade_no,
        "gmt_create": china_time(one.at),
        "gmt_modified": china_time(one.changed_at),
        "leaf_category_name": "商家服务问题",
        "complain_reason": "商品与描述不符",
        "content": one.text,
        "phone_no": one.phone,
        "target_id": one.trade.app_id,
        "target_type": "APPID",
    }


def control(simulator: "Simulator", trade: Trade, asked: Complaining) -> str | None:
    """The number of a complaint; None for a trade that is not paid."""
    if not trade.paid_at:
        return None
    if asked.told and trade.notify_url:
        simulator.book.gateways.setdefault(trade.app_id, trade.notify_url)
    return complain(simulator, trade, asked.text, asked.phone).complain_event_id


METHODS: Final[dict[str, Callable[["Simulator", Request], Awaitable[Node]]]] = {
    "alipay.merchant.tradecomplain.batchquery": batch_query,
    "alipay.merchant.tradecomplain.query": query,
    "alipay.merchant.tradecomplain.reply.submit": reply,
    "alipay.merchant.tradecomplain.feedback.submit": feedback,
}
