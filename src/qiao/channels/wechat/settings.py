"""What one WeChat Pay account needs: the merchant's key, WeChat Pay's keys, and the APIv3 key."""

import msgspec

from qiao.channels.settings import Secret, Settings

GATEWAY = "https://api.mch.weixin.qq.com"
OAUTH_GATEWAY = "https://api.weixin.qq.com"
OAUTH_AUTHORIZE_URL = "https://open.weixin.qq.com/connect/oauth2/authorize"
SCENE_REPORTS = {
    "1000": ["活动名称", "奖励说明"],
    "1005": ["岗位类型", "报酬说明"],
}


class WechatSettings(Settings, frozen=True, kw_only=True):
    """One account (API v3). In service-provider mode ``sub_mchid`` names the merchant.

    :class:`~qiao.channels.wechat.account.Account` loads the keys and refuses contradictions.
    """

    mchid: str
    """商户号; the service provider's own when ``sub_mchid`` is given."""
    appid: str
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
    sub_mchid: str | None = None
    sub_appid: str | None = None
    app_secret: Secret | None = None
    """AppSecret of the official account: only for asking who a payer is."""
    mini_program_appid: str | None = None
    """The mini program's appid, when it is another than ``appid``."""
    transfer_scene_reports: dict[str, list[str]] = msgspec.field(
        default_factory=lambda: dict(SCENE_REPORTS)
    )
    """What each transfer scene (转账场景) must report, by its id; told with the description."""
    gateway: str = GATEWAY
    oauth_gateway: str = OAUTH_GATEWAY
    oauth_authorize_url: str = OAUTH_AUTHORIZE_URL
