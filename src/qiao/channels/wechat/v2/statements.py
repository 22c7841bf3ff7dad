"""The trade bill (交易账单), which comes as text; a refusal comes as XML instead.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011935219.
"""

from typing import Final

from qiao.channels.requests import Context, StatementRequest
from qiao.channels.wechat.statements import DOWNLOAD_TIMEOUT_SECONDS, parse_statement, unpacked
from qiao.channels.wechat.v2.codec import read
from qiao.channels.wechat.v2.codes import NO_STATEMENT
from qiao.channels.wechat.v2.gateway import Gateway
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable

_OK: Final = 200


def download_statement(
    gateway: Gateway, request: StatementRequest, context: Context
) -> Operation[bytes | None]:
    """The day's trade bill as text, once its lines add up to its totals.

    Nothing else vouches for it: on API v2 neither a bill nor the refusal of one is signed.
    """
    asked = {"bill_date": f"{request.day:%Y%m%d}", "bill_type": "ALL", "tar_type": "GZIP"}
    response = yield gateway.request(
        "/pay/downloadbill",
        asked,
        context,
        effect=False,
        timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS,
    )
    if response.status != _OK:
        raise AnswerUnreadable(f"it answered with HTTP status {response.status}")
    text = unpacked(response.body)
    if text.lstrip().startswith(b"<xml"):
        message = read(text).get("return_msg", "")
        if message.replace(" ", "").lower() in NO_STATEMENT:
            return None
        raise AnswerUnreadable("there is no bill, and not why it is known")
    parse_statement(text)
    return text
