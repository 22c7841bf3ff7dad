"""The material of both sides: WeChat Pay's own keys, and what merchants configure."""

import secrets
import string
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
LIFE = timedelta(days=1825)
LETTERS = string.ascii_letters + string.digits


class PlatformKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of WeChat Pay's own: by ``PUB_KEY_ID_…``, or by its certificate's serial."""

    id: str
    private_key: str
    public_key: str
    certificate: str | None = None

    def __repr__(self) -> str:
        return f"PlatformKey(id={self.id!r})"


class Merchant(msgspec.Struct, frozen=True, kw_only=True):
    """One merchant number. ``sub_mchid`` is set for a service provider (服务商)."""

    mchid: str
    appid: str
    name: str
    private_key: str
    certificate: str
    serial_no: str
    api_v3_key: str
    app_secret: str
    certificate_mode: bool = False
    sub_mchid: str | None = None

    def __repr__(self) -> str:
        return f"Merchant(mchid={self.mchid!r}, appid={self.appid!r})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """WeChat Pay's keys, the newest first, and every merchant that it knows."""

    public_keys: list[PlatformKey]
    certificates: list[PlatformKey]
    merchants: dict[str, Merchant]
    """By what they are for: ordinary, second, certificate, provider."""

    def __repr__(self) -> str:
        return f"Credentials(merchants={sorted(self.merchants)!r})"

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Credentials":
        return msgspec.json.decode(data, type=cls)

    def settings(self, name: str, *, base_url: str) -> dict[str, object]:
        """What the merchant enters as its account's settings."""
        merchant = self.merchants[name]
        keys = self.certificates if merchant.certificate_mode else self.public_keys
        known: dict[str, object] = {
            "mchid": merchant.mchid,
            "appid": merchant.appid,
            "private_key": merchant.private_key,
            "serial_no": merchant.serial_no,
            "api_v3_key": merchant.api_v3_key,
            "app_secret": merchant.app_secret,
            "platform_keys": {key.id: key.certificate or key.public_key for key in keys},
            "gateway": base_url,
            "oauth_gateway": base_url,
            "oauth_authorize_url": f"{base_url}/connect/oauth2/authorize",
        }
        if merchant.sub_mchid:
            known["sub_mchid"] = merchant.sub_mchid
        return known


def new_credentials() -> Credentials:
    """Fresh keys for everybody."""
    merchant, second, provider = _key(), _key(), _key()
    return Credentials(
        public_keys=[_public_key(1), _public_key(2)],
        certificates=[_platform_certificate(), _platform_certificate()],
        merchants={
            "ordinary": _merchant(1, "茶馆 Tea House", merchant),
            "second": _merchant(2, "书店 Bookshop", second),
            "certificate": _merchant(3, "茶馆 Tea House", merchant, certificate_mode=True),
            "provider": _merchant(4, "服务商 Provider", provider, sub_mchid="1900000101"),
        },
    )


def _merchant(
    number: int,
    name: str,
    key: rsa.RSAPrivateKey,
    *,
    certificate_mode: bool = False,
    sub_mchid: str | None = None,
) -> Merchant:
    pem, serial = _certificate("Merchant", key, key)
    return Merchant(
        mchid=f"190000000{number}",
        appid=f"wx000000000000000{number}",
        name=name,
        private_key=_private(key),
        certificate=pem,
        serial_no=serial,
        api_v3_key="".join(secrets.choice(LETTERS) for _ in range(32)),
        app_secret=secrets.token_hex(16),
        certificate_mode=certificate_mode,
        sub_mchid=sub_mchid,
    )


def _public_key(number: int) -> PlatformKey:
    key = _key()
    return PlatformKey(
        id=f"PUB_KEY_ID_{number:034}", private_key=_private(key), public_key=_public(key)
    )


def _platform_certificate() -> PlatformKey:
    key = _key()
    pem, serial = _certificate("Tenpay.com sign", key, key)
    return PlatformKey(
        id=serial, private_key=_private(key), public_key=_public(key), certificate=pem
    )


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _private(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _public(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def _certificate(name: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey) -> tuple[str, str]:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulated Tenpay CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
        .sign(signer, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return pem, f"{certificate.serial_number:X}"
