"""What merchants on API v2 are told: a payment signed, a refund sealed, both as XML."""

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qiao.simulators.kit.notifier import Message
from qiao.simulators.wechat.book import CHINA, Order, Refund
from qiao.simulators.wechat.credentials import Merchant
from qiao.simulators.wechat.v2.codec import HMAC_SHA256, Failure, document, identity, parse
from qiao.simulators.wechat.v2.methods import paid

if TYPE_CHECKING:
    from qiao.simulators.wechat.simulator import Simulator

HEADERS = {"Content-Type": "text/xml; charset=utf-8"}


def payment_message(
    simulator: "Simulator",
    order: Order,
    sign_type: str,
    url: str,
    failure: Mapping[str, str] | None = None,
) -> Message:
    """Paid, or what a charge by a contract failed by. Only what is not signed by MD5 names its
    algorithm."""
    merchant = simulator.merchant(order.mchid)
    told = {
        "return_code": "SUCCESS",
        "result_code": "SUCCESS",
        **identity(merchant),
        "sign_type": sign_type if sign_type == HMAC_SHA256 else "",
        **(failure or paid(order)),
    }

    def build(wrongly: bool) -> tuple[Mapping[str, str], bytes]:
        return HEADERS, simulator.v2.message(told, merchant, sign_type, wrongly=wrongly)

    return Message(operation="notify.transaction", url=url, build=build, accepts=accepts)


def refund_message(simulator: "Simulator", order: Order, refund: Refund, url: str) -> Message:
    """Refunded. It carries no signature; who cannot decrypt it learns nothing."""
    merchant = simulator.merchant(order.mchid)
    told = {
        "out_refund_no": refund.out_refund_no,
        "out_trade_no": order.out_trade_no,
        "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
        "refund_fee": str(refund.fen),
        "refund_id": refund.refund_id,
        "refund_recv_accout": "支付用户零钱",
        "refund_request_source": "API",
        "refund_status": refund.status,
        "settlement_refund_fee": str(refund.fen),
        "settlement_total_fee": str(order.fen),
        "success_time": f"{refund.at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}",
        "total_fee": str(order.fen),
        "transaction_id": order.transaction_id,
    }

    def build(wrongly: bool) -> tuple[Mapping[str, str], bytes]:
        return HEADERS, _sealed(simulator, merchant, told, wrongly=wrongly)

    return Message(operation="notify.refund", url=url, build=build, accepts=accepts)


def _sealed(
    simulator: "Simulator", merchant: Merchant, told: Mapping[str, str], *, wrongly: bool
) -> bytes:
    info = simulator.v2.seal(merchant, told)
    return document(
        {
            "return_code": "SUCCESS",
            **identity(merchant),
            "nonce_str": secrets.token_hex(16),
            "req_info": info[::-1].lstrip("=") if wrongly else info,
        }
    )


def accepts(status: int, body: bytes) -> bool:
    """Whether the merchant's answer ends the sending."""
    try:
        return status == 200 and parse(body).get("return_code") == "SUCCESS"
    except Failure:
        return False
