"""Toy's signature: HMAC-SHA256 over time, nonce and message, under the account's key."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from qiao.channels.requests import Context
from qiao.crypto.keyed_digest import KeyedDigest, keyed_digest, same_digest

WINDOW_SECONDS: Final = 300
"""How far the time of a signature may be from ours."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


def sign(key: str, time: str, nonce: str, message: str) -> str:
    """The signature of ``message``, upper-case hex."""
    return keyed_digest(KeyedDigest.HMAC_SHA256, key, f"{time}\n{nonce}\n{message}\n&key={key}")


def signed_headers(key: str, message: str, context: Context) -> dict[str, str]:
    """The three headers that prove who sent ``message``."""
    time, nonce = str(int(context.now().timestamp())), context.nonce()
    return {
        "x-toy-time": time,
        "x-toy-nonce": nonce,
        "x-toy-signature": sign(key, time, nonce, message),
    }


def signed_by(key: str, headers: Mapping[str, str], message: str) -> bool:
    """Whether ``message`` carries the key owner's signature, under the account's algorithm."""
    time, nonce = headers.get("x-toy-time", ""), headers.get("x-toy-nonce", "")
    return same_digest(sign(key, time, nonce, message), headers.get("x-toy-signature", ""))


def in_time(headers: Mapping[str, str], now: datetime) -> bool:
    """Whether the signed time is near ``now``."""
    time = headers.get("x-toy-time", "")
    if not _SECONDS.fullmatch(time):
        return False
    return abs(int(time) - int(now.timestamp())) <= WINDOW_SECONDS
