"""Signatures by a shared key: MD5 over text and key (WeChat Pay v2), and HMAC-SHA256."""

import hashlib
import hmac
from enum import StrEnum


class KeyedDigest(StrEnum):
    """How a shared key signs; an account's settings choose it, never a message."""

    MD5 = "MD5"
    HMAC_SHA256 = "HMAC-SHA256"


def keyed_digest(algorithm: KeyedDigest, key: str, text: str) -> str:
    """Upper-case hex of the digest of ``text``, which already ends in ``&key=…``.

    MD5 takes the key from the text alone; HMAC-SHA256 is keyed with it besides.
    """
    match algorithm:
        case KeyedDigest.MD5:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
        case KeyedDigest.HMAC_SHA256:
            return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def same_digest(expected: str, given: str) -> bool:
    """Whether two digests are equal, in time that does not tell where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode())


def hmac_sha256(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) over bytes."""
    return hmac.digest(key, content, "sha256")
