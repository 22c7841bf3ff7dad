"""What one WeChat Pay account needs: a merchant, its key, and how WeChat Pay's own keys are known."""

from qiao.channels.settings import Secret, Settings

GATEWAY = "https://api.mch.weixin.qq.com"
OAUTH_AUTHORIZE_URL = "https://open.weixin.qq.com/connect/oauth2/authorize"
OAUTH_GATEWAY = "https://api.weixin.qq.com"


class WechatSettings(Settings, frozen=True):
    """One account of API v3. At least one platform key must be there, of either kind.

    Keys may be PEM or bare base64, certificates are PEM.
    :class:`~qiao.channels.wechat.account.Account` loads them and refuses contradictions.
    """

    mchid: str
    """商户号; in service-provider mode the provider's own (sp_mchid)."""
    app_id: str
    """The official account's, mini program's or app's id that is bound to ``mchid``."""
    private_key: Secret
    """商户API私钥, apiclient_key.pem."""
    certificate_serial: str
    """商户API证书序列号: the serial of apiclient_cert.pem, in hex."""
    api_v3_key: Secret
    """APIv3密钥: 32 characters, set in the merchant platform."""
    platform_public_keys: dict[str, str] = {}
    """微信支付公钥 by its 公钥ID (``PUB_KEY_ID_…``). The first one is asked to answer with."""
    platform_certificates: tuple[str, ...] = ()
    """平台证书: several while WeChat Pay changes its own."""
    mini_program_app_id: str | None = None
    """The mini program's id, where it is another than ``app_id`` (or ``sub_app_id``)."""
    mobile_app_id: str | None = None
    """The mobile app's id, where it is another than ``app_id`` (or ``sub_app_id``)."""
    app_secret: Secret | None = None
    """AppSecret of the official account whose open ids identify payers."""
    sub_mchid: str | None = None
    """特约商户号: given, ``mchid`` is a service provider (服务商) acting for it."""
    sub_app_id: str | None = None
    """The sub-merchant's own app; payers are then known by its open ids."""
    transfer_scenes: dict[str, dict[str, str]] = {}
    """转账场景 by their id, each with what WeChat Pay wants reported (信息类型: 信息内容)."""
    gateway: str = GATEWAY
    oauth_authorize_url: str = OAUTH_AUTHORIZE_URL
    oauth_gateway: str = OAUTH_GATEWAY
