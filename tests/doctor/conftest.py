"""Both simulated channels, and what a merchant could have pasted by mistake."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from qiao.channels.interface import ChannelType
from qiao.channels.requests import Context
from qiao.cli.doctor import examine
from qiao.simulators import alipay, wechat
from qiao.transport.blocking import BlockingTransport

ALIPAY, WECHAT = alipay.new_credentials(), wechat.new_credentials()
SECRETS = ("private_key", "api_v3_key", "app_secret", "aes_key", "app_auth_token")


@dataclass(frozen=True)
class Pasted:
    """A stranger's key in many forms."""

    key: rsa.RSAPrivateKey

    def private(self, form: str = "pkcs8", *, password: bytes | None = None) -> str:
        kinds = serialization.PrivateFormat
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            kinds.PKCS8 if form == "pkcs8" else kinds.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        ).decode()

    @property
    def public(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def certificate(self, *, begins_days: int = -1, ends_days: int = 365) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stranger")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begins_days))
            .not_valid_after(now + timedelta(days=ends_days))
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()

    @staticmethod
    def of(pem: str) -> "Pasted":
        key = serialization.load_pem_private_key(pem.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return Pasted(key)


STRANGER = Pasted(rsa.generate_private_key(public_exponent=65537, key_size=2048))
SHORT = Pasted(rsa.generate_private_key(public_exponent=65537, key_size=1024))
ELLIPTIC = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
)


def bare(pem: str) -> str:
    """The base64 body alone, as merchants' tools print it."""
    return "".join(pem.strip().splitlines()[1:-1])


@pytest.fixture
def stranger() -> Pasted:
    return STRANGER


@pytest.fixture
def paste() -> Any:
    """Names for what tables of wrong settings hold."""

    class Names:
        short, elliptic, bare, of = SHORT, ELLIPTIC, staticmethod(bare), Pasted.of

    return Names


@pytest_asyncio.fixture
async def simulated_alipay() -> AsyncIterator[alipay.Simulator]:
    simulator = alipay.Simulator(credentials=ALIPAY, time_scale=100)
    async with simulator.running():
        yield simulator


@pytest_asyncio.fixture
async def simulated_wechat() -> AsyncIterator[wechat.Simulator]:
    simulator = wechat.Simulator(credentials=WECHAT, time_scale=100)
    async with simulator.running():
        yield simulator


Codes = list[tuple[str, str]]


@pytest.fixture
def diagnosed() -> Callable[..., Awaitable[Codes]]:
    """The findings' codes and fields; whatever they are, no text holds a secret."""

    async def diagnosed(
        kind: ChannelType, values: Mapping[str, Any], *, with_order: bool = False
    ) -> Codes:
        done, findings = await asyncio.to_thread(examine, kind, values, with_order=with_order)
        told = msgspec.json.encode([done, findings]).decode()
        for name in SECRETS:
            secret = values.get(name)
            if isinstance(secret, str) and len(secret) > 8:
                inner = [line for line in secret.splitlines() if "-----" not in line] or [secret]
                assert not any(line in told for line in inner if len(line) > 8)
        for one in json.loads(msgspec.json.encode(findings)):
            assert all(one[part][lang] for part in ("text", "remedy") for lang in ("en", "zh"))
            assert one["text"]["en"] != one["text"]["zh"]
        return [(one.code, one.field) for one in findings]

    return diagnosed


@pytest.fixture
def diagnosed_at() -> Callable[..., Awaitable[Codes]]:
    """The same on a machine whose clock is wrong by some time."""

    async def diagnosed_at(kind: ChannelType, values: Mapping[str, Any], skew: timedelta) -> Codes:
        context = Context(now=lambda: datetime.now(UTC) + skew, nonce=lambda: secrets.token_hex(16))
        assert kind.diagnosis is not None
        first, *_ = kind.diagnosis.probes(values, context, with_order=False)

        def ask() -> Any:
            with BlockingTransport() as transport:
                return transport.run(first.operation)

        return [(one.code, one.field) for one in await asyncio.to_thread(ask)]

    return diagnosed_at
