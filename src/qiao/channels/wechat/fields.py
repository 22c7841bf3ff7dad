"""The fields of a JSON object that WeChat Pay sent, each read as what it must be."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from qiao.channels.wechat.texts import CURRENCY
from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_SHOWN_CHARACTERS: Final = 64


def _no_constant(_: str) -> NoReturn:
    message = "JSON has no NaN"
    raise ValueError(message)


_DECODER: Final = json.JSONDecoder(parse_float=str, parse_constant=_no_constant)
"""A number with a point stays text, which no amount is: an amount never becomes a float."""


def safe(text: str) -> str:
    """``text`` from outside, fit for a log: a word of ASCII and no more."""
    return _UNSAFE.sub("?", text)[:_SHOWN_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """A JSON object; ``source`` names it in errors. Every reader raises AnswerUnreadable."""

    source: str
    values: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, source: str, body: bytes) -> "Fields":
        """The object that ``body`` is."""
        try:
            value = _DECODER.decode(body.decode())
        except (ValueError, RecursionError):
            raise AnswerUnreadable(f"{source} is not JSON") from None
        if not isinstance(value, dict):
            raise AnswerUnreadable(f"{source} is not a JSON object")
        return cls(source=source, values=value)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise AnswerUnreadable(f"{self.source} has no {name}")
        return value

    def optional(self, name: str) -> str | None:
        """A text that may be missing or empty."""
        return self.text(name) if self.values.get(name) not in (None, "") else None

    def expect(self, name: str, asked: str) -> None:
        """Raise unless the text is what was asked."""
        if self.text(name) != asked:
            raise AnswerUnreadable(f"{self.source} is about another {name}")

    def part(self, name: str) -> "Fields":
        """An object inside this one."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise AnswerUnreadable(f"{self.source} has no {name}")
        return Fields(source=self.source, values=value)

    def parts(self, name: str) -> Sequence["Fields"]:
        """A list of objects inside this one."""
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise AnswerUnreadable(f"{self.source} has no list of {name}")
        return [Fields(source=self.source, values=item) for item in value]

    def money(self, name: str) -> Money:
        """Whole fen; a ``currency`` beside them, if there is one, must be CNY."""
        if self.values.get("currency", CURRENCY) != CURRENCY:
            raise AnswerUnreadable(f"{self.source} is in another currency")
        try:
            return Money(self.values[name], CURRENCY)
        except (KeyError, InvalidMoney):
            raise AnswerUnreadable(f"{self.source} has no {name} in whole fen") from None
