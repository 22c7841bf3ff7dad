"""Settings choose the version of the API, and say what is wrong, where, and what to do."""

from typing import Any

import pytest

from qiao.channels.interface import CAPABILITY_PROTOCOLS
from qiao.channels.wechat import (
    WechatAccountSettings,
    WechatChannel,
    WechatSettings,
    WechatV2Channel,
    WechatV2Settings,
    channel_type,
    open_account,
)
from qiao.crypto.keyed_digest import KeyedDigest
from qiao.domain.errors import InvalidSettings
from qiao.simulators.wechat import new_credentials


def test_the_version_chooses_settings_and_channel(wechat: Any) -> None:
    new = new_credentials().settings("ordinary", base_url="https://gateway.test")
    for values in (new, {**new, "api_version": "v3"}):
        settings = channel_type.settings.read(values)
        assert isinstance(settings, WechatSettings)
        assert isinstance(channel_type.open(settings), WechatChannel)
    assert WechatSettings.read(new) == WechatAccountSettings.read(new)
    old = WechatAccountSettings.read(wechat.settings())
    assert isinstance(old, WechatV2Settings)
    assert old.sign_type is KeyedDigest.HMAC_SHA256
    assert isinstance(open_account(old), WechatV2Channel)
    assert WechatV2Settings.read(wechat.settings()) == old


def test_a_v2_account_promises_less(wechat: Any) -> None:
    old = wechat.open().manifest
    assert (old.id, old.products) == (channel_type.manifest.id, channel_type.manifest.products)
    assert old.capabilities < channel_type.manifest.capabilities
    for capability, verbs in CAPABILITY_PROTOCOLS.items():
        there = all(hasattr(wechat.open(), verb) for verb in verbs)
        assert there is (capability in old.capabilities)


@pytest.mark.parametrize(
    ("changed", "field", "word"),
    [
        ({"api_version": "v4"}, "settings.api_version", "v2"),
        ({"api_version": ["v2"]}, "settings.api_version", "v2"),
        ({"api_version": None}, "settings.api_version", "v3"),
        ({"api_version": "v3"}, "settings.api_key", 'api_version = "v2"'),
        ({"api_v3_key": "x" * 32}, "settings.api_v3_key", 'api_version = "v3"'),
        ({"api_key": "short"}, "settings.api_key", "API密钥"),
        ({"api_key": "键" * 32}, "settings.api_key", "API密钥"),
        ({"sign_type": "SM3"}, "settings.sign_type", "page"),
        ({"certificate": "nothing"}, "settings.certificate", "PEM"),
        ({"private_key": "nothing"}, "settings.private_key", "PEM"),
        ({"private_key": "other"}, "settings.private_key", "apiclient_cert.pem"),
        ({"private_key": "bare"}, "settings.private_key", "whole"),
        ({"gateway_ca": "nothing"}, "settings.gateway_ca", "leave it out"),
        ({"platform_keys": {}}, "settings.platform_keys", "page"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_by_name(
    wechat: Any, changed: dict[str, Any], field: str, word: str
) -> None:
    body = "".join(wechat.material["private_key"].splitlines()[1:-1])
    named = {"other": wechat.material["other_key"], "bare": body}
    if changed.get("private_key") in named:
        changed = {"private_key": named[changed["private_key"]]}
    with pytest.raises(InvalidSettings) as error:
        wechat.open(**changed)
    assert error.value.field == field
    assert word in error.value.remedy
    assert body[:40] not in str(error.value)


@pytest.mark.parametrize("name", ["api_key", "certificate", "private_key", "mchid", "appid"])
def test_nothing_may_be_missing(wechat: Any, name: str) -> None:
    values = wechat.settings()
    del values[name]
    with pytest.raises(InvalidSettings) as error:
        channel_type.settings.read(values)
    assert error.value.field == f"settings.{name}"


def test_no_secret_is_shown(wechat: Any) -> None:
    shown = repr(WechatAccountSettings.read(wechat.settings(app_secret="hush-hush-hush")))
    assert "1900000109" in shown
    assert wechat.api_key not in shown
    assert "hush" not in shown
    assert "BEGIN" not in shown
