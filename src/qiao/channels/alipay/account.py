"""An account's settings with its keys loaded, once, and every contradiction refused by name."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from qiao.channels.alipay.settings import AlipaySettings
from qiao.crypto.certificates import Certificate, alipay_root_serial
from qiao.crypto.rsa import RsaHash, load_private_key, load_public_key, verifies
from qiao.domain.errors import InvalidSettings

_HASHES: Final = {"RSA2": RsaHash.SHA256, "RSA": RsaHash.SHA1}
_MIN_RSA2_BITS: Final = 2048
_AES_KEY_BYTES: Final = (16, 24, 32)
_URL: Final = re.compile(r"https?://[^\s?#/]+[^\s?#]*", re.ASCII)
_CERTIFICATES: Final = ("app_certificate", "alipay_certificate", "alipay_root_certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The keys of one account. The two serials are empty in key mode (公钥模式)."""

    settings: AlipaySettings
    private_key: RSAPrivateKey = field(repr=False)
    alipay_keys: Mapping[str, RSAPublicKey] = field(repr=False)
    """Alipay's keys by the serial of their certificate; in key mode there is one, under ``""``."""
    app_serial: str = ""
    root_serial: str = ""
    aes_key: bytes | None = field(default=None, repr=False)

    @property
    def hash(self) -> RsaHash:
        """The hash under every signature, either way: from the settings, never from a message."""
        return _HASHES[self.settings.sign_type]

    @property
    def certificate_mode(self) -> bool:
        """Whether Alipay's key comes from a certificate."""
        return bool(self.app_serial)

    def verifies(self, content: bytes, signature: str, serial: str | None = None) -> bool:
        """Whether Alipay signed ``content``: with the key of ``serial``, or any of its keys."""
        if serial is not None:
            keys = [key for known, key in self.alipay_keys.items() if known == serial]
        else:
            keys = list(self.alipay_keys.values())
        return any(verifies(key, content, signature, self.hash) for key in keys)

    @classmethod
    def load(cls, settings: AlipaySettings) -> "Account":
        """Read every key and certificate; raises InvalidSettings naming the field at fault."""
        _check_texts(settings)
        _check_service_provider(settings)
        private_key = load_private_key(settings.private_key, field="settings.private_key")
        if settings.sign_type == "RSA2" and private_key.key_size < _MIN_RSA2_BITS:
            raise InvalidSettings(
                f"RSA2 takes a key of {_MIN_RSA2_BITS} bits or more",
                field="settings.private_key",
                remedy="make a new key with Alipay's key tool and upload its public half",
            )
        aes_key = _aes_key(settings.aes_key)
        if _in_certificate_mode(settings):
            return _with_certificates(settings, private_key, aes_key)
        alipay_key = load_public_key(
            settings.alipay_public_key or "", field="settings.alipay_public_key"
        )
        if alipay_key.public_numbers() == private_key.public_key().public_numbers():
            raise InvalidSettings(
                "this is the app's own public key",
                field="settings.alipay_public_key",
                remedy="give 支付宝公钥, which the console shows after the app's key was uploaded",
            )
        return cls(
            settings=settings,
            private_key=private_key,
            alipay_keys={"": alipay_key},
            aes_key=aes_key,
        )


def _check_texts(settings: AlipaySettings) -> None:
    for name in ("gateway", "oauth_authorize_url"):
        if not _URL.fullmatch(getattr(settings, name)):
            raise InvalidSettings(
                "not an http or https URL without query",
                field=f"settings.{name}",
                remedy="give the whole address, or leave it out for Alipay's own",
            )
    for name, pattern, looks in (
        ("app_id", r"[0-9]{8,32}", "the app's number from the console"),
        ("auth_app_id", r"[0-9]{8,32}", "the authorising app's number"),
        ("mini_program_app_id", r"[0-9]{8,32}", "the mini program's app number"),
        ("seller_id", r"2088[0-9]{12}", "the 16-digit PID that begins with 2088"),
        ("service_provider_id", r"2088[0-9]{12}", "the 16-digit PID that begins with 2088"),
    ):
        value = getattr(settings, name)
        if value is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise InvalidSettings(
                "not a number of that kind", field=f"settings.{name}", remedy=f"give {looks}"
            )


def _check_service_provider(settings: AlipaySettings) -> None:
    """Every merchant of a service provider shares its app and key: something must tell them."""
    if settings.app_auth_token is None:
        if settings.auth_app_id not in (None, settings.app_id):
            raise InvalidSettings(
                "another app authorised nothing here",
                field="settings.auth_app_id",
                remedy="give app_auth_token too, or leave auth_app_id out",
            )
    elif settings.seller_id is None and settings.auth_app_id is None:
        raise InvalidSettings(
            "with app_auth_token, a notification could be another merchant's",
            field="settings.seller_id",
            remedy="give the merchant's seller_id (PID) or auth_app_id",
        )


def _in_certificate_mode(settings: AlipaySettings) -> bool:
    """Exactly one mode must be complete; raises InvalidSettings naming what is too much or less."""
    given = [name for name in _CERTIFICATES if getattr(settings, name) is not None]
    if settings.alipay_public_key is not None:
        surplus = [
            *given,
            *(["next_alipay_certificate"] if settings.next_alipay_certificate else []),
        ]
        if surplus:
            raise InvalidSettings(
                "alipay_public_key and certificates exclude each other",
                field=f"settings.{surplus[0]}",
                remedy="keep what the app uses in Alipay's console: 公钥 or 公钥证书",
            )
        return False
    if not given:
        raise InvalidSettings(
            "nothing tells Alipay's key",
            field="settings.alipay_public_key",
            remedy=f"give alipay_public_key, or all of {', '.join(_CERTIFICATES)}",
        )
    for name in _CERTIFICATES:
        if name not in given:
            raise InvalidSettings(
                "certificate mode takes three certificates",
                field=f"settings.{name}",
                remedy="give the file of that name from Alipay's console",
            )
    if settings.sign_type != "RSA2":
        raise InvalidSettings(
            "certificates sign with RSA2",
            field="settings.sign_type",
            remedy="leave sign_type out, or give alipay_public_key instead of certificates",
        )
    return True


def _with_certificates(
    settings: AlipaySettings, private_key: RSAPrivateKey, aes_key: bytes | None
) -> Account:
    app = Certificate.from_pem(settings.app_certificate or "", field="settings.app_certificate")
    if app.public_key.public_numbers() != private_key.public_key().public_numbers():
        raise InvalidSettings(
            "not the certificate of private_key",
            field="settings.app_certificate",
            remedy="give the certificate that Alipay issued for this private key",
        )
    alipay_keys = {}
    for name in ("alipay_certificate", "next_alipay_certificate"):
        text = getattr(settings, name)
        if text is not None:
            certificate = Certificate.from_pem(text, field=f"settings.{name}")
            alipay_keys[certificate.alipay_serial] = certificate.public_key
    return Account(
        settings=settings,
        private_key=private_key,
        alipay_keys=alipay_keys,
        app_serial=app.alipay_serial,
        root_serial=alipay_root_serial(
            settings.alipay_root_certificate or "", field="settings.alipay_root_certificate"
        ),
        aes_key=aes_key,
    )


def _aes_key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _AES_KEY_BYTES:
        raise InvalidSettings(
            "not an AES key",
            field="settings.aes_key",
            remedy="give the base64 text that the console shows under 接口内容加密方式",
        )
    return key
