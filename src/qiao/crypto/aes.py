"""AES as the channels use it: GCM (WeChat Pay v3), CBC (Alipay content), ECB (WeChat Pay v2)."""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

_BLOCK_BITS: Final = 128
_GCM_NONCE_BYTES: Final = 12
_ZERO_IV: Final = bytes(16)


class DecryptionFailed(ValueError):
    """Not a ciphertext of this key, or changed on the way."""


def encrypt_gcm(key: bytes, plaintext: bytes, *, nonce: bytes, associated_data: bytes) -> str:
    """AEAD_AES_256_GCM (RFC 5116): base64 of the ciphertext with its 16-byte tag behind."""
    return base64.b64encode(AESGCM(key).encrypt(nonce, plaintext, associated_data)).decode("ascii")


def decrypt_gcm(key: bytes, ciphertext: str, *, nonce: bytes, associated_data: bytes) -> bytes:
    """What :func:`encrypt_gcm` made; raises DecryptionFailed for anything else."""
    if len(nonce) != _GCM_NONCE_BYTES:
        raise DecryptionFailed(f"the nonce is not of {_GCM_NONCE_BYTES} bytes")
    try:
        return AESGCM(key).decrypt(nonce, _from_base64(ciphertext), associated_data)
    except InvalidTag:
        raise DecryptionFailed("the tag does not verify") from None


def encrypt_cbc(key: bytes, plaintext: bytes) -> str:
    """Alipay's content encryption: CBC under a zero IV, PKCS#7 padding, base64."""
    return _encrypt(key, modes.CBC(_ZERO_IV), plaintext)


def decrypt_cbc(key: bytes, ciphertext: str) -> bytes:
    """What :func:`encrypt_cbc` made; raises DecryptionFailed for anything else."""
    return _decrypt(key, modes.CBC(_ZERO_IV), ciphertext)


def encrypt_ecb(key: bytes, plaintext: bytes) -> str:
    """The ``req_info`` of a WeChat Pay v2 refund notification: ECB, PKCS#7 padding, base64."""
    return _encrypt(key, modes.ECB(), plaintext)  # noqa: S305 - the protocol's choice


def decrypt_ecb(key: bytes, ciphertext: str) -> bytes:
    """What :func:`encrypt_ecb` made, its base64 padding optional; raises DecryptionFailed."""
    return _decrypt(key, modes.ECB(), ciphertext)  # noqa: S305 - the protocol's choice


def _encrypt(key: bytes, mode: modes.CBC | modes.ECB, plaintext: bytes) -> str:
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(key), mode).encryptor()
    padded = padder.update(plaintext) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode("ascii")


def _decrypt(key: bytes, mode: modes.CBC | modes.ECB, ciphertext: str) -> bytes:
    decryptor = Cipher(algorithms.AES(key), mode).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    try:
        padded = decryptor.update(_from_base64(ciphertext)) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise DecryptionFailed("wrong length or padding") from error


def _from_base64(text: str) -> bytes:
    """Base64 whose ``=`` may have been left out (some real WeChat Pay v2 messages do so)."""
    bare = text.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise DecryptionFailed("not base64") from None
