"""Who the payer is: OAuth of the official account. Answers are not signed, only under TLS.

Source: https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
"""

from typing import Final
from urllib.parse import urlencode

from qiao.channels.wechat.gateway import optional, read_object
from qiao.channels.wechat.settings import WechatAccountSettings
from qiao.channels.wire import HttpRequest, Operation
from qiao.domain.errors import AnswerUnreadable, InvalidSettings

CODE_REFUSED: Final = frozenset({40029, 40163, 41008, 42003})
_OK: Final = 200


def authorization_url(settings: WechatAccountSettings, *, redirect_url: str, state: str) -> str:
    """Where the payer's browser, inside WeChat, goes for a code."""
    asked = {
        "appid": settings.appid,
        "redirect_uri": redirect_url,
        "response_type": "code",
        "scope": "snsapi_base",
        "state": state,
    }
    return f"{settings.oauth_authorize_url}?{urlencode(asked)}#wechat_redirect"


def identify_payer(settings: WechatAccountSettings, code: str) -> Operation[str | None]:
    """The openid; None when the code is wrong, old or used. Raises InvalidSettings."""
    if not settings.app_secret:
        raise InvalidSettings(
            "missing",
            field="settings.app_secret",
            remedy="give the AppSecret of the official account; it asks who the payer is",
        )
    asked = {
        "appid": settings.appid,
        "secret": settings.app_secret,
        "code": code,
        "grant_type": "authorization_code",
    }
    response = yield HttpRequest(
        method="GET",
        url=f"{settings.oauth_gateway}/sns/oauth2/access_token?{urlencode(asked)}",
        effect=False,
    )
    if response.status != _OK:
        raise AnswerUnreadable(f"it answered with HTTP status {response.status}")
    fields = read_object(response.body)
    if fields.get("errcode") in CODE_REFUSED:
        return None
    openid = optional(fields, "openid")
    if openid is None:
        raise AnswerUnreadable("there is no openid")
    return openid
