"""The material of both sides: what the simulated Alipay holds, and what merchants configure."""

import base64
import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
LIFE = timedelta(days=3650)


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One app at Alipay, and its merchant. PEM keys; ``private_key`` is the merchant's own."""

    app_id: str
    seller_id: str
    merchant: str
    private_key: str
    public_key: str
    sign_type: str = "RSA2"
    aes_key: str | None = None
    app_certificate: str | None = None
    """Set in certificate mode."""
    auth_token: str | None = None
    """Set for a service provider's app: the authorisation of ``auth_seller_id``."""
    auth_app_id: str | None = None
    auth_seller_id: str | None = None

    def __repr__(self) -> str:
        return f"App(app_id={self.app_id!r}, seller_id={self.seller_id!r})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Alipay's own key and certificates, and every app that it knows."""

    alipay_private_key: str
    alipay_public_key: str
    alipay_certificate: str
    root_certificate: str
    apps: dict[str, App]
    """By what they are for: ordinary, second, certificate, encrypted, sha1, provider."""

    def __repr__(self) -> str:
        return f"Credentials(apps={sorted(self.apps)!r})"

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Credentials":
        return msgspec.json.decode(data, type=cls)

    def settings(self, name: str, *, base_url: str) -> dict[str, str]:
        """What the merchant of an app enters as its account's settings."""
        app = self.apps[name]
        known = {
            "app_id": app.app_id,
            "private_key": app.private_key,
            "seller_id": app.auth_seller_id or app.seller_id,
            "sign_type": app.sign_type,
            "gateway": f"{base_url}/gateway.do",
            "oauth_authorize_url": f"{base_url}/oauth2/publicAppAuthorize.htm",
        }
        if app.app_certificate:
            known["app_certificate"] = app.app_certificate
            known["alipay_certificate"] = self.alipay_certificate
            known["alipay_root_certificate"] = self.root_certificate
        else:
            known["alipay_public_key"] = self.alipay_public_key
        optional = {
            "aes_key": app.aes_key,
            "app_auth_token": app.auth_token,
            "auth_app_id": app.auth_app_id,
            "service_provider_id": app.seller_id if app.auth_token else None,
        }
        known.update({setting: value for setting, value in optional.items() if value})
        return known


def new_credentials() -> Credentials:
    """Fresh keys for everybody."""
    alipay, root = _key(), _key()
    root_certificate = _certificate("Simulated Alipay Root", root, root, "Simulated Alipay Root")
    merchant, second, provider = _key(), _key(), _key()
    aes = secrets.token_bytes(16)
    return Credentials(
        alipay_private_key=_private(alipay),
        alipay_public_key=_public(alipay),
        alipay_certificate=_certificate("Alipay", alipay, root, "Simulated Alipay Root"),
        root_certificate=root_certificate,
        apps={
            "ordinary": _app(1, "茶馆 Tea House", merchant),
            "second": _app(2, "书店 Bookshop", second),
            "certificate": _app(
                3,
                "茶馆 Tea House",
                merchant,
                app_certificate=_certificate("Tea House", merchant, root, "Simulated Alipay Root"),
            ),
            "encrypted": _app(4, "茶馆 Tea House", merchant, aes_key=_base64(aes)),
            "sha1": _app(5, "茶馆 Tea House", merchant, sign_type="RSA"),
            "provider": _app(
                6,
                "服务商 Provider",
                provider,
                auth_token=f"202611BB{secrets.token_hex(16)}",
                auth_app_id="2021000000000001",
                auth_seller_id="2088000000000001",
            ),
        },
    )


def _app(number: int, merchant: str, key: rsa.RSAPrivateKey, **more: str | None) -> App:
    return App(
        app_id=f"202100000000{number:04}",
        seller_id=f"208800000000{number:04}",
        merchant=merchant,
        private_key=_private(key),
        public_key=_public(key),
        **more,  # type: ignore[arg-type]  # only the optional texts of App
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
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _certificate(
    subject: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey, issuer: str
) -> str:
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(common_name: str) -> x509.Name:
    """In the four parts that Alipay's own have; merchants' SDKs take each for their serials."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Simulated"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certification Authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _base64(data: bytes) -> str:

    return base64.b64encode(data).decode()
