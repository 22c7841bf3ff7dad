"""Take secrets and personal data out of whatever is logged: by the name of a field, and by look.

What is taken out by look: PEM blocks and bare keys, API keys, webhook secrets, Authorization,
passwords in URLs, cashier tokens; card numbers (runs of 12 to 19 digits that satisfy Luhn's check,
ISO/IEC 7812-1), payment codes, payers' ids, phone and identity numbers, e-mail addresses. Names of
people have no look: fields that hold them are known by their own names, and the text of an error
that is not ours is not logged at all.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

MASK: Final = "[redacted]"
MAX_DEPTH: Final = 6

SECRET_WORDS: Final = (
    "authorization", "api_key", "apikey", "secret", "token", "password", "passwd", "cookie",
    "private_key", "privatekey", "seal_key", "signature", "sign", "credential", "credentials",
)  # fmt: skip
PERSONAL_WORDS: Final = (
    "name", "payer", "payer_id", "payer_name", "openid", "open_id", "buyer_id", "buyer_open_id",
    "buyer_logon_id", "user_id", "phone", "mobile", "telephone", "email", "id_card", "id_number",
    "auth_code", "pan", "card", "card_no", "card_number", "cvv", "cvn", "cvv2", "client_ip",
    "address", "customer", "body",
)  # fmt: skip
_ENDINGS: Final = ("_secret", "_token", "_password", "_private_key", "_api_key", "_name", "_phone")
_FIELD = re.compile(r"[^a-z0-9]+")
_WORDS = "|".join(
    sorted(
        (re.escape(w).replace("_", "[-_ ]?") for w in (*SECRET_WORDS, *PERSONAL_WORDS)),
        key=len,
        reverse=True,
    )
)

_RULES: Final = tuple(
    (re.compile(pattern, flags), put)
    for pattern, flags, put in (
        (r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL, MASK),
        (r"(?<![A-Za-z0-9+/])MI[IGHE][A-Za-z0-9+/]{40,}={0,2}", 0, MASK),
        (r"(?<![A-Za-z0-9])[srp]k_(?:test|live)_[A-Za-z0-9_\-]+", 0, MASK),
        (r"(?<![A-Za-z0-9])whsec_[A-Za-z0-9+/=_\-]+", 0, MASK),
        (r"(authorization[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE, rf"\1{MASK}"),
        (r"(bearer|basic|WECHATPAY2-[A-Z0-9\-]+)\s+[^\s\"',;]{8,}", re.IGNORECASE,
         rf"\1 {MASK}"),
        (r"(://[^/\s:@]*:)[^/\s@]+@", 0, rf"\1{MASK}@"),
        (r"(/cashier/[^/\s]+/[^/\s]+/)[^/\s?\"']+", 0, rf"\1{MASK}"),
        (rf"(?<![a-z])((?:{_WORDS})[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s\"',;&}})\]]+)",
         re.IGNORECASE, rf"\1{MASK}"),
        (r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+", 0, MASK),
        (r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
         r"[0-9]{3}[0-9Xx](?![0-9])", 0, MASK),
        (r"(?<![0-9])(?:1[0-5][0-9]{16}|(?:2[5-9]|30)[0-9]{14,22}|91[0-9]{16})(?![0-9])", 0, MASK),
        (r"(?<![0-9])2088[0-9]{12}(?![0-9])", 0, MASK),
        (r"(?<![0-9A-Za-z_\-])o[0-9A-Za-z_\-]{27}(?![0-9A-Za-z_\-])", 0, MASK),
        (r"(?<![0-9])(?:\+?86[\- ]?)?1[3-9][0-9](?:[0-9]{8}|[\- ][0-9]{4}[\- ][0-9]{4})(?![0-9])",
         0, MASK),
        (r"\+[1-9](?:[ \-]?[0-9]){7,14}(?![0-9])", 0, MASK),
    )
)  # fmt: skip
_DIGITS: Final = re.compile(r"[0-9]+(?:[ \-][0-9]+)*")
_SOMETHING: Final = re.compile(
    r"[0-9]{7}|[0-9][ \-][0-9]|[=:@]|-----|/cashier/|MI[IGHE]|o[0-9A-Za-z_\-]{27}"
    r"|k_(?:test|live)_|whsec_|(?i:bearer|basic|wechatpay)"
)
"""Most texts hold nothing that any rule could match, and are let through by one look."""
PAN_LENGTHS: Final = range(12, 20)
MAX_PLAIN_INTEGER: Final = 999_999
"""No rule matches so few digits."""


def redact_text(text: str) -> str:
    """``text`` without what looks like a secret or like somebody's data."""
    if not _SOMETHING.search(text):
        return text
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return _DIGITS.sub(_without_cards, text)


def redact(value: Any, *, depth: int = 0) -> Any:
    """``value`` as it may be logged: plain data, its texts redacted, its secret fields masked."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        if 0 <= value <= MAX_PLAIN_INTEGER:
            return value
        text = str(value)
        shown = redact_text(text)
        return value if shown == text else shown
    if depth > MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        fields = {}
        for name, member in value.items():
            field, secret = redact_field(str(name))
            fields[field] = MASK if secret else redact(member, depth=depth + 1)
        return fields
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(member, depth=depth + 1) for member in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, BaseException):
        return type(value).__name__
    return redact_text(str(value))


@lru_cache(maxsize=1024)
def redact_field(name: str) -> tuple[str, bool]:
    """A field's name as it may be logged, and whether what stands under it is never to be shown.

    Held, because a program logs under a few names, again and again.
    """
    word = _FIELD.sub("_", name.lower()).strip("_")
    secret = word in SECRET_WORDS or word in PERSONAL_WORDS or word.endswith(_ENDINGS)
    return redact_text(name), secret


def _without_cards(match: re.Match[str]) -> str:
    """A run of digits in groups; consecutive whole groups that make up a card number are masked."""
    parts = re.split(r"([ \-])", match[0])
    groups, marks = parts[::2], parts[1::2]
    hidden = [False] * len(groups)
    for first in range(len(groups)):
        digits = ""
        for last in range(first, len(groups)):
            digits += groups[last]
            if len(digits) >= PAN_LENGTHS.stop:
                break
            if len(digits) in PAN_LENGTHS and _luhn(digits):
                hidden[first : last + 1] = [True] * (last + 1 - first)
    if not any(hidden):
        return match[0]
    shown = [MASK if hide else group for hide, group in zip(hidden, groups, strict=True)]
    return "".join(a + b for a, b in zip(shown, [*marks, ""], strict=True))


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
