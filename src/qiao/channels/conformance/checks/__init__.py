"""The promises, one file for each kind. Importing this package registers all of them."""

from qiao.channels.conformance.checks import (
    amounts,
    answers,
    declared,
    failures,
    garbage,
    notifications,
    numbers,
    sending,
    silence,
    statements,
)

__all__ = [
    "amounts",
    "answers",
    "declared",
    "failures",
    "garbage",
    "notifications",
    "numbers",
    "sending",
    "silence",
    "statements",
]
