"""WeChat Pay's side of the wire: prove who asks, sign what is said, seal what is told.

Source: facts of WeChat Pay API v3, sections 2 to 4 and 8.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from qiao.crypto.aes import encrypt_gcm
from qiao.crypto.rsa import (
    RsaHash,
    decrypt_oaep,
    encrypt_oaep,
    load_private_key,
    load_public_key,
    sign,
    verifies,
)
from qiao.simulators.wechat.credentials import Credentials, Merchant, PlatformKey

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
TOLERANCE_SECONDS: Final = 300


class Refusal(Exception):
    """WeChat Pay refuses: HTTP status and code as in its documentation."""

    def __init__(self, status: int, code: str, message: str, *, signed: bool = True) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.signed = status, code, message, signed

    def body(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose signature has verified."""

    merchant: Merchant
    body: Mapping[str, Any]
    query: Mapping[str, str]

    @property
    def owner(self) -> str:
        """The merchant number whose orders these are."""
        return self.merchant.sub_mchid or self.merchant.mchid


class Codec:
    """Verifies and signs; keys are loaded once. ``rotate`` makes the next key sign."""

    def __init__(self, credentials: Credentials) -> None:
        self._merchants = {one.mchid: one for one in credentials.merchants.values()}
        self._keys = {
            one.mchid: load_private_key(one.private_key).public_key()
            for one in credentials.merchants.values()
        }
        everything = [*credentials.public_keys, *credentials.certificates]
        self._private = {key.id: load_private_key(key.private_key) for key in everything}
        self._public = {key.id: load_public_key(key.public_key) for key in everything}
        self._credentials = credentials
        self._turn = 0

    def rotate(self) -> None:
        """From now on the next key signs; the others are still known."""
        self._turn += 1

    def platform_key(self, merchant: Merchant) -> PlatformKey:
        """The key that signs for this merchant now."""
        mode = merchant.certificate_mode
        keys = self._credentials.certificates if mode else self._credentials.public_keys
        return keys[self._turn % len(keys)]

    def read(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, str],
        now: datetime,
    ) -> Request:
        """Prove who asks. Raises Refusal."""
        if not headers.get("User-Agent"):
            raise Refusal(403, "FORBIDDEN", "缺少User-Agent", signed=False)
        if "application/json" not in headers.get("Accept", "*/*").replace(
            "*/*", "application/json"
        ):
            raise Refusal(406, "PARAM_ERROR", "Accept须为application/json", signed=False)
        scheme, _, text = headers.get("Authorization", "").partition(" ")
        told = dict(re.findall(r'(\w+)="([^"]*)"', text))
        merchant = self._merchants.get(told.get("mchid", ""))
        if scheme != SCHEME or merchant is None:
            raise Refusal(401, "SIGN_ERROR", "Http头Authorization值格式错误", signed=False)
        if told.get("serial_no", "").upper() != merchant.serial_no:
            raise Refusal(401, "SIGN_ERROR", "商户证书序列号有误", signed=False)
        timestamp = told.get("timestamp", "")
        fresh = timestamp.isdecimal() and abs(int(timestamp) - now.timestamp()) <= TOLERANCE_SECONDS
        if not fresh:
            raise Refusal(401, "SIGN_ERROR", "时间戳已过期", signed=False)
        lines = (
            method,
            target,
            timestamp,
            told.get("nonce_str", ""),
            body.decode("utf-8", "replace"),
        )
        content = "".join(f"{line}\n" for line in lines).encode()
        key = self._keys[merchant.mchid]
        if not verifies(key, content, told.get("signature", ""), RsaHash.SHA256):
            raise Refusal(401, "SIGN_ERROR", "错误的签名，验签失败", signed=False)
        return Request(merchant=merchant, body=_object(body), query=query)

    def headers(
        self, merchant: Merchant, body: bytes, now: datetime, *, wrongly: bool = False
    ) -> dict[str, str]:
        """The five headers under which the bytes go out."""
        key = self.platform_key(merchant)
        timestamp, nonce = str(int(now.timestamp())), secrets.token_hex(16)
        content = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = sign(self._private[key.id], content, RsaHash.SHA256)
        if wrongly:  # the probe by which WeChat Pay finds out who does not verify
            signature = f"WECHATPAY/SIGNTEST/{signature[20:]}"
        return {
            "Request-ID": secrets.token_hex(12).upper(),
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": key.id,
            "Wechatpay-Signature": signature,
            "Wechatpay-Signature-Type": SCHEME,
            "Wechatpay-Timestamp": timestamp,
        }

    def seal(self, merchant: Merchant, plain: bytes, associated: str) -> dict[str, str]:
        """Encrypted for the merchant under its APIv3 key."""
        nonce = secrets.token_hex(6)
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": associated,
            "ciphertext": encrypt_gcm(
                merchant.api_v3_key.encode(),
                plain,
                nonce=nonce.encode(),
                associated_data=associated.encode(),
            ),
        }

    def for_merchant(self, merchant: Merchant, text: str) -> str:
        """A field that only the merchant's own key opens."""
        return encrypt_oaep(self._keys[merchant.mchid], text)

    def unseal(self, announced: str, ciphertext: str) -> str:
        """A field that the merchant encrypted with the platform key that it named."""
        key = self._private.get(announced)
        if key is None:
            raise Refusal(400, "PARAM_ERROR", "Wechatpay-Serial有误")
        try:
            return decrypt_oaep(key, ciphertext)
        except ValueError:
            raise Refusal(400, "PARAM_ERROR", "敏感字段解密失败") from None

    def verifies(self, merchant: Merchant, content: str, signature: str) -> bool:
        """Whether the merchant signed what its customer's wallet was handed."""
        key = self._keys[merchant.mchid]
        return verifies(key, content.encode(), signature, RsaHash.SHA256)

    def certificates(self, merchant: Merchant) -> list[dict[str, Any]]:
        return [
            {
                "serial_no": key.id,
                "effective_time": "2026-01-01T00:00:00+08:00",
                "expire_time": "2031-01-01T00:00:00+08:00",
                "encrypt_certificate": self.seal(
                    merchant, (key.certificate or "").encode(), "certificate"
                ),
            }
            for key in self._credentials.certificates
        ]


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "PARAM_ERROR", "请求体不是JSON对象")
    return found
