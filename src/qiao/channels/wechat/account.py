"""One account's keys, loaded once: ours to sign with, WeChat Pay's to verify with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from qiao.channels.wechat.settings import WechatSettings
from qiao.crypto.certificates import Certificate
from qiao.crypto.rsa import RsaHash, load_private_key, load_public_key, sign, verifies
from qiao.domain.errors import InvalidSettings

PUBLIC_KEY_PREFIX: Final = "PUB_KEY_ID_"
API_V3_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformKey:
    """A key of WeChat Pay's own; a certificate's is good only in its time (UTC)."""

    key: RSAPublicKey
    not_before: datetime | None = None
    not_after: datetime | None = None

    def valid_at(self, now: datetime) -> bool:
        after_begin = self.not_before is None or self.not_before <= now
        return after_begin and (self.not_after is None or now < self.not_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """``announced`` is the platform key that requests name, for encrypted fields and answers."""

    settings: WechatSettings
    serial_no: str
    announced: str
    platform_keys: Mapping[str, PlatformKey]
    private_key: RSAPrivateKey = field(repr=False)
    api_v3_key: bytes = field(repr=False)

    @classmethod
    def load(cls, settings: WechatSettings) -> "Account":
        """Raises InvalidSettings naming what cannot work."""
        api_v3_key = settings.api_v3_key.encode()
        if len(api_v3_key) != API_V3_KEY_BYTES:
            raise InvalidSettings(
                "not 32 characters long",
                field="settings.api_v3_key",
                remedy="set the APIv3 key (APIv3密钥) on the merchant platform, and copy it",
            )
        keys = {name.upper(): _platform_key(name, text) for name, text in _named(settings)}
        public = [name for name in keys if name.startswith(PUBLIC_KEY_PREFIX)]
        return cls(
            settings=settings,
            serial_no=_serial(settings),
            announced=(public or list(keys))[0],
            platform_keys=keys,
            private_key=load_private_key(settings.private_key, field="settings.private_key"),
            api_v3_key=api_v3_key,
        )

    def sign(self, content: str) -> str:
        return sign(self.private_key, content.encode(), RsaHash.SHA256)

    def verifies(self, serial: str, content: bytes, signature: str, now: datetime) -> bool:
        """Whether that key of WeChat Pay's, valid now, signed the content."""
        known = self.platform_keys.get(serial.upper())
        return (
            known is not None
            and known.valid_at(now)
            and verifies(known.key, content, signature, RsaHash.SHA256)
        )

    @property
    def partner(self) -> bool:
        """Whether this is a service provider (服务商) that acts for another merchant."""
        return self.settings.sub_mchid is not None


def _named(settings: WechatSettings) -> list[tuple[str, str]]:
    if not settings.platform_keys:
        raise InvalidSettings(
            "there is no key of WeChat Pay's",
            field="settings.platform_keys",
            remedy="give its public key (微信支付公钥) by its id, or its certificate by its serial",
        )
    return list(settings.platform_keys.items())


def _platform_key(name: str, text: str) -> PlatformKey:
    field = f"settings.platform_keys.{name}"
    if "BEGIN CERTIFICATE" not in text:
        if not name.upper().startswith(PUBLIC_KEY_PREFIX):
            raise InvalidSettings(
                "a public key is named by its id",
                field=field,
                remedy=f"name it {PUBLIC_KEY_PREFIX}…, as the merchant platform shows it",
            )
        return PlatformKey(key=load_public_key(text, field=field))
    certificate = Certificate.from_pem(text, field=field)
    if certificate.serial != name.upper().lstrip("0"):
        raise InvalidSettings(
            "it is the certificate of another serial",
            field=field,
            remedy=f"name it {certificate.serial}; is it the platform's, not the merchant's own?",
        )
    return PlatformKey(
        key=certificate.public_key,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )


def _serial(settings: WechatSettings) -> str:
    if settings.serial_no:
        return settings.serial_no.upper()
    if settings.certificate:
        return Certificate.from_pem(settings.certificate, field="settings.certificate").serial
    raise InvalidSettings(
        "missing",
        field="settings.serial_no",
        remedy="give the serial of the merchant's certificate, or the certificate itself",
    )
