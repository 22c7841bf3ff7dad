"""Money: exact, bounded, never a float."""

import pytest
from babel.numbers import get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.errors import InvalidMoney
from qiao.domain.money import MAX_MINOR, Money, currencies, exponent

CURRENCIES = st.sampled_from(sorted(currencies()))
MINOR = st.integers(0, MAX_MINOR)


@given(MINOR, CURRENCIES)
def test_major_text_goes_both_ways(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.from_major(money.to_major(), currency) == money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0.01", "CNY", 1),
        ("12.3", "CNY", 1230),
        ("12", "CNY", 1200),
        ("100000000", "CNY", 10_000_000_000),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
    ],
)
def test_major_text_is_read(text: str, currency: str, minor: int) -> None:
    assert Money.from_major(text, currency).minor == minor


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "-1", "1.", ".5", "1e3", "1,000.00", "01.00", "1.001", "１２", "NaN"],
)
def test_what_is_no_yuan_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidMoney) as error:
        Money.from_major(text, "CNY")
    assert error.value.field == "amount"


@given(st.text())
def test_any_text_is_money_or_a_clear_refusal(text: str) -> None:
    try:
        money = Money.from_major(text, "CNY")
    except InvalidMoney as error:
        assert error.remedy
    else:
        assert Money.from_major(money.to_major(), "CNY") == money


@pytest.mark.parametrize("minor", [1.0, True, "1", None, -1, MAX_MINOR + 1])
def test_what_is_no_minor_amount_is_refused(minor: object) -> None:
    with pytest.raises(InvalidMoney):
        Money(minor, "CNY")  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", ["cny", "RMB", "", "XXX", None, 156])
def test_an_unknown_currency_is_refused(currency: object) -> None:
    with pytest.raises(InvalidMoney) as error:
        Money(1, currency)  # type: ignore[arg-type]
    assert error.value.field == "currency"


def test_two_currencies_do_not_mix() -> None:
    for operation in (Money.__add__, Money.__sub__, Money.__lt__):
        with pytest.raises(InvalidMoney):
            operation(Money(1, "CNY"), Money(1, "USD"))


def test_a_difference_below_zero_is_refused() -> None:
    assert Money(3, "CNY") - Money(2, "CNY") == Money(1, "CNY")
    with pytest.raises(InvalidMoney):
        Money(2, "CNY") - Money(3, "CNY")


def test_exponents_are_those_of_iso_4217() -> None:
    # CLDR's cash-free digits follow ISO 4217 but for the currencies below, where it gives what
    # people use and not what the standard says.
    by_use = {"IDR", "IQD", "LKR", "MMK", "MNT", "TZS", "UZS", "PKR", "KHR", "HUF", "TWD"}
    for currency in currencies() - by_use:
        assert exponent(currency) == get_currency_precision(currency), currency
