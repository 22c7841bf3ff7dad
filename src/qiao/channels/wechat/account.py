"""An account's settings with its keys loaded, once, and every contradiction refused by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from qiao.channels.requests import Product
from qiao.channels.wechat.settings import WechatSettings
from qiao.crypto.certificates import Certificate
from qiao.crypto.rsa import load_private_key, load_public_key
from qiao.domain.errors import InvalidInput, InvalidSettings

PUBLIC_KEY_PREFIX: Final = "PUB_KEY_ID_"
_MIN_BITS: Final = 2048
_API_V3_KEY_BYTES: Final = 32
_GATEWAY: Final = re.compile(r"https?://[^\s?#/@]+", re.ASCII)
_URL: Final = re.compile(r"https?://[^\s?#/@]+[^\s?#]*", re.ASCII)
_MCHID: Final = re.compile(r"[0-9]{6,32}", re.ASCII)
_APP_ID: Final = re.compile(r"[0-9A-Za-z]{6,32}", re.ASCII)
_SERIAL: Final = re.compile(r"[0-9A-Fa-f]{4,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformKey:
    """One of WeChat Pay's keys. A public key of its own has no time in which it is valid."""

    serial: str
    key: RSAPublicKey = field(repr=False)
    not_before: datetime | None = None
    not_after: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether the key may be believed at ``now``."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now <= self.not_after
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The keys of one account, and which of its apps a payment belongs to."""

    settings: WechatSettings
    certificate_serial: str
    private_key: RSAPrivateKey = field(repr=False)
    api_v3_key: bytes = field(repr=False)
    platform_keys: Mapping[str, PlatformKey] = field(repr=False)
    """By :func:`key_id`: the id of a public key, or the serial of a certificate."""

    @property
    def partner(self) -> bool:
        """Whether this is a service provider, acting for its sub-merchant."""
        return self.settings.sub_mchid is not None

    @property
    def app_ids(self) -> frozenset[str]:
        """The apps in which this merchant's payments happen."""
        return frozenset(self.wallet_app(product) for product in Product)

    def wallet_app(self, product: Product) -> str:
        """The app in which the payer pays: whose open id it is, and which calls the wallet."""
        settings = self.settings
        own = {
            Product.MINI_PROGRAM: settings.mini_program_app_id,
            Product.APP: settings.mobile_app_id,
        }.get(product)
        return own or settings.sub_app_id or settings.app_id

    def platform_key(self, serial: str, now: datetime) -> RSAPublicKey | None:
        """The key that a message names, if it is known and valid at ``now``."""
        key = self.platform_keys.get(key_id(serial))
        return key.key if key is not None and key.valid(now) else None

    @property
    def public_key_id(self) -> str | None:
        """The public key that WeChat Pay is asked to answer with; None in certificate mode."""
        return next(iter(self.settings.platform_public_keys), None)

    def encryption_key(self, now: datetime) -> PlatformKey:
        """The key for what WeChat Pay alone may read; raises InvalidInput when none is valid."""
        if self.public_key_id is not None:
            return self.platform_keys[self.public_key_id]
        valid = [key for key in self.platform_keys.values() if key.valid(now)]
        if not valid:
            raise InvalidInput(
                "no platform certificate is valid now",
                field="settings.platform_certificates",
                remedy="download the platform certificates again",
            )
        return max(valid, key=lambda key: key.not_before or now)

    @classmethod
    def load(cls, settings: WechatSettings) -> "Account":
        """Read every key and certificate; raises InvalidSettings naming the field at fault.

        An account without platform keys is good for downloading the certificates, and no more.
        """
        _check_texts(settings)
        private_key = load_private_key(settings.private_key, field="settings.private_key")
        if private_key.key_size < _MIN_BITS:
            raise InvalidSettings(
                f"WeChat Pay takes keys of {_MIN_BITS} bits",
                field="settings.private_key",
                remedy="give apiclient_key.pem of the merchant's API certificate",
            )
        api_v3_key = settings.api_v3_key.encode()
        if len(api_v3_key) != _API_V3_KEY_BYTES:
            raise InvalidSettings(
                f"not of {_API_V3_KEY_BYTES} characters",
                field="settings.api_v3_key",
                remedy="give the APIv3密钥 as it was set in the merchant platform",
            )
        return cls(
            settings=settings,
            certificate_serial=settings.certificate_serial.upper(),
            private_key=private_key,
            api_v3_key=api_v3_key,
            platform_keys={
                **_public_keys(settings, private_key),
                **_certificates(settings),
            },
        )

    def require_platform_keys(self) -> None:
        """Raise InvalidSettings unless something tells WeChat Pay's answers from forgeries."""
        if not self.platform_keys:
            raise InvalidSettings(
                "nothing tells WeChat Pay's key",
                field="settings.platform_public_keys",
                remedy="give platform_public_keys (微信支付公钥), or platform_certificates, which "
                "qiao.channels.wechat.download_certificates brings",
            )


def key_id(serial: str) -> str:
    """A serial in the one form in which it is looked up: hex in capitals, no zeros in front."""
    if serial.startswith(PUBLIC_KEY_PREFIX):
        return serial
    return serial.upper().lstrip("0")


def _check_texts(settings: WechatSettings) -> None:
    for name, pattern, looks in (
        ("mchid", _MCHID, "the merchant's number"),
        ("sub_mchid", _MCHID, "the sub-merchant's number"),
        ("app_id", _APP_ID, "the app's id, such as wx0123456789abcdef"),
        ("sub_app_id", _APP_ID, "the sub-merchant's app id"),
        ("mini_program_app_id", _APP_ID, "the mini program's app id"),
        ("mobile_app_id", _APP_ID, "the mobile app's id"),
        ("certificate_serial", _SERIAL, "the serial of apiclient_cert.pem in hex"),
        ("gateway", _GATEWAY, "scheme and host alone, or leave it out"),
        ("oauth_gateway", _GATEWAY, "scheme and host alone, or leave it out"),
        ("oauth_authorize_url", _URL, "a URL without query, or leave it out"),
    ):
        value = getattr(settings, name)
        if value is not None and not pattern.fullmatch(value):
            raise InvalidSettings(
                "not of that kind", field=f"settings.{name}", remedy=f"give {looks}"
            )
    if settings.sub_app_id is not None and settings.sub_mchid is None:
        raise InvalidSettings(
            "a sub-merchant's app without a sub-merchant",
            field="settings.sub_app_id",
            remedy="give sub_mchid too, or put the app into app_id",
        )


def _public_keys(settings: WechatSettings, private_key: RSAPrivateKey) -> Mapping[str, PlatformKey]:
    keys = {}
    for serial, text in settings.platform_public_keys.items():
        if not serial.startswith(PUBLIC_KEY_PREFIX) or not serial.isascii() or " " in serial:
            raise InvalidSettings(
                "not the id of a public key",
                field="settings.platform_public_keys",
                remedy=f"give 公钥ID, which begins with {PUBLIC_KEY_PREFIX}",
            )
        key = load_public_key(text, field="settings.platform_public_keys")
        if key.public_numbers() == private_key.public_key().public_numbers():
            raise InvalidSettings(
                "this is the merchant's own public key",
                field="settings.platform_public_keys",
                remedy="give 微信支付公钥, pub_key.pem of the merchant platform",
            )
        keys[serial] = PlatformKey(serial=serial, key=key)
    return keys


def _certificates(settings: WechatSettings) -> Mapping[str, PlatformKey]:
    keys = {}
    for text in settings.platform_certificates:
        certificate = Certificate.from_pem(text, field="settings.platform_certificates")
        if certificate.serial == settings.certificate_serial.upper().lstrip("0"):
            raise InvalidSettings(
                "this is the merchant's own certificate",
                field="settings.platform_certificates",
                remedy="give 平台证书, which download_certificates brings",
            )
        keys[key_id(certificate.serial)] = platform_key(certificate)
    return keys


def platform_key(certificate: Certificate) -> PlatformKey:
    """The key of a platform certificate, for as long as the certificate says."""
    return PlatformKey(
        serial=certificate.serial,
        key=certificate.public_key,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )
