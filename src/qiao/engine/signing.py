"""With what the requests of an API key are signed: a shared secret, or the merchant's own key."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from qiao.domain.errors import InvalidInput

SECRET_PREFIX: Final = "sig_"  # noqa: S105 - how every secret begins
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192


class SigningAlgorithm(StrEnum):
    """As RFC 9421 names them in its registry of algorithms."""

    HMAC_SHA256 = "hmac-sha256"
    RSA_SHA256 = "rsa-v1_5-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """``material`` is the secret's text in ASCII, or a public key in PEM."""

    algorithm: SigningAlgorithm
    material: bytes = field(repr=False)

    @classmethod
    def new_secret(cls) -> Self:
        """For HMAC: 256 random bits, as text."""
        text = SECRET_PREFIX + secrets.token_urlsafe(32)
        return cls(algorithm=SigningAlgorithm.HMAC_SHA256, material=text.encode())

    @classmethod
    def of_public_key(cls, pem: bytes) -> Self:
        """For RSA. Raises InvalidInput."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, RSAPublicKey) or not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise InvalidInput(
                "not a public key of RSA",
                field="public_key",
                remedy=f"give one in PEM, of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits",
            )
        return cls(algorithm=SigningAlgorithm.RSA_SHA256, material=pem)
