"""X.509 certificates: what the channels read from them."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from qiao.domain.errors import InvalidSettings

_BLOCK: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.ASCII | re.DOTALL
)
_RSA_SIGNATURES: Final = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_MD5,
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        SignatureAlgorithmOID.RSA_WITH_SHA224,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
    }
)
_SHORT_NAMES: Final = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.COUNTRY_NAME: "C",
    NameOID.EMAIL_ADDRESS: "emailAddress",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """An RSA certificate. ``serial`` is upper-case hex; the two times are UTC."""

    serial: str
    subject_common_name: str
    issuer_common_name: str
    not_before: datetime
    not_after: datetime
    public_key: RSAPublicKey
    alipay_serial: str

    @classmethod
    def from_pem(cls, text: str, *, field: str = "certificate") -> "Certificate":
        """The first certificate in ``text``; raises InvalidSettings naming ``field``."""
        match = _BLOCK.search(text)
        remedy = "give the whole certificate as PEM, from BEGIN to END CERTIFICATE"
        if match is None:
            raise InvalidSettings("not a certificate", field=field, remedy=remedy)
        try:
            parsed = x509.load_pem_x509_certificate(match[0].encode("ascii"))
            key = parsed.public_key()
        except ValueError:
            raise InvalidSettings("not readable", field=field, remedy=remedy) from None
        if not isinstance(key, RSAPublicKey):
            raise InvalidSettings(
                "not for an RSA key", field=field, remedy="give the RSA certificate"
            )
        return cls(
            serial=f"{parsed.serial_number:X}",
            subject_common_name=_common_name(parsed.subject),
            issuer_common_name=_common_name(parsed.issuer),
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            public_key=key,
            alipay_serial=_alipay_serial(parsed),
        )


def alipay_root_serial(bundle: str, *, field: str = "root_certificate") -> str:
    """Alipay's ``alipay_root_cert_sn``: the serials of the bundle's RSA-signed certificates.

    The real bundle holds SM2 certificates and one that strict parsers refuse; both are passed
    over, as Alipay's own SDKs do. Raises InvalidSettings when nothing is left.
    Source: facts of Alipay OpenAPI, certificate mode; alipay-sdk-python 3.7.
    """
    serials = []
    for block in _BLOCK.findall(bundle):
        try:
            parsed = x509.load_pem_x509_certificate(block.encode("ascii"))
            if parsed.signature_algorithm_oid in _RSA_SIGNATURES:
                serials.append(_alipay_serial(parsed))
        except ValueError:
            continue
    if not serials:
        raise InvalidSettings(
            "holds no RSA certificate",
            field=field,
            remedy="give alipayRootCert.crt as Alipay's console hands it out",
        )
    return "_".join(serials)


def _alipay_serial(certificate: x509.Certificate) -> str:
    """MD5 of the issuer, its last part first and nothing escaped, and the decimal serial number."""
    issuer = ",".join(
        f"{_SHORT_NAMES.get(part.oid, part.oid.dotted_string)}={part.value!s}"
        for part in reversed(list(certificate.issuer))
    )
    text = f"{issuer}{certificate.serial_number}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""
