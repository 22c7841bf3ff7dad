"""Two SDKs and Qiao find the same serial in a bundle of root certificates like Alipay's."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from qiao.crypto.certificates import alipay_root_serial
from qiao.simulators.alipay import Credentials
from tests.interop.harness import OpenSdk

NAME = {
    NameOID.COUNTRY_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "Ant, Financial + Co.",  # nothing in it is escaped
    NameOID.ORGANIZATIONAL_UNIT_NAME: "Certification Authority",
}


def root(common_name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, serial: int) -> str:
    parts = {**NAME, NameOID.COMMON_NAME: common_name}
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    )
    made = builder.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def bundle() -> str:
    """Two that count, one with a serial number of few digits, and one that is not RSA's."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    roots = [
        root("R1", rsa_key, x509.random_serial_number()),
        root("ROOTCA", ec_key, x509.random_serial_number()),
        root("Class 2 R1", rsa_key, 7),
    ]
    return "\n".join(roots)  # with an empty line between them, as Alipay hands them out


async def test_python_alipay_sdk(bundle: str, open_sdk: OpenSdk) -> None:
    sdk = await open_sdk("python_alipay_sdk")
    assert await sdk("root_serial", bundle=bundle) == alipay_root_serial(bundle)


async def test_npm_alipay_sdk(
    bundle: str, open_sdk: OpenSdk, alipay_credentials: Credentials
) -> None:
    app = alipay_credentials.apps["certificate"]
    settings = {
        "appId": app.app_id,
        "privateKey": app.private_key,
        "keyType": "PKCS8",
        "appCertContent": app.app_certificate,
        "alipayPublicCertContent": alipay_credentials.alipay_certificate,
        "alipayRootCertContent": bundle,
    }
    sdk = await open_sdk("npm_alipay_sdk")
    assert await sdk("rootSerial", settings=settings) == alipay_root_serial(bundle)
