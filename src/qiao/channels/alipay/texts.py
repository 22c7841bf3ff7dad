"""Amounts and times as Alipay writes them: yuan with two decimals, and clock time in GMT+8."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money

CURRENCY: Final = "CNY"
MIN_MINOR: Final = 1
MAX_MINOR: Final = 10_000_000_000
"""100 000 000.00 yuan. Source: total_amount of alipay.trade.pay, [0.01,100000000]."""

GMT8: Final = timezone(timedelta(hours=8))
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)?", re.ASCII)


def yuan_text(amount: Money, *, field: str = "amount") -> str:
    """``amount`` for the wire: 1230 fen is ``"12.30"``. Raises InvalidMoney naming ``field``."""
    if amount.currency != CURRENCY:
        raise InvalidMoney("Alipay takes CNY here", field=field, remedy="give an amount in CNY")
    if not MIN_MINOR <= amount.minor <= MAX_MINOR:
        raise InvalidMoney(
            "out of Alipay's range", field=field, remedy="give 0.01 to 100000000.00 yuan"
        )
    return amount.to_major()


def money_from(text: str) -> Money:
    """The amount in an answer; raises AnswerUnreadable."""
    try:
        return Money.from_major(text, CURRENCY)
    except InvalidMoney:
        raise AnswerUnreadable("an amount is not one in yuan") from None


def signed_minor_from(text: str) -> int:
    """Fen, below zero when the text has a minus; raises AnswerUnreadable."""
    minor = money_from(text.removeprefix("-")).minor
    return -minor if text.startswith("-") else minor


def time_text(moment: datetime) -> str:
    """``yyyy-MM-dd HH:mm:ss`` in GMT+8, of an aware time."""
    return moment.astimezone(GMT8).strftime("%Y-%m-%d %H:%M:%S")


def time_from(text: str) -> datetime:
    """UTC, to the second; raises AnswerUnreadable."""
    match = _TIME.fullmatch(text)
    try:
        if match is not None:
            local = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=GMT8)
            return local.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AnswerUnreadable("a time is not yyyy-MM-dd HH:mm:ss")
