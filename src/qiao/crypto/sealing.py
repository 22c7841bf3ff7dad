"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256), several keys at once for rotation."""

import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SealBroken(Exception):
    """What was sealed was changed, or none of the keys sealed it."""


class Seal:
    """Seals with the first key and opens with any; a key is Fernet's, 32 bytes in base64url."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    @staticmethod
    def new_key() -> str:
        return Fernet.generate_key().decode()

    @staticmethod
    def fingerprint(key: str) -> str:
        """Tells keys apart and gives nothing away: a key is 256 random bits."""
        return hashlib.sha256(b"qiao seal key\0" + key.encode()).hexdigest()[:16]

    def close(self, plain: bytes) -> bytes:
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """Raises SealBroken."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise SealBroken("it was sealed with another key, or changed") from None
