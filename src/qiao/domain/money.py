"""Money: whole minor units of an ISO 4217 currency. No float ever touches it."""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from typing import Final

from qiao.domain.errors import InvalidMoney

MAX_MINOR: Final = 2**53 - 1
"""The largest amount, in minor units: what a JSON number carries exactly everywhere."""

_BY_EXPONENT: Final = {
    0: "CLP ISK JPY KRW PYG UGX VND VUV XAF XOF XPF",
    2: "AED AUD BDT BGN BRL CAD CHF CNY CZK DKK EGP EUR GBP HKD HUF IDR ILS INR KES KHR KZT LKR "
    "MMK MNT MOP MXN MYR NGN NOK NPR NZD PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD TZS "
    "UAH USD UZS ZAR",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_EXPONENTS: Final = {
    code: places for places, codes in _BY_EXPONENT.items() for code in codes.split()
}
_MAJOR_TEXT: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,3}))?", re.ASCII)


def exponent(currency: str) -> int:
    """How many decimals the currency has (ISO 4217: 0, 2 or 3).

    Raises InvalidMoney for a code that Qiao does not know.
    """
    try:
        return _EXPONENTS[currency]
    except (KeyError, TypeError):
        raise InvalidMoney(
            "not a currency that Qiao knows",
            field="currency",
            remedy="give the ISO 4217 code in capitals, such as CNY",
        ) from None


def currencies() -> frozenset[str]:
    """The ISO 4217 codes that Qiao knows."""
    return frozenset(_EXPONENTS)


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """``minor`` whole minor units (fen, cents, yen) of ``currency``, zero or more.

    Raises InvalidMoney for anything else. Amounts of two currencies neither add nor compare.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)
        if type(self.minor) is not int:
            raise InvalidMoney(
                "not a whole number", field="amount", remedy="give whole minor units, such as 100"
            )
        if not 0 <= self.minor <= MAX_MINOR:
            raise InvalidMoney(
                "out of range", field="amount", remedy=f"give 0 to {MAX_MINOR} minor units"
            )

    @classmethod
    def from_major(cls, text: str, currency: str) -> "Money":
        """Read major-unit text: ``"12.3"`` and ``"12.30"`` CNY are 1230 fen.

        Digits, and at most the currency's decimals; no sign, blank, grouping or exponent.
        Raises InvalidMoney.
        """
        places = exponent(currency)
        match = _MAJOR_TEXT.fullmatch(text)
        if match is None:
            raise InvalidMoney(
                "not an amount", field="amount", remedy="write digits and a point, such as 12.30"
            )
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > places:
            raise InvalidMoney(
                f"{currency} has {places} decimals",
                field="amount",
                remedy=f"give at most {places} digits after the point",
            )
        return cls(int(whole + fraction.ljust(places, "0")), currency)

    def to_major(self) -> str:
        """The amount as text with exactly the currency's decimals: 1230 fen is ``"12.30"``."""
        places = exponent(self.currency)
        return f"{Decimal(self.minor).scaleb(-places):.{places}f}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same_currency(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same_currency(other), self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same_currency(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __str__(self) -> str:
        return f"{self.to_major()} {self.currency}"

    def _same_currency(self, other: "Money") -> int:
        if self.currency != other.currency:
            raise InvalidMoney(
                f"{self.currency} and {other.currency} do not mix",
                field="currency",
                remedy="convert at a known rate first",
            )
        return other.minor
