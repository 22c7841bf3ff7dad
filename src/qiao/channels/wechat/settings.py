"""What one WeChat Pay account needs, on API v3 or, where it says so, on API v2."""

from collections.abc import Mapping
from typing import Literal, Self, cast

import msgspec

from qiao.channels.settings import Secret, Settings
from qiao.crypto.keyed_digest import KeyedDigest
from qiao.domain.errors import InvalidSettings

GATEWAY = "https://api.mch.weixin.qq.com"
OAUTH_GATEWAY = "https://api.weixin.qq.com"
OAUTH_AUTHORIZE_URL = "https://open.weixin.qq.com/connect/oauth2/authorize"
SCENE_REPORTS = {
    "1000": ["活动名称", "奖励说明"],
    "1005": ["岗位类型", "报酬说明"],
}


class WechatAccountSettings(Settings, frozen=True, kw_only=True):
    """What both versions of the API need. In service-provider mode ``sub_mchid`` is the merchant's.

    ``read`` gives :class:`WechatV2Settings` to an account that says ``api_version = "v2"``, and
    :class:`WechatSettings` to every other.
    """

    api_version: str = "v3"
    mchid: str
    """商户号; the service provider's own when ``sub_mchid`` is given."""
    appid: str
    sub_mchid: str | None = None
    sub_appid: str | None = None
    app_secret: Secret | None = None
    """AppSecret of the official account: only for asking who a payer is."""
    mini_program_appid: str | None = None
    """The mini program's appid, when it is another than ``appid``."""
    gateway: str = GATEWAY
    oauth_gateway: str = OAUTH_GATEWAY
    oauth_authorize_url: str = OAUTH_AUTHORIZE_URL

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Self:
        """The settings of the version that ``api_version`` names. Raises InvalidSettings."""
        if cls is not WechatAccountSettings:
            return super().read(values)
        version = values.get("api_version", "v3")
        if not isinstance(version, str) or version not in _VERSIONS:
            raise InvalidSettings(
                "not a version of WeChat Pay's API",
                field="settings.api_version",
                remedy="say v3, or v2 for a merchant that is still on it",
            )
        _refuse_key_of_other_version(version, values)
        return cast("Self", _VERSIONS[version].read(values))


class WechatSettings(WechatAccountSettings, frozen=True, kw_only=True):
    """One account on API v3.

    :class:`~qiao.channels.wechat.account.Account` loads the keys and refuses contradictions.
    """

    api_version: Literal["v3"] = "v3"
    private_key: Secret
    """apiclient_key.pem: the merchant's private key."""
    serial_no: str | None = None
    """The serial of the merchant's certificate, upper-case hex; or give ``certificate``."""
    certificate: str | None = None
    """apiclient_cert.pem: only its serial is taken from it."""
    api_v3_key: Secret
    """APIv3密钥: 32 characters."""
    platform_keys: dict[str, str]
    """WeChat Pay's own keys in PEM, by PUB_KEY_ID_… (微信支付公钥) or by the serial of the platform
    certificate (平台证书). Several may be valid at once; each message says which signed it."""
    transfer_scene_reports: dict[str, list[str]] = msgspec.field(
        default_factory=lambda: dict(SCENE_REPORTS)
    )
    """What each transfer scene (转账场景) must report, by its id; told with the description."""


class WechatV2Settings(WechatAccountSettings, frozen=True, kw_only=True):
    """One account on API v2.

    :class:`~qiao.channels.wechat.v2.account.Account` loads the keys and refuses contradictions.
    """

    api_version: Literal["v2"]
    api_key: Secret
    """API密钥 (APIv2密钥): 32 characters. It signs both ways."""
    sign_type: KeyedDigest = KeyedDigest.HMAC_SHA256
    """How both sides sign. What is signed otherwise is not believed, whatever it says of itself."""
    certificate: Secret
    """apiclient_cert.pem: refunds and reversals are only taken over mutual TLS. It repeats a part
    of its key, and so is not shown either."""
    private_key: Secret
    """apiclient_key.pem, which belongs to the certificate."""
    gateway_ca: str | None = None
    """The CA, in PEM, that signed the gateway's certificate, when it is not one that the system
    trusts: a simulator's, or that of a proxy which opens TLS."""


_VERSIONS: Mapping[str, type[WechatAccountSettings]] = {
    "v3": WechatSettings,
    "v2": WechatV2Settings,
}


def _refuse_key_of_other_version(version: str, values: Mapping[str, object]) -> None:
    """The commonest confusion, in words of its own."""
    own, foreign, other = {
        "v3": ("api_v3_key", "api_key", "v2"),
        "v2": ("api_key", "api_v3_key", "v3"),
    }[version]
    if foreign in values:
        raise InvalidSettings(
            f"this is a setting of API {other}, and the account is on {version}",
            field=f"settings.{foreign}",
            remedy=f'say api_version = "{other}", or give {own} instead',
        )
