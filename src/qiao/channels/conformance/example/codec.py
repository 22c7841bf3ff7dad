"""Reads Toy's JSON and CSV into the domain; whatever is not as documented is AnswerUnreadable."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from qiao.channels.interface import EntryKind, StatementEntry
from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money

Document = dict[str, Any]

_HEADER: Final = [
    *("kind", "reference", "refund_reference", "channel_reference"),
    *("amount", "currency", "fee_minor", "time"),
]
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SIGNED_INTEGER: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)


def read_document(body: bytes) -> Document:
    """The JSON object in ``body``; raises AnswerUnreadable."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AnswerUnreadable("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise AnswerUnreadable("the answer is not a JSON object")
    return document


def text(document: Document, name: str) -> str:
    """A field that must be there and be text; raises AnswerUnreadable."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerUnreadable(f"the answer lacks {name}")
    return value


def money(document: Document) -> Money:
    """The amount (major units) and its currency; raises AnswerUnreadable."""
    try:
        return Money.from_major(text(document, "amount"), text(document, "currency"))
    except InvalidMoney as error:
        raise AnswerUnreadable(f"the answer's amount cannot be read: {error}") from None


def moment(written: str) -> datetime:
    """``2026-01-15T04:00:00Z``; raises AnswerUnreadable."""
    if not _TIME.fullmatch(written):
        raise AnswerUnreadable("the answer's time cannot be read")
    try:
        return datetime.strptime(written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise AnswerUnreadable("the answer's time cannot be read") from None


def read_statement(content: bytes) -> Sequence[StatementEntry]:
    """The entries of a statement whose last line counts and adds them up (minor units).

    Raises AnswerUnreadable, also when the last line does not agree with the others.
    """
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError:
        raise AnswerUnreadable("the statement is not UTF-8") from None
    if len(lines) < 3 or lines[0].split(",") != _HEADER or lines[-1]:
        raise AnswerUnreadable("this is not a statement, or not a whole one")
    entries = [_entry(line) for line in lines[1:-2]]
    total = sum(entry.amount.minor for entry in entries)
    if lines[-2] != f"total,{len(entries)},{total}":
        raise AnswerUnreadable("the statement's total does not agree with its lines")
    return entries


def _entry(line: str) -> StatementEntry:
    cells = line.split(",")
    if len(cells) != len(_HEADER):
        raise AnswerUnreadable("a line of the statement has too few or too many cells")
    columns = dict(zip(_HEADER, cells, strict=True))
    if columns["kind"] not in set(EntryKind) or not _SIGNED_INTEGER.fullmatch(columns["fee_minor"]):
        raise AnswerUnreadable("a line of the statement cannot be read")
    return StatementEntry(
        kind=EntryKind(columns["kind"]),
        reference=columns["reference"],
        refund_reference=columns["refund_reference"] or None,
        channel_reference=columns["channel_reference"],
        amount=money(columns),
        fee_minor=int(columns["fee_minor"]),
        booked_at=moment(columns["time"]),
        columns=columns,
    )
