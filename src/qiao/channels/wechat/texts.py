"""Amounts, times and numbers as WeChat Pay writes them: fen, RFC 3339 in GMT+8."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from qiao.domain.errors import AnswerUnreadable, InvalidInput, InvalidMoney
from qiao.domain.money import MAX_MINOR as MAX_MONEY
from qiao.domain.money import Money

CURRENCY: Final = "CNY"
MIN_MINOR: Final = 1
MAX_MINOR: Final = 10_000_000_000
GMT8: Final = timezone(timedelta(hours=8))
REFERENCE: Final = re.compile(r"[0-9A-Za-z_\-|*]{6,32}", re.ASCII)
REFUND_REFERENCE: Final = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}", re.ASCII)
BILL_REFERENCE: Final = re.compile(r"[0-9A-Za-z]{5,32}", re.ASCII)


def fen(amount: Money, *, field: str = "amount") -> int:
    """``amount`` for the wire. Raises InvalidMoney naming ``field``."""
    if amount.currency != CURRENCY:
        raise InvalidMoney("WeChat Pay takes CNY here", field=field, remedy="give an amount in CNY")
    if not MIN_MINOR <= amount.minor <= MAX_MINOR:
        raise InvalidMoney(
            "out of WeChat Pay's range", field=field, remedy="give 0.01 to 100000000.00 yuan"
        )
    return amount.minor


def money_from(fields: Mapping[str, Any], name: str) -> Money:
    """The amount of that name in an answer's ``amount``; raises AnswerUnreadable."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= MAX_MONEY:
        raise AnswerUnreadable(f"an answer's {name} is not an amount in fen")
    if fields.get("currency", CURRENCY) != CURRENCY:
        raise AnswerUnreadable("an answer is about another currency")
    return Money(value, CURRENCY)


def time_text(moment: datetime) -> str:
    """``2026-01-15T12:00:00+08:00``."""
    return moment.astimezone(GMT8).isoformat(timespec="seconds")


def time_from(value: object) -> datetime:
    """UTC; raises AnswerUnreadable."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AnswerUnreadable("a time is not RFC 3339")


def check_number(text: str, *, field: str = "number") -> str:
    """A number of WeChat Pay's own, to be put into a path; raises InvalidInput."""
    return check_reference(text, REFUND_REFERENCE, field=field)


def check_reference(
    text: str, pattern: re.Pattern[str] = REFERENCE, *, field: str = "reference"
) -> str:
    """``text`` if WeChat Pay takes it for a number; raises InvalidInput."""
    if not pattern.fullmatch(text):
        raise InvalidInput(
            "not a number that WeChat Pay takes",
            field=field,
            remedy=f"give one like {pattern.pattern}",
        )
    return text
