"""Settings: exactly one mode, keys that belong together, and no secret ever shown."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from qiao.channels import alipay as package
from qiao.channels.alipay import AlipayChannel, AlipaySettings, channel_type
from qiao.channels.interface import CAPABILITY_PROTOCOLS, Capability
from qiao.channels.requests import Product
from qiao.domain.errors import InvalidSettings


def body(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if "-----" not in line)


def certificates(alipay: Any) -> dict[str, object]:
    return {
        "alipay_public_key": None,
        "app_certificate": alipay.certificate(alipay.app_key, 1),
        "alipay_certificate": alipay.certificate(alipay.alipay_key, 2),
        "alipay_root_certificate": alipay.certificate(alipay.other_key, 3),
    }


def test_keys_are_taken_in_every_dress(alipay: Any) -> None:
    pkcs1 = alipay.app_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    pkcs8, public = alipay.private_pem(alipay.app_key), alipay.public_pem(alipay.alipay_key)
    for private_key in (pkcs1, body(pkcs1), pkcs8, body(pkcs8)):
        for alipay_public_key in (public, body(public)):
            values = alipay.settings(private_key=private_key, alipay_public_key=alipay_public_key)
            AlipayChannel(AlipaySettings.read(values))


def test_the_defaults_are_production(alipay: Any) -> None:
    settings = AlipaySettings.read(alipay.settings(gateway=None))
    assert settings.gateway == "https://openapi.alipay.com/gateway.do"
    assert settings.sign_type == "RSA2"


def test_certificate_mode_knows_every_serial(alipay: Any) -> None:
    account = alipay.channel(**certificates(alipay))._gateway.account

    def serial(number: int) -> str:
        return hashlib.md5(f"CN=Ant Test CA{number}".encode(), usedforsecurity=False).hexdigest()

    assert (account.app_serial, account.root_serial) == (serial(1), serial(3))
    assert set(account.alipay_keys) == {serial(2)}
    assert account.certificate_mode


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"alipay_public_key": None}, "alipay_public_key"),
        ({"alipay_public_key": "APP"}, "alipay_public_key"),
        ({"alipay_public_key": "nonsense"}, "alipay_public_key"),
        ({"private_key": "nonsense"}, "private_key"),
        ({"private_key": "SHORT"}, "private_key"),
        ({"app_certificate": "CERTIFICATE"}, "app_certificate"),
        ({"alipay_root_certificate": "CERTIFICATE"}, "alipay_root_certificate"),
        ({"next_alipay_certificate": "CERTIFICATE"}, "next_alipay_certificate"),
        ({"sign_type": "MD5"}, "sign_type"),
        ({"aes_key": "nonsense"}, "aes_key"),
        ({"aes_key": base64.b64encode(bytes(15)).decode()}, "aes_key"),
        ({"app_id": "my app"}, "app_id"),
        ({"seller_id": "1088000000000001"}, "seller_id"),
        ({"service_provider_id": "2088"}, "service_provider_id"),
        ({"mini_program_app_id": "x"}, "mini_program_app_id"),
        ({"auth_app_id": "2021000000000009"}, "auth_app_id"),
        ({"app_auth_token": "token", "seller_id": None}, "seller_id"),
        ({"gateway": "openapi.alipay.com"}, "gateway"),
        ({"gateway": "https://openapi.alipay.com/gateway.do?a=b"}, "gateway"),
        ({"oauth_authorize_url": "ftp://x/y"}, "oauth_authorize_url"),
        ({"unknown": "x"}, "unknown"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_by_name(
    alipay: Any, changes: dict[str, object], field: str
) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    texts = {
        "APP": alipay.public_pem(alipay.app_key),
        "SHORT": alipay.private_pem(short),
        "CERTIFICATE": alipay.certificate(alipay.alipay_key, 5),
    }
    values = {name: texts.get(str(value), value) for name, value in changes.items()}
    values = {name: None if value == "None" else value for name, value in values.items()}
    with pytest.raises(InvalidSettings) as error:
        AlipayChannel(AlipaySettings.read(alipay.settings(**values)))
    assert error.value.field == f"settings.{field}"
    assert error.value.remedy
    assert "PRIVATE" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"app_certificate": None}, "app_certificate"),
        ({"alipay_certificate": None}, "alipay_certificate"),
        ({"alipay_root_certificate": None}, "alipay_root_certificate"),
        ({"alipay_public_key": "PUBLIC"}, "app_certificate"),
        ({"app_certificate": "OTHER"}, "app_certificate"),
        ({"alipay_root_certificate": "no pem"}, "alipay_root_certificate"),
        ({"next_alipay_certificate": "no pem"}, "next_alipay_certificate"),
        ({"sign_type": "RSA"}, "sign_type"),
    ],
    ids=str,
)
def test_certificate_mode_is_whole_and_alone(
    alipay: Any, changes: dict[str, object], field: str
) -> None:
    texts = {
        "PUBLIC": alipay.public_pem(alipay.alipay_key),
        "OTHER": alipay.certificate(alipay.other_key, 6),
    }
    values = {
        **certificates(alipay),
        **{name: texts.get(str(value), value) for name, value in changes.items()},
    }
    with pytest.raises(InvalidSettings) as error:
        AlipayChannel(AlipaySettings.read(alipay.settings(**values)))
    assert error.value.field == f"settings.{field}"


def test_no_secret_is_shown(alipay: Any) -> None:
    aes_key = base64.b64encode(b"sixteen bytes ok").decode()
    values = alipay.settings(aes_key=aes_key, app_auth_token="hush-token")
    settings = AlipaySettings.read(values)
    channel = AlipayChannel(settings)
    shown = f"{settings!r} {channel!r} {channel._gateway!r} {channel._gateway.account!r}"
    assert "2021000000000001" in shown
    for secret in (aes_key, "hush-token", "PRIVATE KEY", "sixteen bytes"):
        assert secret not in shown


def test_an_error_about_a_key_holds_nothing_of_it(alipay: Any) -> None:
    half = body(alipay.private_pem(alipay.app_key))[:400]
    with pytest.raises(InvalidSettings) as error:
        AlipayChannel(AlipaySettings.read(alipay.settings(private_key=half)))
    assert half[:20] not in str(error.value)


def test_the_channel_has_exactly_the_verbs_that_it_declares() -> None:
    manifest = channel_type.manifest
    assert manifest.id == "alipay"
    assert manifest.products == frozenset(Product) - {Product.AGREEMENT}
    assert manifest.currencies == {"CNY"}
    for capability in Capability:
        for verb in CAPABILITY_PROTOCOLS[capability]:
            assert hasattr(AlipayChannel, verb) == (capability in manifest.capabilities)
    assert channel_type.settings is AlipaySettings
    assert package.__all__ == ["AlipayChannel", "AlipaySettings", "channel_type"]


def test_a_channel_type_opens_an_account(alipay: Any) -> None:
    settings = channel_type.settings.read(alipay.settings())
    assert channel_type.open(settings).manifest is channel_type.manifest
