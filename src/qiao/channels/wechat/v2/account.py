"""One account's keys, checked once: the key that signs, and the certificate of mutual TLS."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from qiao.channels.wechat.settings import WechatV2Settings
from qiao.channels.wire import ClientCertificate
from qiao.crypto.certificates import Certificate
from qiao.crypto.rsa import load_private_key
from qiao.domain.errors import InvalidSettings

API_KEY_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """``refund_key`` opens notifications of refunds: the key's MD5, as 32 lower-case digits."""

    settings: WechatV2Settings
    client_certificate: ClientCertificate
    refund_key: bytes = field(repr=False)

    @classmethod
    def load(cls, settings: WechatV2Settings) -> "Account":
        """Raises InvalidSettings naming what cannot work."""
        if len(settings.api_key.encode()) != API_KEY_CHARACTERS:
            raise InvalidSettings(
                "not 32 characters long",
                field="settings.api_key",
                remedy="set the API key (API密钥) on the merchant platform, and copy it",
            )
        _check_pair(settings)
        if settings.gateway_ca is not None:
            _check_ca(settings.gateway_ca)
        digest = hashlib.md5(settings.api_key.encode(), usedforsecurity=False).hexdigest()
        return cls(
            settings=settings,
            client_certificate=ClientCertificate(
                certificate=settings.certificate, private_key=settings.private_key
            ),
            refund_key=digest.encode(),
        )

    @property
    def partner(self) -> bool:
        """Whether this is a service provider (服务商) that acts for another merchant."""
        return self.settings.sub_mchid is not None


def _check_pair(settings: WechatV2Settings) -> None:
    certificate = Certificate.from_pem(settings.certificate, field="settings.certificate")
    key = load_private_key(settings.private_key, field="settings.private_key")
    if certificate.public_key.public_numbers() != key.public_key().public_numbers():
        raise InvalidSettings(
            "it is the key of another certificate",
            field="settings.private_key",
            remedy="give apiclient_key.pem of the same download as apiclient_cert.pem",
        )
    if "-----BEGIN" not in settings.private_key:
        raise InvalidSettings(
            "not PEM", field="settings.private_key", remedy="give the whole apiclient_key.pem"
        )


def _check_ca(text: str) -> None:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        found = []
    if not found:
        raise InvalidSettings(
            "not a certificate",
            field="settings.gateway_ca",
            remedy="give the CA's certificate as PEM, or leave it out to trust the system's CAs",
        )
