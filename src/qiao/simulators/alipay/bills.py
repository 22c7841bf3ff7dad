"""The day's trade bill: a zip of GBK CSV files, as section 9 of the facts describes it."""

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from typing import Final

from qiao.simulators.alipay.book import BUYER_LOGON_ID, Book, yuan_of
from qiao.simulators.alipay.codec import CHINA, china_time

# fmt: off
COLUMNS: Final = (
    "支付宝交易号", "商户订单号", "业务类型", "商品名称", "创建时间", "完成时间", "门店编号",
    "门店名称", "操作员", "终端号", "对方账户", "订单金额（元）", "商家实收（元）",
    "支付宝红包（元）", "集分宝（元）", "支付宝优惠（元）", "商家优惠（元）",
    "券核销金额（元）", "券名称", "商家红包消费金额（元）", "卡消费金额（元）",
    "退款批次号/请求号", "服务费（元）", "分润（元）", "备注",
)
# fmt: on
FEE_PERMILLE: Final = 6


def trade_bill(book: Book, seller_id: str, day: date, now: datetime) -> bytes:
    """What the seller's trades booked on that day in China."""
    rows = list(_rows(book, seller_id, day))
    text = f"{day:%Y年%m月%d日}"
    paid = [fen for kind, fen, _ in rows if kind == "交易"]
    back = [-fen for kind, fen, _ in rows if kind == "退款"]
    detail = [
        "#支付宝业务明细查询",
        f"#账号：[{seller_id}0156]",
        f"#起始日期：[{text} 00:00:00]   终止日期：[{text} 24:00:00]",
        "#-----------------------------------------业务明细列表----------------------------------------",
        ",".join(COLUMNS),
        *(",".join(f"{cell}\t" for cell in cells) for _, _, cells in rows),
        "#-----------------------------------------业务明细列表结束------------------------------------",
        f"#交易合计：{len(paid)}笔，商家实收共{yuan_of(sum(paid))}元，商家优惠共0.00元",
        f"#退款合计：{len(back)}笔，商家实收退款共{yuan_of(sum(back))}元，商家优惠退款共0.00元",
        f"#导出时间：[{china_time(now)}]",
    ]
    summary = [
        "#支付宝业务汇总查询",
        "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）",
        f"合计\t,\t,{len(paid)}\t,{len(back)}\t,{yuan_of(sum(paid) - sum(back))}\t",
        "#-----------------------------------------业务汇总列表结束------------------------------------",
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        name = f"{seller_id}0156_{day:%Y%m%d}_业务明细"
        for file, lines in ((f"{name}.csv", detail), (f"{name}(汇总).csv", summary)):
            archive.writestr(file, ("\r\n".join(lines) + "\r\n").encode("gb18030"))
    return packed.getvalue()


def _rows(book: Book, seller_id: str, day: date) -> Iterator[tuple[str, int, list[str]]]:
    for trade in book.trades.values():
        if trade.seller_id != seller_id or trade.paid_at is None:
            continue
        numbers = (trade.trade_no, trade.out_trade_no)
        if trade.paid_at.astimezone(CHINA).date() == day:
            fee = trade.fen * FEE_PERMILLE // 1000
            cells = _cells(
                *numbers, "交易", trade.subject, trade.created_at, trade.paid_at, trade.fen
            )
            yield "交易", trade.fen, [*cells, "", yuan_of(-fee), "0.00", ""]
        for refund in trade.refunds.values():
            if refund.done and refund.at.astimezone(CHINA).date() == day:
                cells = _cells(
                    *numbers, "退款", trade.subject, trade.created_at, refund.at, -refund.fen
                )
                yield "退款", -refund.fen, [*cells, refund.out_request_no, "0.00", "0.00", ""]


def _cells(
    trade_no: str,
    out_trade_no: str,
    kind: str,
    subject: str,
    created_at: datetime,
    done_at: datetime,
    fen: int,
) -> list[str]:
    quoted = '"' + subject.replace('"', '""') + '"' if set(subject) & {",", '"'} else subject
    return [
        trade_no,
        out_trade_no,
        kind,
        quoted,
        china_time(created_at),
        china_time(done_at),
        "",
        "",
        "",
        "",
        BUYER_LOGON_ID,
        yuan_of(fen),
        yuan_of(fen),
        *["0.00"] * 5,
        "",
        "0.00",
        "0.00",
    ]
