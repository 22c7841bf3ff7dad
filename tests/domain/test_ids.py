"""Ids: kind and time in one short, sortable, checkable text."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.errors import InvalidId
from qiao.domain.ids import IdKind, made_at, new_id, order_number, parse_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RANDOM = st.binary(min_size=10, max_size=10)


@given(st.sampled_from(IdKind), RANDOM)
def test_an_id_parses_as_its_own_kind_only(kind: IdKind, random: bytes) -> None:
    text = new_id(kind, now=NOON, random=random)
    assert parse_id(kind, text) == text
    for other in set(IdKind) - {kind}:
        with pytest.raises(InvalidId):
            parse_id(other, text)


@given(RANDOM, RANDOM)
def test_ids_sort_by_time(first: bytes, second: bytes) -> None:
    earlier = new_id(IdKind.PAYMENT, now=NOON, random=first)
    later = new_id(IdKind.PAYMENT, now=NOON + timedelta(milliseconds=1), random=second)
    assert earlier < later


@given(RANDOM)
def test_the_body_is_a_uuid_version_7(random: bytes) -> None:
    body = new_id(IdKind.PAYMENT, now=NOON, random=random).partition("_")[2]
    value = 0
    for letter in body:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(letter)
    uuid = UUID(int=value)
    assert uuid.version == 7
    assert uuid.variant == "specified in RFC 4122"
    assert value >> 80 == int(NOON.timestamp() * 1000)


@pytest.mark.parametrize("random", [b"", b"9 bytes!!", b"11 bytes!!!"])
def test_an_id_takes_ten_random_bytes(random: bytes) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        new_id(IdKind.PAYMENT, now=NOON, random=random)


@pytest.mark.parametrize("text", ["", "pay", "pay_", "PAY_0", "pay_" + "z" * 26, "ref_" + "0" * 26])
def test_what_is_no_payment_id_is_refused_by_field(text: str) -> None:
    with pytest.raises(InvalidId) as error:
        parse_id(IdKind.PAYMENT, text, field="payment")
    assert error.value.field == "payment"


@given(RANDOM)
def test_an_order_number_fits_every_channel(random: bytes) -> None:
    number = order_number(new_id(IdKind.ATTEMPT, now=NOON, random=random))
    assert 6 <= len(number) <= 32
    assert number.isascii()
    assert number.isalnum()


@given(RANDOM)
def test_an_id_tells_when_it_was_made(random: bytes) -> None:
    moment = NOON.replace(microsecond=123_000)
    assert made_at(new_id(IdKind.EVENT, now=moment, random=random)) == moment
