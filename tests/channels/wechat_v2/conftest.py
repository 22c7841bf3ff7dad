"""A merchant on API v2, and what it takes to play the other side to it with plain bytes."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from qiao.channels.requests import Context, PaymentRequest, Product
from qiao.channels.wechat import WechatV2Channel, channel_type
from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.domain.money import Money
from qiao.simulators.wechat.authority import Authority, pem

NOW = datetime(2026, 1, 15, 4, 0, tzinfo=UTC)
API_KEY = "8934e7d15453e97507ef794cf7b0519d"


def private_text(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@cache
def material() -> dict[str, str]:
    """A CA, a certificate of it with its key, and a key that belongs to nothing."""
    authority, key, other = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)
    )
    ca = Authority(authority)
    return {
        "gateway_ca": pem(ca.certificate),
        "certificate": pem(ca.issue("1900000109", key.public_key())),
        "private_key": private_text(key),
        "other_key": private_text(other),
    }


class Counterpart:
    """WeChat Pay, as far as one test needs it."""

    api_key = API_KEY
    now = NOW

    def settings(self, **more: object) -> dict[str, object]:
        made = material()
        return {
            "api_version": "v2",
            "mchid": "1900000109",
            "appid": "wxd930ea5d5a258f4f",
            "api_key": API_KEY,
            "certificate": made["certificate"],
            "private_key": made["private_key"],
            **more,
        }

    @property
    def material(self) -> Mapping[str, str]:
        return material()

    def open(self, **more: object) -> WechatV2Channel:
        channel = channel_type.open(channel_type.settings.read(self.settings(**more)))
        assert isinstance(channel, WechatV2Channel)
        return channel

    def sign(self, fields: Mapping[str, str], sign_type: str = "HMAC-SHA256") -> str:
        parts = [f"{name}={fields[name]}" for name in sorted(fields) if fields[name]]
        content = ("&".join(parts) + f"&key={API_KEY}").encode()
        if sign_type == "MD5":
            return hashlib.md5(content).hexdigest().upper()
        return hmac.new(API_KEY.encode(), content, "sha256").hexdigest().upper()

    def xml(self, fields: Mapping[str, str]) -> bytes:
        inner = "".join(f"<{name}><![CDATA[{text}]]></{name}>" for name, text in fields.items())
        return f"<xml>{inner}</xml>".encode()

    def signed(self, **told: str) -> bytes:
        fields = {
            "return_code": "SUCCESS",
            "appid": "wxd930ea5d5a258f4f",
            "mch_id": "1900000109",
            "nonce_str": "5K8264ILTKCH16CQ",
            **told,
        }
        return self.xml({**fields, "sign": self.sign(fields)})

    def finish(self, operation: Any, *answers: bytes) -> tuple[list[HttpRequest], Any]:
        """The requests of an operation that is answered so, and its outcome."""
        requests, queue = [], list(answers)
        try:
            requests.append(next(operation))
            while True:
                response = HttpResponse(status=200, body=queue.pop(0))
                requests.append(operation.send(response))
        except StopIteration as end:
            assert not queue, "it asked less often than it was answered"
            return requests, end.value


@pytest.fixture
def wechat() -> Counterpart:
    return Counterpart()


@pytest.fixture
def context() -> Context:
    return Context(now=lambda: NOW, nonce=lambda: "5K8264ILTKCH16CQ2502SI8ZNMTM67VS")


@pytest.fixture
def order() -> Callable[..., PaymentRequest]:
    def order(**more: Any) -> PaymentRequest:
        asked: dict[str, Any] = {
            "reference": "1400755861",
            "amount": Money(1250, "CNY"),
            "product": Product.QR,
            "description": "茶点 tea",
            "notify_url": "https://shop.example/notify",
            "expires_at": NOW + timedelta(minutes=30),
            **more,
        }
        return PaymentRequest(**asked)

    return order
