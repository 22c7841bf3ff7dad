"""Yuan and fen, both ways, times in GMT+8, and the tables of codes."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.alipay import codes
from qiao.channels.alipay.texts import (
    MAX_MINOR,
    money_from,
    signed_minor_from,
    time_from,
    time_text,
    yuan_text,
)
from qiao.domain.errors import AnswerUnreadable, InvalidMoney
from qiao.domain.money import Money


@given(st.integers(1, MAX_MINOR))
def test_every_amount_goes_out_as_yuan_and_comes_back_as_the_same(minor: int) -> None:
    text = yuan_text(Money(minor, "CNY"))
    assert text == f"{minor // 100}.{minor % 100:02d}"
    assert money_from(text) == Money(minor, "CNY")
    assert signed_minor_from(f"-{text}") == -minor


@given(st.text() | st.text("0123456789.-", max_size=8))
def test_any_text_is_exactly_its_amount_or_unreadable(text: str) -> None:
    try:
        read = money_from(text)
    except AnswerUnreadable:
        return
    assert text.isascii()
    assert Decimal(text) * 100 == read.minor


@pytest.mark.parametrize(
    ("text", "minor"),
    [("0.01", 1), ("12", 1200), ("12.3", 1230), ("100000000.00", MAX_MINOR), ("0.00", 0)],
)
def test_amounts_that_alipay_writes(text: str, minor: int) -> None:
    assert money_from(text) == Money(minor, "CNY")


@pytest.mark.parametrize(
    "text",
    ["", "1.", ".5", "1.005", "01.00", "1,000.00", "+1", "-1", "1e2", "１.００", "NaN", " 1"],
)
def test_what_is_no_amount_is_unreadable(text: str) -> None:
    with pytest.raises(AnswerUnreadable):
        money_from(text)


@pytest.mark.parametrize("amount", [Money(0, "CNY"), Money(MAX_MINOR + 1, "CNY"), Money(1, "JPY")])
def test_what_alipay_does_not_take_is_refused(amount: Money) -> None:
    with pytest.raises(InvalidMoney) as error:
        yuan_text(amount, field="shares")
    assert error.value.field == "shares"


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis wants naive bounds
        max_value=datetime(2999, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
)
def test_every_second_goes_out_in_gmt8_and_comes_back_in_utc(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert time_from(time_text(moment)) == whole
    assert time_from(time_text(moment) + ".123") == whole
    assert time_from(time_text(moment)).tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "2026-01-02", "2026-13-01 00:00:00", "2026-01-02T00:00:00", "0001-01-01 00:00:00"]
)
def test_what_is_no_time_is_unreadable(text: str) -> None:
    with pytest.raises(AnswerUnreadable):
        time_from(text)


OPEN = {
    "ACQ.SYSTEM_ERROR",
    "SYSTEM_ERROR",
    "ACQ.CONTEXT_INCONSISTENT",
    "ACQ.TRADE_BUYER_NOT_MATCH",
    "ACQ.DISCORDANT_REPEAT_REQUEST",
    "ACQ.TRADE_HAS_SUCCESS",
    "PAYMENT_INFO_INCONSISTENCY",
    "ACQ.TRADE_SETTLE_ERROR",
}


def test_no_table_holds_a_code_after_which_money_may_have_moved() -> None:
    for table in (
        codes.PAYMENT_DECLINES,
        codes.REFUND_REFUSALS,
        codes.DOUBTFUL_REFUND_REFUSALS,
        codes.TRANSFER_REFUSALS,
        codes.PROFIT_SHARING_REFUSALS,
    ):
        assert not OPEN & table.keys()


def test_the_two_tables_of_refunds_and_the_paid_codes_do_not_overlap() -> None:
    assert not codes.REFUND_REFUSALS.keys() & codes.DOUBTFUL_REFUND_REFUSALS.keys()
    assert not codes.PAYMENT_DECLINES.keys() & codes.ALREADY_PAID


def test_a_code_that_is_cut_off_stays_one_code() -> None:
    whole = [code for code in codes.PAYMENT_DECLINES if len(code) > 32]
    assert whole
    assert len({code[:32] for code in whole}) == len(whole)
    for code in whole:
        assert codes.PAYMENT_DECLINES[code[:32]] == codes.PAYMENT_DECLINES[code]
