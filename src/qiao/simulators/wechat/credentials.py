"""The material of both sides: WeChat Pay's own keys, and what merchants configure."""

import secrets
import string

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from qiao.simulators.wechat.authority import Authority, pem

KEY_BITS = 2048
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
    api_key: str
    """The shared key of API v2, which the same merchant may still use."""
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
    ca: str
    """The CA that signed every certificate here."""
    server_certificate: str
    server_key: str

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

    def v2_settings(
        self, name: str, *, base_url: str, secure_url: str, sign_type: str = "HMAC-SHA256"
    ) -> dict[str, object]:
        """The same merchant's settings for API v2."""
        merchant = self.merchants[name]
        known: dict[str, object] = {
            "api_version": "v2",
            "mchid": merchant.mchid,
            "appid": merchant.appid,
            "api_key": merchant.api_key,
            "sign_type": sign_type,
            "certificate": merchant.certificate,
            "private_key": merchant.private_key,
            "app_secret": merchant.app_secret,
            "gateway": secure_url,
            "gateway_ca": self.ca,
            "oauth_gateway": base_url,
            "oauth_authorize_url": f"{base_url}/connect/oauth2/authorize",
        }
        if merchant.sub_mchid:
            known["sub_mchid"] = merchant.sub_mchid
        return known


def new_credentials() -> Credentials:
    """Fresh keys for everybody."""
    ca, server = Authority(_key()), _key()
    merchant, second, provider = _key(), _key(), _key()
    tea, books = "茶馆 Tea House", "书店 Bookshop"
    return Credentials(
        public_keys=[_public_key(1), _public_key(2)],
        certificates=[_platform_certificate(ca), _platform_certificate(ca)],
        merchants={
            "ordinary": _merchant(ca, 1, tea, merchant),
            "second": _merchant(ca, 2, books, second),
            "certificate": _merchant(ca, 3, tea, merchant, certificate_mode=True),
            "provider": _merchant(ca, 4, "服务商 Provider", provider, sub_mchid="1900000101"),
        },
        ca=pem(ca.certificate),
        server_certificate=pem(ca.issue("api.mch.weixin.qq.com", server.public_key())),
        server_key=_private(server),
    )


def _merchant(
    ca: Authority,
    number: int,
    name: str,
    key: rsa.RSAPrivateKey,
    *,
    certificate_mode: bool = False,
    sub_mchid: str | None = None,
) -> Merchant:
    certificate = ca.issue(f"190000000{number}", key.public_key())
    return Merchant(
        mchid=f"190000000{number}",
        appid=f"wx000000000000000{number}",
        name=name,
        private_key=_private(key),
        certificate=pem(certificate),
        serial_no=f"{certificate.serial_number:X}",
        api_v3_key="".join(secrets.choice(LETTERS) for _ in range(32)),
        api_key="".join(secrets.choice(LETTERS) for _ in range(32)),
        app_secret=secrets.token_hex(16),
        certificate_mode=certificate_mode,
        sub_mchid=sub_mchid,
    )


def _public_key(number: int) -> PlatformKey:
    key = _key()
    return PlatformKey(
        id=f"PUB_KEY_ID_{number:034}", private_key=_private(key), public_key=_public(key)
    )


def _platform_certificate(ca: Authority) -> PlatformKey:
    key = _key()
    certificate = ca.issue("Tenpay.com sign", key.public_key())
    return PlatformKey(
        id=f"{certificate.serial_number:X}",
        private_key=_private(key),
        public_key=_public(key),
        certificate=pem(certificate),
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
