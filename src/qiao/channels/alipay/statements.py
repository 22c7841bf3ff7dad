"""The trade bill (业务明细): asked for, downloaded, and read from its zip of GBK text.

Source: https://opendocs.alipay.com/open/ — alipay.data.dataservice.bill.downloadurl.query, and
facts of Alipay OpenAPI, section Bills.
"""

import csv
import io
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from qiao.channels.alipay.codes import NO_STATEMENT
from qiao.channels.alipay.gateway import Gateway
from qiao.channels.alipay.texts import CURRENCY, signed_minor_from, time_from
from qiao.channels.interface import EntryKind, StatementEntry
from qiao.channels.requests import Context, StatementRequest
from qiao.channels.wire import HttpRequest, Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money

_DOWNLOAD_TIMEOUT_SECONDS: Final = 120.0
_MAX_TEXT_BYTES: Final = 1024 * 1024 * 1024
_OK: Final = 200
_ZIP_MAGIC: Final = b"PK"
_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_LINE_END: Final = re.compile(r"\r?\n")
_END: Final = "业务明细列表结束"
_TOTAL: Final = re.compile(r"#(交易|退款)合计：([0-9]+)笔", re.ASCII)
_KINDS: Final = {"交易": EntryKind.PAYMENT, "退款": EntryKind.REFUND}


def download_statement(
    gateway: Gateway, request: StatementRequest, context: Context
) -> Operation[bytes | None]:
    """The day's zip, as sent. Alipay has it from about 09:00 (GMT+8) of the next day on.

    The address that Alipay hands out is good for some 30 seconds, so it is used at once.
    """
    day: date = request.day
    content = {"bill_type": "trade", "bill_date": day.isoformat()}
    method = "alipay.data.dataservice.bill.downloadurl.query"
    answer = yield from gateway.call(method, content, context, effect=False)
    if answer.sub_code.rpartition(".")[2].upper() in NO_STATEMENT:
        return None
    if not answer.succeeded:
        raise answer.open()
    url = answer.text("bill_download_url")
    if not _URL.fullmatch(url):
        raise AnswerUnreadable(f"{method} answered with something that is no URL")
    response = yield HttpRequest(
        method="GET", url=url, effect=False, timeout_seconds=_DOWNLOAD_TIMEOUT_SECONDS
    )
    if response.status != _OK or not response.body.startswith(_ZIP_MAGIC):
        raise AnswerUnreadable("the statement's address did not answer with a zip")
    return response.body


def parse_statement(statement: bytes) -> Sequence[StatementEntry]:
    """Every line of the detail file; raises AnswerUnreadable rather than leave one out."""
    lines = [line for line in _LINE_END.split(_detail(statement)) if line.strip()]
    try:
        rows = list(csv.reader([line for line in lines if not line.startswith("#")]))
    except csv.Error:
        raise AnswerUnreadable("the statement is not CSV") from None
    if not rows:
        raise AnswerUnreadable("the statement has no header")
    header = [cell.strip() for cell in rows[0]]
    entries = []
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise AnswerUnreadable(f"line {number} of the statement has another number of columns")
        columns = dict(zip(header, (cell.strip() for cell in row), strict=True))
        entries.append(_entry(columns))
    _check_whole(lines, entries)
    return entries


def _check_whole(lines: Sequence[str], entries: Sequence[StatementEntry]) -> None:
    """Raise AnswerUnreadable unless the end mark is there and the counts below it are right."""
    ends = [number for number, line in enumerate(lines) if _END in line]
    if len(ends) != 1 or not all(line.startswith("#") for line in lines[ends[0] :]):
        raise AnswerUnreadable("the statement is not whole: its end mark is missing")
    told = {match[1]: int(match[2][:12]) for line in lines if (match := _TOTAL.match(line))}
    counted = {name: sum(entry.kind is kind for entry in entries) for name, kind in _KINDS.items()}
    if told != counted:
        raise AnswerUnreadable("the statement does not hold as many lines as it says")


def _entry(columns: Mapping[str, str]) -> StatementEntry:
    """One line. Refunds carry negative amounts, and a fee that the merchant pays is negative."""
    named = {unicodedata.normalize("NFKC", name): text for name, text in columns.items()}
    try:
        kind = _KINDS[named["业务类型"]]
        minor = signed_minor_from(named["订单金额(元)"])
        if minor * (1 if kind is EntryKind.PAYMENT else -1) < 0:
            raise AnswerUnreadable("a line of the statement has an amount of the wrong sign")
        return StatementEntry(
            kind=kind,
            reference=named["商户订单号"],
            refund_reference=named["退款批次号/请求号"] if kind is EntryKind.REFUND else None,
            channel_reference=named["支付宝交易号"],
            amount=Money(abs(minor), CURRENCY),
            fee_minor=-signed_minor_from(named["服务费(元)"]),
            booked_at=time_from(named["完成时间"]),
            columns=columns,
        )
    except KeyError:
        raise AnswerUnreadable("the statement lacks a column, or has a kind of its own") from None


def _detail(statement: bytes) -> str:
    """The text of the one detail file in the zip; the summary (汇总) beside it is passed over."""
    try:
        with zipfile.ZipFile(io.BytesIO(statement), metadata_encoding="gbk") as archive:
            details = [
                entry
                for entry in archive.infolist()
                if entry.filename.endswith(".csv") and "汇总" not in entry.filename
            ]
            if len(details) != 1 or details[0].file_size > _MAX_TEXT_BYTES:
                raise AnswerUnreadable("the zip does not hold one detail file")
            return archive.read(details[0]).decode("gb18030")
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        NotImplementedError,
        RuntimeError,
        EOFError,
    ):
        raise AnswerUnreadable("the statement is not a zip of GBK text") from None
