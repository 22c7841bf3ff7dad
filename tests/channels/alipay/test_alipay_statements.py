"""The trade bill: asked for, fetched, and read from a zip of GBK text as Alipay makes it."""

import io
import zipfile
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.alipay.statements import parse_statement
from qiao.channels.interface import EntryKind, StatementEntry
from qiao.channels.requests import StatementRequest
from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money

METHOD = "alipay.data.dataservice.bill.downloadurl.query"
URL = "http://localhost:8000/bill?token=a%2Fb"
HEADER = [
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "商品名称",
    "创建时间",
    "完成时间",
    "门店编号",
    "门店名称",
    "操作员",
    "终端号",
    "对方账户",
    "订单金额（元）",
    "商家实收（元）",
    "支付宝红包（元）",
    "集分宝（元）",
    "支付宝优惠（元）",
    "商家优惠（元）",
    "券核销金额（元）",
    "券名称",
    "商家红包消费金额（元）",
    "卡消费金额（元）",
    "退款批次号/请求号",
    "服务费（元）",
    "分润（元）",
    "备注",
]
ROW = {
    "支付宝交易号": "2026010122001",
    "商户订单号": "att01",
    "业务类型": "交易",
    "商品名称": "一杯茶 \u3000镕",
    "创建时间": "2026-01-01 23:59:58",
    "完成时间": "2026-01-02 00:00:01",
    "订单金额（元）": "100.00",
    "商家实收（元）": "99.40",
    "服务费（元）": "-0.60",
}
REFUND = {
    **ROW,
    "业务类型": "退款",
    "订单金额（元）": "-30.00",
    "服务费（元）": "0.18",
    "退款批次号/请求号": "ref02",
}


def text_of(*rows: dict[str, str], header: list[str] = HEADER) -> str:
    lines = [
        "#支付宝业务明细查询",
        "#账号：[20880000000000010156]",
        "#起始日期：[2026年01月01日 00:00:00]   终止日期：[2026年01月02日 00:00:00]",
        "#-----------------------------------------业务明细列表----------------------------------------",
        ",".join(header),
        *(",".join(row.get(name, "") + "\t" for name in header) for row in rows),
        "#-----------------------------------------业务明细列表结束------------------------------------",
        *(
            f"#{kind}合计：{sum(row['业务类型'] == kind for row in rows)}笔，商家实收共99.40元"
            for kind in ("交易", "退款")
        ),
        "#导出时间：[2026年01月02日 09:00:00]",
        "",
    ]
    return "\r\n".join(lines)


class GbkName(zipfile.ZipInfo):
    """A zip entry whose name is GBK and not marked as UTF-8, as Alipay's are."""

    __slots__ = ()

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's own hook
        return self.filename.encode("gbk"), self.flag_bits


def zipped(*files: tuple[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(GbkName(name), content)
    return kept.getvalue()


def statement(text: str) -> bytes:
    return zipped(
        ("20880000000000010156_20260101_业务明细.csv", text.encode("gb18030")),
        ("20880000000000010156_20260101_业务明细(汇总).csv", "#汇总\r\n".encode("gbk")),
    )


def entry(**changes: Any) -> StatementEntry:
    values: dict[str, Any] = {
        "kind": EntryKind.PAYMENT,
        "reference": "att01",
        "refund_reference": None,
        "channel_reference": "2026010122001",
        "amount": Money(10000, "CNY"),
        "fee_minor": 60,
        "booked_at": datetime(2026, 1, 1, 16, 0, 1, tzinfo=UTC),
    }
    return StatementEntry(**(values | changes))


def without_columns(entries: Any) -> list[StatementEntry]:
    return [
        StatementEntry(
            kind=line.kind,
            reference=line.reference,
            refund_reference=line.refund_reference,
            channel_reference=line.channel_reference,
            amount=line.amount,
            fee_minor=line.fee_minor,
            booked_at=line.booked_at,
        )
        for line in entries
    ]


def download(alipay: Any, *responses: Any) -> Any:
    asked = StatementRequest(day=date(2026, 1, 1))
    return alipay.drive(alipay.channel().download_statement(asked, alipay.context), *responses)


def test_a_statement_is_fetched_as_it_is(alipay: Any) -> None:
    sent = statement(text_of(ROW))
    requests, result = download(
        alipay,
        alipay.success(METHOD, bill_download_url=URL),
        HttpResponse(status=200, body=sent),
    )
    assert result == sent
    asked = {"bill_type": "trade", "bill_date": "2026-01-01"}
    assert alipay.asked(requests[0], METHOD) == asked
    assert requests[1] == HttpRequest(method="GET", url=URL, effect=False, timeout_seconds=120.0)
    assert not requests[0].effect


@pytest.mark.parametrize(
    "sub_code",
    ["BILL_NOT_EXIST", "isp.bill_not_exist", "NO_BILL_DATA", "isv.NO_BILL_DATA"],
)
def test_a_day_without_a_statement_has_none(alipay: Any, sub_code: str) -> None:
    assert download(alipay, alipay.failure(METHOD, sub_code))[1] is None


@pytest.mark.parametrize("sub_code", ["isp.unknow-error", "isp.bill_in_the_making", ""])
def test_a_failed_question_is_not_a_day_without_a_statement(alipay: Any, sub_code: str) -> None:
    with pytest.raises(AnswerUnreadable):
        download(alipay, alipay.failure(METHOD, sub_code))


@pytest.mark.parametrize("url", ["", "ftp://localhost/x", "/bill", "http://a b/", "http://a\n"])
def test_only_a_url_is_followed(alipay: Any, url: str) -> None:
    with pytest.raises(AnswerUnreadable):
        download(alipay, alipay.success(METHOD, bill_download_url=url))


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>expired</html>"), (404, b"PK"), (200, b"")],
    ids=["a page", "not there", "nothing"],
)
def test_what_is_no_zip_is_no_statement(alipay: Any, status: int, body: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        download(
            alipay,
            alipay.success(METHOD, bill_download_url=URL),
            HttpResponse(status=status, body=body),
        )


def test_payments_and_refunds_are_read_with_every_column(alipay: Any) -> None:
    entries = alipay.channel().parse_statement(statement(text_of(ROW, REFUND)))
    assert without_columns(entries) == [
        entry(),
        entry(
            kind=EntryKind.REFUND,
            refund_reference="ref02",
            amount=Money(3000, "CNY"),
            fee_minor=-18,
        ),
    ]
    for line, row in zip(entries, (ROW, REFUND), strict=True):
        assert line.columns == {name: row.get(name, "").strip() for name in HEADER}


def test_columns_are_found_by_name(alipay: Any) -> None:
    header = [name.replace("（", "(").replace("）", ")") for name in reversed(HEADER)]
    row = {name.replace("（", "(").replace("）", ")"): text for name, text in ROW.items()}
    entries = alipay.channel().parse_statement(
        statement(text_of(row, header=[*header, "商户识别号", "交易方式"]))
    )
    assert without_columns(entries) == [entry()]


def test_a_quiet_day_has_no_lines() -> None:
    assert parse_statement(statement(text_of())) == []


def test_odd_line_ends_inside_a_cell_do_not_break_it() -> None:
    row = {**ROW, "商品名称": "tea\x0b\x1c\u2028cup"}
    assert without_columns(parse_statement(statement(text_of(row)))) == [entry()]


@pytest.mark.parametrize(
    "changes",
    [
        {"业务类型": "转账"},
        {"业务类型": ""},
        {"订单金额（元）": "-100.00"},
        {"订单金额（元）": "1,00"},
        {"订单金额（元）": "--1.00"},
        {"订单金额（元）": ""},
        {"订单金额（元）": "1.005"},
        {"服务费（元）": "abc"},
        {"完成时间": "2026/01/01"},
        {"商品名称": "a,b"},
    ],
    ids=str,
)
def test_a_line_that_is_not_understood_is_never_left_out(changes: dict[str, str]) -> None:
    with pytest.raises(AnswerUnreadable):
        parse_statement(statement(text_of(ROW, {**ROW, **changes})))


@pytest.mark.parametrize("name", ["业务类型", "订单金额（元）", "服务费（元）", "完成时间"])
def test_a_missing_column_is_named(name: str) -> None:
    header = [column for column in HEADER if column != name]
    with pytest.raises(AnswerUnreadable):
        parse_statement(statement(text_of(ROW, header=header)))


def test_a_refund_has_no_positive_amount() -> None:
    with pytest.raises(AnswerUnreadable, match="sign"):
        parse_statement(statement(text_of({**REFUND, "订单金额（元）": "30.00"})))


def test_what_is_not_the_zip_of_one_bill_is_unreadable() -> None:
    good = statement(text_of(ROW))
    summary = ("a_业务明细(汇总).csv", b"")
    detail = ("a_业务明细.csv", text_of(ROW).encode("gbk", "replace"))
    broken = bytearray(good)
    broken[60] ^= 0xFF
    for sent in (
        b"",
        b"PK",
        good[:-30],
        bytes(broken),
        zipped(summary),
        zipped(detail, ("b_业务明细.csv", detail[1])),
        zipped(("a.csv", b"\xff\xff")),
        zipped(("a.csv", b"#nothing\r\n")),
    ):
        with pytest.raises(AnswerUnreadable):
            parse_statement(sent)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_unreadable(sent: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        parse_statement(b"PK" + sent)


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 10_000_000_000), st.integers(-999, 999)),
        max_size=5,
    )
)
def test_every_amount_comes_back(lines: list[tuple[bool, int, int]]) -> None:
    def yuan(minor: int) -> str:
        return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"

    rows = [
        {
            **(REFUND if refund else ROW),
            "订单金额（元）": yuan(-minor if refund else minor),
            "服务费（元）": yuan(fee),
        }
        for refund, minor, fee in lines
    ]
    entries = parse_statement(statement(text_of(*rows)))
    assert [
        (line.kind is EntryKind.REFUND, line.amount.minor, -line.fee_minor) for line in entries
    ] == lines
