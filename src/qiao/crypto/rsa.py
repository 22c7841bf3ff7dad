"""RSA as the channels use it: RSASSA-PKCS1-v1_5 signatures and RSAES-OAEP (RFC 8017).

A key is loaded once for each account (a private key takes tens of milliseconds) and kept.
"""

import base64
import binascii
import re
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from qiao.crypto.certificates import Certificate
from qiao.domain.errors import InvalidSettings

MIN_BITS: Final = 1024
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


class RsaHash(StrEnum):
    """The hash under a PKCS#1 v1.5 signature; an account's settings choose it, never a message."""

    SHA256 = "sha256"
    SHA1 = "sha1"


_HASHES: Final[dict[RsaHash, hashes.HashAlgorithm]] = {
    RsaHash.SHA256: hashes.SHA256(),
    RsaHash.SHA1: hashes.SHA1(),  # noqa: S303 - Alipay accounts set to RSA, and nothing else
}
_OAEP_SHA1: Final = padding.OAEP(
    mgf=padding.MGF1(hashes.SHA1()),  # noqa: S303 - the OAEP parameters of WeChat Pay API v3
    algorithm=hashes.SHA1(),  # noqa: S303
    label=None,
)


def load_private_key(text: str, *, field: str = "private_key") -> RSAPrivateKey:
    """Read an RSA private key: PEM, or the bare base64 body that merchants' tools print.

    PKCS#1 and PKCS#8 are told apart by their content. Raises InvalidSettings naming ``field``.
    """
    label = _label(text)
    if label is not None and "PRIVATE KEY" not in label:
        raise InvalidSettings(
            f"this is a {label.lower()}",
            field=field,
            remedy="give the private key that was made together with it",
        )
    if label is not None and "ENCRYPTED" in label:
        raise InvalidSettings(
            "the key is protected by a password", field=field, remedy="give it without a password"
        )
    try:
        key = serialization.load_der_private_key(_der(text), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidSettings(
            "not an RSA private key",
            field=field,
            remedy="give the key as PEM or as its base64 body, PKCS#1 or PKCS#8, complete",
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidSettings("not an RSA key", field=field, remedy="give an RSA key")
    return key


def load_public_key(text: str, *, field: str = "public_key") -> RSAPublicKey:
    """Read an RSA public key from PEM or base64 (PKCS#1 or X.509), or out of a certificate.

    Raises InvalidSettings naming ``field``.
    """
    label = _label(text)
    if label == "CERTIFICATE":
        return Certificate.from_pem(text, field=field).public_key
    if label is not None and "PUBLIC KEY" not in label:
        raise InvalidSettings(
            f"this is a {label.lower()}",
            field=field,
            remedy="give the public key of the other side",
        )
    try:
        key = serialization.load_der_public_key(_der(text))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidSettings(
            "not an RSA public key",
            field=field,
            remedy="give the key as PEM or as its base64 body, complete",
        ) from None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
        raise InvalidSettings(
            f"not an RSA key of {MIN_BITS} bits or more", field=field, remedy="give an RSA key"
        )
    return key


def sign(key: RSAPrivateKey, message: bytes, hash_: RsaHash) -> str:
    """The base64 signature of ``message``."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), _HASHES[hash_])).decode("ascii")


def verifies(key: RSAPublicKey, message: bytes, signature: str, hash_: RsaHash) -> bool:
    """Whether the base64 ``signature`` is the key owner's over ``message``; never raises."""
    try:
        raw = base64.b64decode(signature, validate=True)
        key.verify(raw, message, padding.PKCS1v15(), _HASHES[hash_])
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def encrypt_oaep(key: RSAPublicKey, text: str) -> str:
    """``text`` for the key's owner alone: OAEP with SHA-1, base64 (WeChat Pay's names and phones).

    Raises ValueError when the text is too long for the key.
    """
    return base64.b64encode(key.encrypt(text.encode(), _OAEP_SHA1)).decode("ascii")


def decrypt_oaep(key: RSAPrivateKey, ciphertext: str) -> str:
    """What :func:`encrypt_oaep` made; raises ValueError for anything else."""
    return key.decrypt(base64.b64decode(ciphertext, validate=True), _OAEP_SHA1).decode()


def _label(text: str) -> str | None:
    match = _PEM.search(text)
    return match[1] if match else None


def _der(text: str) -> bytes:
    body = re.sub(r"-----[A-Z0-9 ]+-----", "", text)
    return base64.b64decode(re.sub(r"\s+", "", body), validate=True)
