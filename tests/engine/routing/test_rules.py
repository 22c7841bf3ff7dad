"""Rules as they are written: what a cell means, and errors that name row and column."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.engine.routing.rules import CompiledRules, Rules, read_rules
from tests.engine.routing.conftest import wanted

SHANGHAI = ZoneInfo("Asia/Shanghai")
METADATA = {"shop": "north", "table": "12"}


def holds(column: str, cell: Any) -> bool:
    """Of 10.00 by QR in a shop in the north, on a Wednesday at half past eight in the evening."""
    rules = CompiledRules(read_rules({"rows": [{"accounts": ["a"], "when": {column: cell}}]}))
    asked = wanted(1000, metadata=METADATA, device="mobile", code_prefix="28")
    return rules.rows[0].mismatch(asked.inputs(SHANGHAI)) is None


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("amount", 1000, True),
        ("amount", "> 999", True),
        ("amount", "[1..1000)", False),
        ("amount", [500, 1000], True),
        ("amount", "", True),
        ("currency", "CNY", True),
        ("currency", ["USD", "EUR"], False),
        ("product", "qr", True),
        ("product", "!= 'qr'", False),
        ("requested", "bank", True),
        ("hour", 20, True),
        ("hour", "[9..17]", False),
        ("hour", "[22..24], [0..6)", False),
        ("weekday", ["sat", "sun"], False),
        ("weekday", "wed", True),
        ("date", "2026-11-11", True),
        ("device", "mobile", True),
        ("code_prefix", ["25", "28"], True),
        ("metadata.shop", "north", True),
        ("metadata.shop", "startsWith($, 'no')", True),
        ("metadata.floor", "north", False),
        ("metadata.floor", "null", True),
        ("country", "CN", False),
        ("country", "null", True),
        ("amount", "> 500 and currency == 'CNY'", True),
        ("amount", "> 500 and country == 'CN'", False),
        ("amount", "contains(country, 'C')", False),  # it fails, for that is not known
    ],
)
def test_cells(column: str, cell: Any, expected: bool) -> None:
    assert holds(column, cell) is expected


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"when": {"amount": ">"}}, "rows[1].when.amount", "row 2 (late), column amount: "),
        ({"when": {"amount": "large"}}, "rows[1].when.amount", "'large' is no column"),
        ({"when": {"amount": ["a"]}}, "rows[1].when.amount", "not a list of whole numbers"),
        ({"when": {"product": "> 5"}}, "rows[1].when.product", "cannot be asked of a text"),
        ({"when": {"currency": 5}}, "rows[1].when.currency", "column holds texts"),
        ({"when": {"colour": "red"}}, "rows[1].when.colour", "there is no such column"),
        ({"when": {"metadata.": "x"}}, "rows[1].when.metadata.", "there is no such column"),
        ({"when": {"device": ["it's"]}}, "rows[1].when.device", "neither ' nor a backslash"),
        ({"when": {"amount": "(" * 30}}, "rows[1].when.amount", "more than 20 brackets"),
        ({"weights": [1]}, "rows[1].weights", "column weights"),
        ({"weights": [0, 0]}, "rows[1].weights", "column weights"),
        ({"accounts": ["a", "a"]}, "rows[1].accounts", "stands there twice"),
        ({"accounts": []}, "rows[1].accounts", "length >= 1"),
        ({"strategy": "best"}, "rows[1].strategy", "Invalid enum value"),
        ({"wenn": {}}, "rows[1]", "unknown field `wenn`"),
    ],
)
def test_errors_name_row_and_column(row: dict[str, Any], field: str, says: str) -> None:
    good = {"accounts": ["a"]}
    bad = {"accounts": ["a", "b"], "name": "late", **row}
    with pytest.raises(InvalidInput) as refused:
        read_rules({"rows": [good, bad]})
    assert refused.value.field == field
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"time_zone": "Asia/Nowhere"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"inherit": True, "rows": [{"accounts": ["a"]}]}, "inherit"),
        ({"fees": [{"account": "a", "min": 5, "max": 4}]}, "fees[0]"),
        ({"fees": [{"account": "a"}, {"account": "a"}]}, "fees[1]"),
        ({"attempts": 6}, "attempts"),
        ({"breaker": {"failure_percent": 0}}, "breaker.failure_percent"),
        ([], "rules"),
    ],
)
def test_settings_are_checked(given: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_rules(given)
    assert refused.value.field == field


@given(st.text(max_size=40), st.sampled_from(["amount", "product", "metadata.x", "hour"]))
def test_any_text_is_read_or_refused(cell: str, column: str) -> None:
    """And what was read gives an answer to every payment."""
    try:
        rules = CompiledRules(read_rules({"rows": [{"accounts": ["a"], "when": {column: cell}}]}))
    except InvalidInput as error:
        assert error.field.startswith("rows[0]")
        assert "backtrace" not in str(error)
        return
    rules.rows[0].mismatch(wanted(metadata={"x": "5"}).inputs(SHANGHAI))


@pytest.mark.parametrize(
    ("fee", "amount", "expected"),
    [
        (Fee(basis_points=60), 1000, 6),
        (Fee(basis_points=38), 1000, 4),  # 3.8
        (Fee(basis_points=50), 100, 1),  # 0.5: half up
        (Fee(basis_points=49), 100, 0),
        (Fee(basis_points=60, fixed_minor=30), 1000, 36),
        (Fee(basis_points=60, min_minor=10), 1000, 10),
        (Fee(basis_points=60, max_minor=5), 1000, 5),
        (Fee(), 1000, 0),
        (Fee(basis_points=10_000), 2**53 - 1, 2**53 - 1),
    ],
)
def test_fees_are_whole_numbers(fee: Fee, amount: int, expected: int) -> None:
    assert fee.of(amount) == expected


@given(st.integers(0, 2**53 - 1), st.integers(0, 10_000))
def test_a_share_is_rounded_to_the_nearest(amount: int, points: int) -> None:
    fee = Fee(basis_points=points).of(amount)
    assert abs(fee * 10_000 - amount * points) <= 5000


def test_the_empty_set_is_todays_order() -> None:
    assert read_rules({}) == Rules()
    assert Rules().strategy == "priority"
