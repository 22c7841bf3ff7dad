"""The simulator's own CA: it signs merchants' certificates, WeChat Pay's, and the TLS server's."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE: Final = timedelta(days=1825)
HOSTS: Final = ("127.0.0.1", "127.0.0.2", "::1")
"""Where a simulator may listen, and so for what the server's certificate is good."""
_USES: Final = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


class Authority:
    """A CA with a key of its own; nobody trusts it but who is told to."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self._name = _named("Simulated Tenpay CA")
        self.certificate = (
            self._builder(self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(**{**_USES, "key_cert_sign": True, "crl_sign": True}), critical=True
            )
            .sign(key, hashes.SHA256())
        )

    def issue(self, name: str, key: RSAPublicKey) -> x509.Certificate:
        """A certificate for that name, good for both ends of TLS on loopback."""
        addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in HOSTS]
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            self._builder(_named(name), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**_USES, "digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage(ends), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]),
                critical=False,
            )
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: RSAPublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFE)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
