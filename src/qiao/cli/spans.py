"""Spans of time as commands are given them: 30m, 24h, 90d."""

import re
from datetime import timedelta
from typing import Final

from qiao.domain.errors import InvalidInput

SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_span(text: str, *, field: str) -> timedelta:
    """Raises InvalidInput."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise InvalidInput(
            "not a span of time",
            field=field,
            remedy="write a whole number and its unit: 30m, 24h or 90d",
        )
    return timedelta(**{UNITS[found[2]]: int(found[1])})
