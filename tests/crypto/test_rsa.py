"""RSA keys in every dress that merchants have them in, signatures, and certificates."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from qiao.crypto.certificates import Certificate, alipay_root_serial
from qiao.crypto.rsa import (
    RsaHash,
    decrypt_oaep,
    encrypt_oaep,
    load_private_key,
    load_public_key,
    sign,
    verifies,
)
from qiao.domain.errors import InvalidSettings

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ELLIPTIC = ec.generate_private_key(ec.SECP256R1())
NO_ENCRYPTION = serialization.NoEncryption()
Pkcs = serialization.PrivateFormat
Pem = serialization.Encoding.PEM
PUBLIC_PEM = (
    KEY.public_key().public_bytes(Pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
PRIVATE_PEM = KEY.private_bytes(Pem, Pkcs.PKCS8, NO_ENCRYPTION).decode()


def body(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if "-----" not in line)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, serial: int = 0xABC123) -> str:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ant Financial, Test"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "CA"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Test R1"),
        ]
    )
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Pem).decode()


@pytest.mark.parametrize("form", [Pkcs.TraditionalOpenSSL, Pkcs.PKCS8])
def test_a_private_key_is_read_with_and_without_its_header(form: Pkcs) -> None:
    pem = KEY.private_bytes(Pem, form, NO_ENCRYPTION).decode()
    for text in (pem, body(pem), pem.replace("\n", "\r\n")):
        assert load_private_key(text).private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize(
    "form", [serialization.PublicFormat.PKCS1, serialization.PublicFormat.SubjectPublicKeyInfo]
)
def test_a_public_key_is_read_with_and_without_its_header(
    form: serialization.PublicFormat,
) -> None:
    pem = KEY.public_key().public_bytes(Pem, form).decode()
    for text in (pem, body(pem)):
        assert load_public_key(text).public_numbers() == KEY.public_key().public_numbers()


def test_a_public_key_is_read_out_of_a_certificate() -> None:
    assert load_public_key(certificate(KEY)) == KEY.public_key()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PUBLIC_PEM, "this is a public key"),
        (certificate(KEY), "this is a certificate"),
        ("", "not an RSA private key"),
        (PRIVATE_PEM[:300], "not an RSA private key"),
        ("钥匙", "not an RSA private key"),
        (
            KEY.private_bytes(
                Pem, Pkcs.PKCS8, serialization.BestAvailableEncryption(b"secret")
            ).decode(),
            "protected by a password",
        ),
        (ELLIPTIC.private_bytes(Pem, Pkcs.PKCS8, NO_ENCRYPTION).decode(), "not an RSA key"),
    ],
    ids=["public", "certificate", "empty", "cut", "text", "password", "elliptic"],
)
def test_a_wrong_private_key_is_refused_by_field_and_never_quoted(text: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says) as error:
        load_private_key(text, field="settings.private_key")
    assert error.value.field == "settings.private_key"
    assert error.value.remedy
    if len(text) > 100:
        assert body(text)[:40] not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [PRIVATE_PEM, "", PUBLIC_PEM[:100], certificate(ELLIPTIC)],
    ids=["private", "empty", "cut", "elliptic"],
)
def test_a_wrong_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        load_public_key(text, field="settings.alipay_public_key")
    assert error.value.field == "settings.alipay_public_key"


@settings(max_examples=25)
@given(st.binary(max_size=300), st.sampled_from(RsaHash))
def test_a_signature_is_of_one_message_one_key_and_one_hash(message: bytes, hash_: RsaHash) -> None:
    signature = sign(KEY, message, hash_)
    other = RsaHash.SHA1 if hash_ is RsaHash.SHA256 else RsaHash.SHA256
    assert verifies(KEY.public_key(), message, signature, hash_)
    assert not verifies(KEY.public_key(), message + b"0", signature, hash_)
    assert not verifies(OTHER.public_key(), message, signature, hash_)
    assert not verifies(KEY.public_key(), message, signature, other)


@given(st.text())
def test_what_is_no_signature_does_not_verify(signature: str) -> None:
    assert not verifies(KEY.public_key(), b"message", signature, RsaHash.SHA256)


@pytest.mark.parametrize("name", ["张三", "", "13800000000"])
def test_oaep_goes_both_ways(name: str) -> None:
    sealed = encrypt_oaep(KEY.public_key(), name)
    assert decrypt_oaep(KEY, sealed) == name
    with pytest.raises(ValueError, match=r".*"):
        decrypt_oaep(OTHER, sealed)


def test_a_certificate_tells_its_serials_and_times() -> None:
    read = Certificate.from_pem(certificate(KEY))
    issuer = "CN=Test R1,OU=CA,O=Ant Financial, Test,C=CN"
    assert read.serial == "ABC123"
    assert read.alipay_serial == hashlib.md5(f"{issuer}{0xABC123}".encode()).hexdigest()
    assert read.issuer_common_name == "Test R1"
    assert read.not_after - read.not_before == timedelta(days=365)


@pytest.mark.parametrize(
    "text",
    ["", PUBLIC_PEM, certificate(KEY)[:200], certificate(ELLIPTIC)],
    ids=["empty", "public key", "cut", "elliptic"],
)
def test_a_wrong_certificate_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        Certificate.from_pem(text, field="settings.certificate")
    assert error.value.field == "settings.certificate"


def test_the_root_serial_passes_over_what_is_not_rsa() -> None:
    broken = base64.b64encode(b"\x30\x03\x02\x01\x01").decode()
    bundle = "\n".join(
        [
            certificate(KEY, serial=1),
            certificate(ELLIPTIC, serial=2),
            f"-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----",
            certificate(OTHER, serial=3),
        ]
    )
    first, second = alipay_root_serial(bundle).split("_")
    assert first == Certificate.from_pem(certificate(KEY, serial=1)).alipay_serial
    assert second == Certificate.from_pem(certificate(OTHER, serial=3)).alipay_serial
    with pytest.raises(InvalidSettings):
        alipay_root_serial(certificate(ELLIPTIC))
