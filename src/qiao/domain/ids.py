"""Ids: a prefix that names the kind, and a UUIDv7 (RFC 9562) in Crockford's base 32.

``pay_01K3…`` sorts by the time it was made and is safe in every channel's order number field
once :func:`order_number` has made it one.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from qiao.domain.errors import InvalidId

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_BODY: Final = re.compile(r"[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}", re.ASCII)
RANDOM_BYTES: Final = 10
"""How many random bytes one id takes."""


class IdKind(StrEnum):
    """The prefix of each kind of id."""

    ORGANISATION = "org"
    MERCHANT = "mer"
    APP = "app"
    API_KEY = "key"
    CHANNEL_ACCOUNT = "acc"
    PAYMENT = "pay"
    ATTEMPT = "att"
    REFUND = "ref"
    CAPTURE = "cap"
    TRANSFER = "tra"
    TRANSFER_BATCH = "tba"
    PROFIT_SHARE = "shr"
    SHARE_RETURN = "sre"
    SHARE_RECEIVER = "rcv"
    AGREEMENT = "agr"
    SUBSCRIPTION = "sub"
    DISPUTE = "dsp"
    EVENT = "evt"
    JOB = "job"
    WEBHOOK_ENDPOINT = "whe"
    LIMIT = "lim"


def new_id(kind: IdKind, *, now: datetime, random: bytes) -> str:
    """A new id of ``kind`` from a time (aware) and ten random bytes: both are handed in."""
    if len(random) != RANDOM_BYTES:
        message = f"an id takes {RANDOM_BYTES} random bytes"
        raise ValueError(message)
    milliseconds = int(now.timestamp() * 1000)
    entropy = int.from_bytes(random)
    value = (
        (milliseconds & (1 << 48) - 1) << 80
        | 0x7 << 76
        | (entropy >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | entropy & (1 << 62) - 1
    )
    return f"{kind}_{_encode(value)}"


def made_at(text: str) -> datetime:
    """When an id was made, UTC, to the millisecond; ``text`` has passed :func:`parse_id`."""
    value = 0
    for letter in text.partition("_")[2]:
        value = value << 5 | _ALPHABET.index(letter)
    return datetime.fromtimestamp((value >> 80) / 1000, UTC)


def first_id(kind: IdKind, at: datetime) -> str:
    """What every id of ``kind`` that is made from then on sorts behind, and no earlier one: the ten
    letters of its milliseconds. ``at`` is aware and a whole second, of which there is no rounding.
    """
    milliseconds = int(at.timestamp() * 1000)
    return f"{kind}_{_encode(milliseconds << 80)[:10]}"


def parse_id(kind: IdKind, text: str, *, field: str = "id") -> str:
    """``text`` if it is an id of ``kind``; raises InvalidId naming ``field`` otherwise."""
    prefix, _, body = text.partition("_")
    if prefix != kind or not _BODY.fullmatch(body):
        raise InvalidId(
            f"not the id of a {kind.name.lower().replace('_', ' ')}",
            field=field,
            remedy=f"give the whole id, which begins with {kind}_",
        )
    return text


def order_number(attempt_id: str) -> str:
    """The number under which a channel knows an attempt or a refund.

    29 characters of ``[0-9a-z]``: every channel's order number field takes it (WeChat Pay's,
    the narrowest, takes 6–32 characters).
    """
    return attempt_id.replace("_", "")


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
