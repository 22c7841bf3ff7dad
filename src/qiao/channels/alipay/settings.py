"""What one Alipay account needs: an app, its key, and how Alipay's own key is known."""

from typing import Literal

from qiao.channels.settings import Secret, Settings

GATEWAY = "https://openapi.alipay.com/gateway.do"
OAUTH_AUTHORIZE_URL = "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"


class AlipaySettings(Settings, frozen=True):
    """One account. Either ``alipay_public_key`` (公钥模式) or the three certificates (证书模式).

    Keys may be PEM or the bare base64 body that Alipay's key tool prints, certificates are PEM.
    :class:`~qiao.channels.alipay.account.Account` loads them and refuses contradictions.
    """

    app_id: str
    private_key: Secret
    """应用私钥: the app's own private key."""
    alipay_public_key: str | None = None
    """支付宝公钥: not the app's own public key."""
    app_certificate: str | None = None
    """appCertPublicKey_….crt."""
    alipay_certificate: str | None = None
    """alipayCertPublicKey_RSA2.crt."""
    alipay_root_certificate: str | None = None
    """alipayRootCert.crt."""
    next_alipay_certificate: str | None = None
    """A second Alipay certificate that is trusted too, for the days in which Alipay changes it."""
    sign_type: Literal["RSA2", "RSA"] = "RSA2"
    """RSA (SHA-1) only for old apps that are still set to it in Alipay's console."""
    aes_key: Secret | None = None
    """接口内容加密密钥: base64; biz_content is encrypted when it is given."""
    app_auth_token: Secret | None = None
    """The merchant's authorisation, when the app is a service provider's (服务商)."""
    auth_app_id: str | None = None
    """The app id of the merchant that gave ``app_auth_token``."""
    seller_id: str | None = None
    """The merchant's Alipay user id (PID, 2088…); notifications for another one are refused."""
    service_provider_id: str | None = None
    """The service provider's PID: sent as ``sys_service_provider_id``."""
    mini_program_app_id: str | None = None
    """The mini program in which payments happen: sent as ``op_app_id``."""
    agreement_product: Literal["CYCLE_PAY_AUTH", "GENERAL_WITHHOLDING"] = "CYCLE_PAY_AUTH"
    """Which product the merchant signed for agreements: 周期扣款 or 商家扣款."""
    gateway: str = GATEWAY
    oauth_authorize_url: str = OAUTH_AUTHORIZE_URL
