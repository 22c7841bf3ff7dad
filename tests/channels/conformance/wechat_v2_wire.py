"""API v2's XML by hand, and its signatures with ``hashlib`` and ``hmac`` directly."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Fields = dict[str, str]


def xml(fields: Mapping[str, str], root: str = "xml") -> bytes:
    """Texts in CDATA and numbers bare, as WeChat Pay writes them."""
    inner = "".join(
        f"<{name}>{text if text.isdigit() else f'<![CDATA[{text}]]>'}</{name}>\n"
        for name, text in fields.items()
    )
    return f"<{root}>{inner}</{root}>".encode()


def digest(fields: Mapping[str, str], key: str, sign_type: str) -> str:
    given = sorted((name, text) for name, text in fields.items() if text and name != "sign")
    content = "&".join([*(f"{name}={text}" for name, text in given), f"key={key}"]).encode()
    if sign_type == "MD5":
        return hashlib.md5(content).hexdigest().upper()
    return hmac.new(key.encode(), content, hashlib.sha256).hexdigest().upper()


def sealed(plain: bytes, key: str) -> str:
    """AES-256-ECB with PKCS#7 under the MD5 of the key, as lower-case hex."""
    secret = hashlib.md5(key.encode()).hexdigest().encode()
    missing = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([missing]) * missing)).decode()
