"""The day's bills, as section 10 of the facts describes them: CSV with backticks, in yuan."""

from collections.abc import Iterator
from datetime import date
from typing import Final

from qiao.simulators.wechat.book import CHINA, OPENID, Book, Order, Refund, State

HEADER: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS: Final = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)
FLOW_HEADER: Final = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),"
    "资金变更提交申请人,备注,业务凭证号"
)
FLOW_TOTALS: Final = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
FEE_PERMILLE: Final = 6


def trade_bill(book: Book, owner: str, day: date) -> bytes | None:
    """What the merchant's orders booked on that day in China; None when nothing was."""
    rows = list(_rows(book, owner, day))
    if not rows:
        return None
    paid = sum(order.fen for order, refund in rows if refund is None)
    back = sum(refund.fen for _, refund in rows if refund is not None)
    fee = sum(_fee(order, refund) for order, refund in rows)
    sums = [
        yuan(paid),
        yuan(back),
        "0.00",
        fee_text(fee),
        yuan(paid),
        yuan(back),
    ]
    lines = [HEADER, *(_line(*row) for row in rows), TOTALS, _cells([f"{len(rows)}.0", *sums])]
    return ("\ufeff" + "".join(f"{line}\r\n" for line in lines)).encode()


def fund_flow_bill(book: Book, owner: str, day: date) -> bytes | None:
    """The movements of the merchant's money on that day."""
    rows = list(_rows(book, owner, day))
    if not rows:
        return None
    lines, balance, income, outgo = [FLOW_HEADER], 0, 0, 0
    for number, (order, refund) in enumerate(rows, 1):
        fen = refund.fen if refund else order.fen
        balance += -fen if refund else fen
        income, outgo = income + (0 if refund else fen), outgo + (fen if refund else 0)
        moment = refund.at if refund else order.paid_at or order.created_at
        cells = [
            f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}",
            refund.refund_id if refund else order.transaction_id,
            f"10000{number:015}",
            "退款" if refund else "交易",
            "退款" if refund else "交易",
            "支出" if refund else "收入",
            yuan(fen),
            yuan(balance),
            "system",
            "",
            refund.out_refund_no if refund else order.out_trade_no,
        ]
        lines.append(_cells(cells))
    back = sum(refund is not None for _, refund in rows)
    totals = [f"{len(rows)}.0", f"{len(rows) - back}.0", yuan(income), f"{back}.0", yuan(outgo)]
    return "".join(f"{line}\r\n" for line in [*lines, FLOW_TOTALS, _cells(totals)]).encode()


def _rows(book: Book, owner: str, day: date) -> Iterator[tuple[Order, Refund | None]]:
    for order in book.orders.values():
        if order.owner != owner or order.paid_at is None or order.state is State.REVOKED:
            continue
        if order.paid_at.astimezone(CHINA).date() == day:
            yield order, None
        for refund in order.refunds.values():
            if refund.at.astimezone(CHINA).date() == day:
                yield order, refund


def _line(order: Order, refund: Refund | None) -> str:
    moment = refund.at if refund else order.paid_at or order.created_at
    billed = "0.00" if refund else yuan(order.fen)
    back = yuan(refund.fen) if refund else "0.00"
    return _cells(
        [
            f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}",
            order.appid,
            order.mchid,
            order.owner if order.owner != order.mchid else "0",
            "",
            order.transaction_id,
            order.out_trade_no,
            OPENID,
            order.trade_type,
            "REFUND" if refund else "SUCCESS",
            "OTHERS",
            "CNY",
            billed,
            "0.00",
            refund.refund_id if refund else "0",
            refund.out_refund_no if refund else "0",
            back,
            "0.00",
            "ORIGINAL" if refund else "",
            refund.status if refund else "",
            " ".join(order.description.replace(",", " ").split()),
            "",
            fee_text(_fee(order, refund)),
            "0.60%",
            billed,
            back,
            "",
        ]
    )


def _fee(order: Order, refund: Refund | None) -> int:
    """In thousandths of a fen, positive when the merchant pays it."""
    return -refund.fen * FEE_PERMILLE if refund else order.fen * FEE_PERMILLE


def fee_text(thousandths: int) -> str:
    sign, value = ("-", -thousandths) if thousandths < 0 else ("", thousandths)
    return f"{sign}{value // 100_000}.{value % 100_000:05}"


def yuan(fen: int) -> str:
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // 100}.{fen % 100:02}"


def _cells(cells: list[str]) -> str:
    return ",".join(f"`{cell}" for cell in cells)
