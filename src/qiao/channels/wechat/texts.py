"""Amounts and times as WeChat Pay writes them: whole fen, RFC 3339, and yuan in bills alone."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money

CURRENCY: Final = "CNY"
MIN_MINOR: Final = 1
MAX_MINOR: Final = 2**31 - 1
"""WeChat Pay names no limit of its own; its official Java SDK carries amounts in 32 bits."""

GMT8: Final = timezone(timedelta(hours=8))
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_BILL_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)


def fen(amount: Money, *, field: str = "amount") -> int:
    """``amount`` for the wire. Raises InvalidMoney naming ``field``."""
    if amount.currency != CURRENCY:
        raise InvalidMoney("WeChat Pay takes CNY here", field=field, remedy="give CNY")
    if not MIN_MINOR <= amount.minor <= MAX_MINOR:
        raise InvalidMoney(
            "out of WeChat Pay's range",
            field=field,
            remedy=f"give {MIN_MINOR} to {MAX_MINOR} fen",
        )
    return amount.minor


def time_text(moment: datetime) -> str:
    """RFC 3339 in GMT+8, to the second, of an aware time."""
    return moment.astimezone(GMT8).isoformat(timespec="seconds")


def time_from(text: str) -> datetime:
    """UTC, to the second, of an RFC 3339 time; raises AnswerUnreadable."""
    match = _TIME.fullmatch(text)
    try:
        if match is not None:
            return datetime.fromisoformat(match[1] + match[2]).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AnswerUnreadable("a time is not RFC 3339")


def bill_time_from(text: str) -> datetime:
    """UTC of a bill's clock time, which is in GMT+8; raises AnswerUnreadable."""
    try:
        if _BILL_TIME.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=GMT8).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AnswerUnreadable("a time of the bill is not yyyy-MM-dd HH:mm:ss")
