"""The texts that are signed: requests, answers and notifications, and a wallet's parameters.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012365342 (签名) and facts of WeChat Pay API v3.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from qiao.channels.wechat.account import Account
from qiao.crypto import rsa
from qiao.crypto.rsa import RsaHash

ALGORITHM: Final = "WECHATPAY2-SHA256-RSA2048"
MAX_SKEW_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}", re.ASCII)


def lines(*parts: str) -> bytes:
    """Each part on a line of its own, the last one ended like the others."""
    return "".join(f"{part}\n" for part in parts).encode()


def signature(account: Account, *parts: str) -> str:
    """The merchant's signature over :func:`lines`, base64."""
    return rsa.sign(account.private_key, lines(*parts), RsaHash.SHA256)


def authorization(
    account: Account, *, method: str, target: str, body: str, now: datetime, nonce: str
) -> str:
    """The ``Authorization`` header; ``target`` is path and query exactly as sent."""
    timestamp = str(int(now.timestamp()))
    sign = signature(account, method, target, timestamp, nonce, body)
    return (
        f'{ALGORITHM} mchid="{account.settings.mchid}",nonce_str="{nonce}",'
        f'timestamp="{timestamp}",serial_no="{account.certificate_serial}",signature="{sign}"'
    )


def forgery(account: Account, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    """Why these are not WeChat Pay's own bytes of the last five minutes; None when they are.

    The key is the one that ``Wechatpay-Serial`` names, and no other. A probe (a signature that
    begins with ``WECHATPAY/SIGNTEST/``) is simply one that does not verify, as WeChat Pay wants.
    """
    sign = headers.get("wechatpay-signature", "")
    if not sign:
        return "it carries no signature"
    if headers.get("wechatpay-signature-type", ALGORITHM) != ALGORITHM:
        return f"it is signed with another algorithm than {ALGORITHM}"
    timestamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
    if not _TIMESTAMP.fullmatch(timestamp):
        return "it carries no time of its signature"
    if abs(int(now.timestamp()) - int(timestamp)) > MAX_SKEW_SECONDS:
        return f"it was signed more than {MAX_SKEW_SECONDS} seconds from now: check the clock"
    key = account.platform_key(headers.get("wechatpay-serial", ""), now)
    if key is None:
        return (
            "it is signed with a platform key that is not configured, or whose certificate is not "
            "valid now: set platform_public_keys, or download the platform certificates again"
        )
    signed = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
    if not rsa.verifies(key, signed, sign, RsaHash.SHA256):
        return "its signature does not verify"
    return None
