"""Bills: the trade bill that reconciliation reads, and the fund flow bill.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012791866 and the format of bills (账单格式).
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final

from qiao.channels.interface import EntryKind, StatementEntry
from qiao.channels.requests import Context, StatementRequest
from qiao.channels.wechat.codes import NO_STATEMENT
from qiao.channels.wechat.gateway import Gateway
from qiao.channels.wechat.texts import CURRENCY, GMT8
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money

DOWNLOAD_TIMEOUT_SECONDS: Final = 120.0
MAX_TEXT_BYTES: Final = 1024 * 1024 * 1024
_OK: Final = 200
_STATES: Final = {"SUCCESS": EntryKind.PAYMENT, "REFUND": EntryKind.REFUND}
_TAKEN_BACK: Final = "REVOKED"
_OLDER: Final = {
    "总金额": "应结订单金额",
    "企业红包金额": "代金券金额",
    "企业红包退款金额": "充值券退款金额",
    "总交易额": "应结订单总金额",
    "总退款金额": "退款总金额",
    "总企业红包退款金额": "充值券退款总金额",
}
"""What merchants from the days of API v2 see, by what everybody else sees."""


def download_statement(
    gateway: Gateway, request: StatementRequest, context: Context
) -> Operation[bytes | None]:
    """The day's trade bill as text, once it is the one whose hash WeChat Pay signed."""
    return _download(gateway, "/v3/bill/tradebill", {"bill_type": "ALL"}, request.day, context)


def download_fund_flow(
    gateway: Gateway, request: StatementRequest, context: Context, *, account_type: str = "BASIC"
) -> Operation[bytes | None]:
    """The day's fund flow bill (资金账单) of BASIC, OPERATION or FEES."""
    asked = {"account_type": account_type}
    return _download(gateway, "/v3/bill/fundflowbill", asked, request.day, context)


def _download(
    gateway: Gateway, path: str, asked: Mapping[str, str], day: date, context: Context
) -> Operation[bytes | None]:
    query = {
        "bill_date": day.isoformat(),
        **asked,
        "tar_type": "GZIP",
        "sub_mchid": gateway.account.settings.sub_mchid,
    }
    answer = yield from gateway.call("GET", path, context, query=query)
    if answer.code in NO_STATEMENT:
        return None
    if not answer.succeeded:
        raise answer.open()
    url = answer.text("download_url")
    if not url.startswith(f"{gateway.account.settings.gateway}/"):
        raise AnswerUnreadable("the bill's address is not WeChat Pay's")
    response = yield gateway.request("GET", url, context, timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS)
    if response.status != _OK:
        raise AnswerUnreadable(f"the bill's address answered {response.status}")
    text = unpacked(response.body)
    # The file itself is not signed; its hash came in the signed answer.
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    if digest != answer.text("hash_value").lower():
        raise AnswerUnreadable("the bill is not the one whose hash was signed")
    return text


def unpacked(body: bytes) -> bytes:
    """The bill's text, gzip or not; raises AnswerUnreadable for gzip that is damaged."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        text = zlib.decompressobj(wbits=31).decompress(body, MAX_TEXT_BYTES)
    except zlib.error:
        raise AnswerUnreadable("the bill is not gzip") from None
    return text


def parse_statement(statement: bytes) -> Sequence[StatementEntry]:
    """Every line of a trade bill, once their count and sums are those of its last line.

    Raises AnswerUnreadable rather than leave one out.
    """
    try:
        lines = [line for line in statement.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise AnswerUnreadable("the bill is not UTF-8") from None
    ends = [number for number, line in enumerate(lines) if line.startswith("总交易单数")]
    if len(ends) != 1 or ends[0] != len(lines) - 2 or not ends[0]:
        raise AnswerUnreadable("the bill is not whole: its totals are missing")
    header, totals = _header(lines[0]), _row(_header(lines[ends[0]]), lines[-1])
    rows = [_row(header, line) for line in lines[1 : ends[0]]]
    entries = [entry for row in rows if (entry := _entry(row)) is not None]
    try:
        _check_totals(rows, totals)
    except KeyError:
        raise AnswerUnreadable("the bill lacks a column") from None
    return entries


def _header(line: str) -> list[str]:
    return [_OLDER.get(name, name) for name in line.split(",")]


def _row(header: Sequence[str], line: str) -> dict[str, str]:
    if not line.startswith("`"):
        raise AnswerUnreadable("a line of the bill is not data")
    cells = line[1:].split(",`")
    if len(cells) != len(header):
        raise AnswerUnreadable("a line of the bill has another number of columns")
    return dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _entry(row: Mapping[str, str]) -> StatementEntry | None:
    """One line; None for a payment that was taken back, which is a refund line besides."""
    try:
        state = row["交易状态"]
        if state == _TAKEN_BACK:
            kind, reference = EntryKind.REFUND, row["商户退款单号"]
            amount = row["退款金额"]
        else:
            kind = _STATES[state]
            refund = kind is EntryKind.REFUND
            reference = row["商户退款单号"] if refund else ""
            if refund:
                amount = row.get("申请退款金额") or row["退款金额"]
            else:
                amount = row.get("订单金额") or row["应结订单金额"]
        if row["货币种类"] != CURRENCY:
            raise AnswerUnreadable("a line of the bill is in another currency")
        return StatementEntry(
            kind=kind,
            reference=row["商户订单号"],
            refund_reference=reference if kind is EntryKind.REFUND else None,
            channel_reference=row["微信订单号"],
            amount=Money(_fen(amount), CURRENCY),
            fee_minor=_signed_fen(row["手续费"]),
            booked_at=_moment(row["交易时间"]),
            columns=dict(row),
        )
    except KeyError:
        raise AnswerUnreadable("the bill lacks a column, or has a state of its own") from None


def _check_totals(rows: Sequence[Mapping[str, str]], totals: Mapping[str, str]) -> None:
    paid = [row for row in rows if row["交易状态"] == "SUCCESS"]
    back = [row for row in rows if row["交易状态"] != "SUCCESS"]
    columns = {
        "应结订单总金额": (paid, "应结订单金额"),
        "退款总金额": (back, "退款金额"),
        "订单总金额": (paid, "订单金额"),
        "申请退款总金额": (back, "申请退款金额"),
    }
    if _count(totals["总交易单数"]) != len(rows):
        raise AnswerUnreadable("the bill does not hold as many lines as it says")
    for name, (lines, column) in columns.items():
        if name in totals and _fen(totals[name]) != sum(_fen(row[column]) for row in lines):
            raise AnswerUnreadable(f"the bill's lines do not add up to its {name}")


def _count(text: str) -> int:
    whole = text.removesuffix(".0")
    if not (whole.isascii() and whole.isdigit()):
        raise AnswerUnreadable("the bill's count is no number")
    return int(whole[:12])


def _fen(text: str) -> int:
    try:
        return Money.from_major(text, CURRENCY).minor
    except InvalidMoney:
        raise AnswerUnreadable("an amount of the bill is not one in yuan") from None


def _signed_fen(text: str) -> int:
    """A fee has up to five decimals; what is below a fen is rounded half up, as it is settled."""
    negative = text.startswith("-")
    whole, _, decimals = text.removeprefix("-").partition(".")
    decimals = decimals.ljust(5, "0")
    if not (whole.isascii() and whole.isdigit() and decimals.isascii() and decimals.isdigit()):
        raise AnswerUnreadable("a fee of the bill is not one in yuan")
    if len(whole) > 12 or len(decimals) != 5:
        raise AnswerUnreadable("a fee of the bill is not one in yuan")
    minor = (int(whole) * 100_000 + int(decimals) + 500) // 1000
    return -minor if negative else minor


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=GMT8).astimezone(UTC)
    except ValueError:
        raise AnswerUnreadable("a time of the bill is not yyyy-MM-dd HH:mm:ss") from None
