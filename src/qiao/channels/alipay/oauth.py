"""The payer's id through OAuth in the wallet (网页授权): no consent page, the id alone.

Sources: https://opendocs.alipay.com/open/284/106001 (publicAppAuthorize) and
alipay.system.oauth.token.
"""

from typing import Final
from urllib.parse import urlencode

from qiao.channels.alipay.gateway import Gateway
from qiao.channels.requests import Context
from qiao.channels.wire import Operation

_CODE_REFUSED: Final = frozenset({"isv.code-invalid", "isv.code-expired", "isv.code-used"})


def authorization_url(gateway: Gateway, *, redirect_url: str, state: str) -> str:
    """Where the payer's browser, inside Alipay, goes for a code."""
    settings = gateway.account.settings
    asked = {
        "app_id": settings.app_id,
        "scope": "auth_base",
        "redirect_uri": redirect_url,
        "state": state,
    }
    return f"{settings.oauth_authorize_url}?{urlencode(asked)}"


def identify_payer(gateway: Gateway, code: str, context: Context) -> Operation[str | None]:
    """The open id, or for older apps the user id; None when the code is wrong, old or used."""
    answer = yield from gateway.call(
        "alipay.system.oauth.token", None, context, grant_type="authorization_code", code=code
    )
    if answer.sub_code in _CODE_REFUSED:
        return None
    if not answer.succeeded:
        raise answer.open()
    return answer.optional("open_id") or answer.text("user_id")
