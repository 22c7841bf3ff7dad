"""What API v2's error codes mean, without their underscores.

Source: the error tables of https://pay.weixin.qq.com/doc/v2/merchant/4011935214 (order), 4011937125
(payment code), 4011937361 (reversal), 4011935217 (refund), and for a charge by an agreement of
https://pay.weixin.qq.com/wiki/doc/api/wxpay_v2/papay/chapter3_8.shtml.
"""

from collections.abc import Mapping
from typing import Final

NOT_FOUND: Final = frozenset({"ORDERNOTEXIST"})
REFUND_NOT_FOUND: Final = frozenset({"REFUNDNOTEXIST"})
USER_PAYING: Final = frozenset({"USERPAYING"})
ALREADY: Final = frozenset({"ORDERPAID", "OUTTRADENOUSED", "ORDERREVERSED", "ORDERCLOSED"})
"""The number was used before: ask how it stands with it."""
NOT_REVERSIBLE: Final = ALREADY | {"REVERSEEXPIRE", "TRADESTATEERROR"}
NO_STATEMENT: Final = frozenset({"nobillexist", "billcreating", "billnotexist"})
"""``return_msg`` of a day without a bill, in lower case and without blanks."""
FAILURES: Final = {
    "签名错误": "SIGNERROR",
    "签名失败": "SIGNERROR",
    "appid不存在": "APPIDNOTEXIST",
    "商户号mch_id或sub_mch_id不存在": "MCHIDNOTEXIST",
    "商户号mch_id与appid不匹配": "APPIDMCHIDNOTMATCH",
    "mch_id参数格式错误": "PARAMERROR",
    "参数格式校验错误": "PARAMERROR",
    "缺少参数": "LACKPARAMS",
    "invalid ": "PARAMERROR",
}
"""How ``return_msg`` begins for a request that was turned away at the door. It comes unsigned, for
who asks is not known yet; any other leaves it open what happened."""


def _table(codes: Mapping[str, str]) -> Mapping[str, str]:
    return {code: meaning for meaning, names in codes.items() for code in names.split()}


_COMMON: Final = {
    "account_misconfigured": "SIGNERROR NOAUTH APPIDMCHIDNOTMATCH MCHIDNOTEXIST APPIDNOTEXIST "
    "CERTERROR",
    "invalid_request": "PARAMERROR LACKPARAMS XMLFORMATERROR NOTUTF8 POSTDATAEMPTY "
    "REQUIREPOSTMETHOD",
    "rate_limited": "FREQUENCYLIMITED INVALIDREQTOOMUCH",
}
PAYMENT_DECLINES: Final = _table(
    {
        **_COMMON,
        "insufficient_funds": "NOTENOUGH",
        "account_restricted": "ACCOUNTERROR USERACCOUNTABNORMAL",
        "invalid_auth_code": "AUTHCODEEXPIRE AUTHCODEERROR AUTHCODEINVALID",
        "payer_not_allowed": "BUYERMISMATCH OPENIDMISMATCH",
        "payment_method_unavailable": "NOTSUPORTCARD NOTSUPPORTCARD",
        "limit_exceeded": "RULELIMIT",
        "declined": "TRADEERROR",
    }
)
CONTRACT_NOT_FOUND: Final = frozenset({"CONTRACTNOTEXIST"})
"""Seen in answers that merchants quote; no table names it."""
CHARGE_DECLINES: Final[Mapping[str, str]] = {
    **PAYMENT_DECLINES,
    **dict.fromkeys(CONTRACT_NOT_FOUND, "agreement_ended"),
}
"""Of a charge by an agreement (申请扣款)."""
DOUBTFUL_DECLINES: Final = frozenset({"INVALIDREQUEST"})
"""Said of a wrong request and of a repeated one (重复请求支付) alike: look for the order first."""
REFUND_REFUSALS: Final = _table(
    {
        "insufficient_funds": "NOTENOUGH",
        "account_restricted": "USERACCOUNTABNORMAL",
        "payment_not_found": "ORDERNOTEXIST INVALIDTRANSACTIONID",
    }
)
DOUBTFUL_REFUND_REFUSALS: Final = _table(
    {
        **_COMMON,
        "payment_not_refundable": "ERROR INVALIDREQUEST TRADEERROR TRADESTATEERROR TRADEOVERDUE "
        "REFUNDFEEMISMATCH REFUNDFEEINVALID",
    }
)
"""Refusals that say nothing about an earlier send of the same refund, or that its success may have
caused: look first."""
