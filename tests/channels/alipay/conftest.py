"""The other side of the wire, written apart from the channel: it signs and verifies by itself."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from qiao.channels.alipay import AlipayChannel, AlipaySettings
from qiao.channels.requests import Context
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse, Operation

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PEM = serialization.Encoding.PEM
APP_KEY, ALIPAY_KEY, OTHER_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)
)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(PEM, form, plain).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(PEM, form).decode()


def certificate(key: rsa.RSAPrivateKey, serial: int) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ant Test CA")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(PEM).decode()


class Alipay:
    """Alipay and a merchant's app, with everything that a test wants of them."""

    now = NOW
    app_key, alipay_key, other_key = APP_KEY, ALIPAY_KEY, OTHER_KEY
    certificate = staticmethod(certificate)
    private_pem = staticmethod(private_pem)
    public_pem = staticmethod(public_pem)
    app_id = "2021000000000001"
    seller_id = "2088000000000001"
    context = Context(now=lambda: NOW, nonce=lambda: "0" * 32)

    def settings(self, **changes: object) -> dict[str, object]:
        values: dict[str, object] = {
            "app_id": self.app_id,
            "private_key": private_pem(APP_KEY),
            "alipay_public_key": public_pem(ALIPAY_KEY),
            "seller_id": self.seller_id,
            "gateway": "http://localhost:8000/gateway.do",
        } | changes
        return {name: value for name, value in values.items() if value is not None}

    def __init__(self) -> None:
        self._channels: dict[str, AlipayChannel] = {}

    def channel(self, **changes: object) -> AlipayChannel:
        """A channel with these settings, made once: loading keys is slow."""
        known = repr(sorted(changes.items()))
        if known not in self._channels:
            self._channels[known] = AlipayChannel(AlipaySettings.read(self.settings(**changes)))
        return self._channels[known]

    def sign(
        self,
        content: bytes,
        key: rsa.RSAPrivateKey = ALIPAY_KEY,
        hash_: hashes.HashAlgorithm | None = None,
    ) -> str:
        raw = key.sign(content, padding.PKCS1v15(), hash_ or hashes.SHA256())
        return base64.b64encode(raw).decode()

    def answer(
        self,
        method: str,
        node: Mapping[str, Any] | str,
        *,
        sign: Callable[[bytes], str] | None = None,
        name: str | None = None,
        **more: str,
    ) -> HttpResponse:
        """``node`` is a mapping, or the node's exact text."""
        text = node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)
        name = name or method.replace(".", "_") + "_response"
        signature = (sign or self.sign)(text.encode())
        rest = "".join(f',"{key}":"{value}"' for key, value in more.items())
        body = f'{{"{name}":{text},"sign":"{signature}"{rest}}}'
        return HttpResponse(status=200, body=body.encode())

    def success(self, method: str, **fields: Any) -> HttpResponse:
        return self.answer(method, {"code": "10000", "msg": "Success", **fields})

    def failure(self, method: str, sub_code: str, code: str = "40004") -> HttpResponse:
        node = {"code": code, "msg": "Failed", "sub_code": sub_code, "sub_msg": "原因"}
        return self.answer(method, node)

    def verified(
        self,
        parameters: Mapping[str, str],
        hash_: hashes.HashAlgorithm | None = None,
    ) -> dict[str, str]:
        """The parameters without their signature, which must be the app's."""
        rest = {name: value for name, value in parameters.items() if name != "sign"}
        content = "&".join(f"{name}={rest[name]}" for name in sorted(rest)).encode()
        raw = base64.b64decode(parameters["sign"])
        APP_KEY.public_key().verify(raw, content, padding.PKCS1v15(), hash_ or hashes.SHA256())
        return rest

    def received(self, request: HttpRequest) -> dict[str, str]:
        """What the gateway reads: query and body, biz_content apart, the signature verified."""
        assert request.method == "POST"
        assert request.headers == {
            "content-type": "application/x-www-form-urlencoded;charset=utf-8"
        }
        url = urlsplit(request.url)
        assert f"{url.scheme}://{url.netloc}{url.path}" == "http://localhost:8000/gateway.do"
        pairs = parse_qsl(url.query, strict_parsing=True) + parse_qsl(request.body.decode())
        assert len(dict(pairs)) == len(pairs)
        return self.verified(dict(pairs))

    def common(self, method: str, **more: str) -> dict[str, str]:
        """The common parameters of every request in key mode."""
        return {
            "app_id": self.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": "2026-01-02 11:04:05",
            "version": "1.0",
            **more,
        }

    def asked(self, request: HttpRequest, method: str, **more: str) -> Any:
        """The biz_content of a request whose common parameters are exactly as expected."""
        received = self.received(request)
        content = received.pop("biz_content")
        assert received == self.common(method, **more)
        return json.loads(content)

    def drive(
        self, operation: Operation[Any], *responses: HttpResponse
    ) -> tuple[Sequence[HttpRequest], Any]:
        """Every request that the operation made, and its result; all responses must be used."""
        requests: list[HttpRequest] = []
        left = list(responses)
        try:
            request = next(operation)
            while True:
                requests.append(request)
                assert left, f"one request too many: {request.url}"
                request = operation.send(left.pop(0))
        except StopIteration as end:
            assert not left, "a response was not asked for"
            return requests, end.value

    def notification(
        self,
        fields: Mapping[str, str],
        *,
        charset: str = "utf-8",
        sign: Callable[[bytes], str] | None = None,
        keep_sign_type: bool = False,
    ) -> HttpMessage:
        left_out = {"sign"} if keep_sign_type else {"sign", "sign_type"}
        content = "&".join(
            f"{name}={fields[name]}" for name in sorted(fields) if name not in left_out
        )
        signed = {**fields, "sign": (sign or self.sign)(content.encode(charset))}
        return HttpMessage(
            method="POST",
            target="/notify",
            headers={"content-type": f"application/x-www-form-urlencoded; charset={charset}"},
            body="&".join(
                f"{name}={quote_plus(value, encoding=charset)}" for name, value in signed.items()
            ).encode(),
        )

    def encrypt(self, key: bytes, text: bytes) -> str:
        fill = 16 - len(text) % 16
        encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
        padded = text + bytes([fill]) * fill
        return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()

    def decrypt(self, key: bytes, text: str) -> bytes:
        decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor()
        padded = decryptor.update(base64.b64decode(text)) + decryptor.finalize()
        return padded[: -padded[-1]]


@pytest.fixture(scope="session")
def alipay() -> Alipay:
    """Alipay, as these tests know it."""
    return Alipay()
