"""Amounts and times as API v2 writes them: fen in digits, yyyyMMddHHmmss in Beijing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from qiao.channels.wechat.texts import CURRENCY, GMT8
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import MAX_MINOR, Money

_MAX_DIGITS: Final = 16
_COMPACT: Final = "%Y%m%d%H%M%S"
_FORMS: Final = {14: _COMPACT, 19: "%Y-%m-%d %H:%M:%S"}


def money_from(fields: Mapping[str, str], name: str) -> Money:
    """The amount of that name; raises AnswerUnreadable."""
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise AnswerUnreadable(f"its {name} is not an amount in fen")
    if int(text) > MAX_MINOR:
        raise AnswerUnreadable(f"its {name} is out of range")
    if any(fields.get(one, CURRENCY) != CURRENCY for one in ("fee_type", "refund_fee_type")):
        raise AnswerUnreadable("it is about another currency")
    return Money(int(text), CURRENCY)


def time_text(moment: datetime) -> str:
    """``20260115120000``."""
    return moment.astimezone(GMT8).strftime(_COMPACT)


def time_from(text: str) -> datetime:
    """UTC, from ``20260115120000`` or (refunds) ``2026-01-15 12:00:00``; or AnswerUnreadable."""
    form = _FORMS.get(len(text))
    try:
        if form is not None:
            return datetime.strptime(text, form).replace(tzinfo=GMT8).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise AnswerUnreadable("a time is not yyyyMMddHHmmss")
