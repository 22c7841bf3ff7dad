"""Drives wechatpayv3 (PyPI), the SDK of WeChat Pay API v3 that Python shops use most.

Its gateway is a constant, and in certificate mode its constructor asks the gateway already, so the
class is told where to go.
"""

import base64
import time
from types import SimpleNamespace
from typing import Any

from wechatpayv3 import SignType, WeChatPay, WeChatPayType, utils  # type: ignore[import-not-found]
from wechatpayv3.core import Core  # type: ignore[import-not-found]

_clients: dict[str, Any] = {}


def open_client(
    gateway: str, keys: dict[str, Any], public_key: dict[str, str] | None = None
) -> None:
    """``public_key`` is set in public-key mode; otherwise certificates are downloaded at once."""
    Core._gate_way = property(lambda _: gateway, lambda _, value: None)
    _clients["it"] = WeChatPay(wechatpay_type=WeChatPayType.NATIVE, **keys, **(public_key or {}))


def call(method: str, **arguments: Any) -> dict[str, Any]:
    """One call of the API: HTTP status and body, bytes as base64."""
    if "pay_type" in arguments:
        arguments["pay_type"] = WeChatPayType[arguments["pay_type"]]
    status, body = getattr(_clients["it"], method)(**arguments)
    text = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return {"status": status, "body": text}


def callback(headers: dict[str, str], body: str) -> Any:
    """A notification, verified and decrypted; None when the SDK does not believe it."""
    return _clients["it"].callback(headers, body)


def sign(lines: list[str]) -> str:
    """What a page or an app is handed to start a payment."""
    signature: str = _clients["it"].sign(lines, SignType.RSA_SHA256)
    return signature


def authorization(
    method: str, target: str, body: str, nonce: str, timestamp: int, keys: dict[str, Any]
) -> str:
    """The header under which the SDK would send this very request at that moment."""
    utils.time = SimpleNamespace(time=lambda: timestamp)
    try:
        header: str = utils.build_authorization(
            target,
            method,
            keys["mchid"],
            keys["cert_serial_no"],
            utils.load_private_key(keys["private_key"]),
            data=body,
            nonce_str=nonce,
        )
    finally:
        utils.time = time
    return header


def decrypt(ciphertext: str, private_key: str) -> str:
    """A sensitive field."""
    plain: str = utils.rsa_decrypt(ciphertext, utils.load_private_key(private_key))
    return plain
