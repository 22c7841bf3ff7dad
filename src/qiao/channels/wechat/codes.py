"""What WeChat Pay's error codes mean, without their underscores.

Source: the error tables of https://pay.weixin.qq.com/doc/v3/merchant/4012791911 and its siblings.
"""

from collections.abc import Mapping
from typing import Final

NOT_FOUND: Final = frozenset({"ORDERNOTEXIST", "RESOURCENOTEXISTS", "NOTFOUND"})
USER_PAYING: Final = frozenset({"USERPAYING"})
ALREADY: Final = frozenset({"ORDERPAID", "OUTTRADENOUSED", "ORDERREVERSED", "ORDERCLOSED"})
"""The number was used before: ask how it stands with it."""
NO_STATEMENT: Final = frozenset({"NOSTATEMENTEXIST", "STATEMENTCREATING"})


def _table(codes: Mapping[str, str]) -> Mapping[str, str]:
    return {code: meaning for meaning, names in codes.items() for code in names.split()}


_COMMON: Final = {
    "account_misconfigured": "SIGNERROR NOAUTH APPIDMCHIDNOTMATCH MCHNOTEXISTS APPIDNOTEXIST",
    "invalid_request": "PARAMERROR",
    "limit_exceeded": "RULELIMIT",
    "rate_limited": "FREQUENCYLIMITED RATELIMITEXCEEDED FREQUENCYLIMITEXCEED",
}
PAYMENT_DECLINES: Final = _table(
    {
        **_COMMON,
        "invalid_request": "PARAMERROR INVALIDREQUEST",
        "insufficient_funds": "NOTENOUGH",
        "account_restricted": "USERACCOUNTABNORMAL ACCOUNTERROR",
        "invalid_auth_code": "AUTHCODEEXPIRE AUTHCODEERROR AUTHCODEINVALID",
        "payer_not_allowed": "OPENIDMISMATCH",
        "payment_method_unavailable": "NOTSUPORTCARD NOTSUPPORTCARD",
        "declined": "TRADEERROR",
    }
)
REFUND_REFUSALS: Final = _table(
    {
        **_COMMON,
        "insufficient_funds": "NOTENOUGH",
        "account_restricted": "USERACCOUNTABNORMAL",
        "payment_not_found": "RESOURCENOTEXISTS ORDERNOTEXIST",
    }
)
DOUBTFUL_REFUND_REFUSALS: Final = _table({"payment_not_refundable": "INVALIDREQUEST TRADEERROR"})
"""Refusals that an earlier send of the same refund may have caused by succeeding: look first."""
TRANSFER_REFUSALS: Final = _table(
    {
        **_COMMON,
        "insufficient_funds": "NOTENOUGH",
        "payee_not_found": "OPENIDERROR",
        "payee_name_mismatch": "NAMENOTMATCH USERNAMEERROR",
        "declined": "TRADEERROR",
    }
)
SHARING_REFUSALS: Final = _table(
    {
        **_COMMON,
        "insufficient_funds": "NOTENOUGH",
        "payment_not_found": "RESOURCENOTEXISTS ORDERNOTEXIST",
    }
)
DOUBTFUL_SHARING_REFUSALS: Final = _table({"payment_not_shareable": "INVALIDREQUEST"})
DOUBTFUL_RETURN_REFUSALS: Final = _table({"amount_not_allowed": "INVALIDREQUEST"})
"""Refusals that an earlier send of the same number may have caused by succeeding: look first."""
RECEIVER_REFUSALS: Final = _table({**_COMMON, "payee_not_allowed": "INVALIDREQUEST"})
DISPUTE_REFUSALS: Final = _table(
    {
        **_COMMON,
        "dispute_not_open": "INVALIDREQUEST",
        "dispute_not_found": "RESOURCENOTEXISTS NOTFOUND",
    }
)
