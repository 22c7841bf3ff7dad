"""What Alipay's refusals mean: only codes after which surely no money moved are in these tables.

Whatever a table does not hold leaves the outcome open: it is asked about, never guessed. Sources:
the error code tables of alipay.trade.pay, .precreate, .create, .refund, .order.settle and
.royalty.relation.bind, alipay.user.agreement.query, alipay.merchant.tradecomplain.reply.submit and
alipay.fund.trans.uni.transfer at https://opendocs.alipay.com/.
"""

from collections.abc import Mapping
from typing import Final

from qiao.channels.alipay.gateway import Answer

TRADE_NOT_EXIST: Final = "ACQ.TRADE_NOT_EXIST"

ALREADY_PAID: Final = frozenset({"ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_FINISHED"})
"""A new order was refused because its number is already paid: the trade says by whom and when."""

NOT_OPEN: Final = frozenset(
    {
        "ACQ.CANCEL_NOT_ALLOWED",
        "ACQ.REASON_ILLEGAL_STATUS",
        "ACQ.REASON_TRADE_BEEN_FREEZEN",
        "ACQ.REASON_TRADE_REFUND_FEE_ERR",
        "ACQ.REASON_TRADE_STATUS_INVALID",
        "ACQ.SELLER_BALANCE_NOT_ENOUGH",
        "ACQ.TRADE_CANCEL_TIME_OUT",
        "ACQ.TRADE_HAS_CLOSE",
        "ACQ.TRADE_HAS_FINISHED",
        "ACQ.TRADE_HAS_SUCCESS",
        "ACQ.TRADE_STATUS_ERROR",
    }
)
"""A trade was not closed or taken back because of its state: ask for the state."""

_TRUNCATED_LENGTH: Final = 32
"""Some of Alipay's products cut their codes off here (``ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIM``)."""


def _table(codes: Mapping[str, str]) -> Mapping[str, str]:
    whole = {code: meaning for meaning, names in codes.items() for code in names.split()}
    return {code[:_TRUNCATED_LENGTH]: meaning for code, meaning in whole.items()} | whole


PAYMENT_DECLINES: Final = _table(
    {
        "insufficient_funds": "ACQ.BUYER_BALANCE_NOT_ENOUGH ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH",
        "invalid_auth_code": "ACQ.PAYMENT_AUTH_CODE_INVALID ACQ.SOUNDWAVE_PARSER_FAIL",
        "account_restricted": "ACQ.BUYER_ENABLE_STATUS_FORBID ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT",
        "limit_exceeded": "ACQ.BEYOND_PAY_RESTRICTION ACQ.BEYOND_PER_RECEIPT_DAY_RESTRICTION"
        " ACQ.BEYOND_PER_RECEIPT_RESTRICTION ACQ.BEYOND_PER_RECEIPT_SINGLE_RESTRICTION"
        " ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR"
        " ACQ.PRODUCT_AMOUNT_LIMIT_ERROR ACQ.TOTAL_FEE_EXCEED",
        "payment_method_unavailable": "ACQ.ERROR_BALANCE_PAYMENT_DISABLE"
        " ACQ.MOBILE_PAYMENT_SWITCH_OFF ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE"
        " ACQ.USER_FACE_PAYMENT_SWITCH_OFF",
        "payer_not_allowed": "ACQ.BUYER_NOT_EXIST ACQ.BUYER_SELLER_EQUAL",
        "risk_rejected": "ACQ.PAYMENT_REQUEST_HAS_RISK",
        "merchant_restricted": "ACQ.SELLER_BEEN_BLOCKED ACQ.SELLER_NOT_EXIST",
        "account_misconfigured": "ACQ.ACCESS_FORBIDDEN ACQ.AGREEMENT_NOT_EXIST"
        " ACQ.INVALID_STORE_ID ACQ.MERCHANT_AGREEMENT_INVALID ACQ.MERCHANT_AGREEMENT_NOT_EXIST"
        " ACQ.MERCHANT_STATUS_NOT_NORMAL ACQ.PARTNER_ERROR",
        "invalid_request": "ACQ.EXIST_FORBIDDEN_WORD ACQ.INVALID_PARAMETER"
        " ACQ.RISK_MERCHANT_IP_NOT_EXIST",
        "closed": "ACQ.TRADE_HAS_CLOSE",
        "declined": "ACQ.PAYMENT_FAIL ACQ.PULL_MOBILE_CASHIER_FAIL",
    }
)

CHARGE_DECLINES: Final[Mapping[str, str]] = {
    **PAYMENT_DECLINES,
    **_table(
        {
            "agreement_ended": "ACQ.AGREEMENT_NOT_EXIST ACQ.AGREEMENT_INVALID"
            " ACQ.AGREEMENT_STATUS_NOT_NORMAL",
            "agreement_limit_exceeded": "ACQ.CYCLE_PAY_SINGLE_FEE_EXCEED"
            " ACQ.CYCLE_PAY_TOTAL_FEE_EXCEED ACQ.CYCLE_PAY_TOTAL_TIMES_EXCEED",
            "outside_charge_window": "ACQ.CYCLE_PAY_DATE_NOT_MATCH",
        }
    ),
}
"""Of a charge by an agreement. ``agreement_ended`` (不存在, 失效, 非NORMAL) wants a new one."""

AGREEMENT_NOT_FOUND: Final = "USER_AGREEMENT_NOT_EXIST"

REFUND_REFUSALS: Final = _table(
    {
        "insufficient_funds": "ACQ.SELLER_BALANCE_NOT_ENOUGH",
        "account_misconfigured": "ACQ.ACCESS_FORBIDDEN",
        "account_restricted": "ACQ.BUYER_ENABLE_STATUS_FORBID",
        "amount_not_allowed": "ACQ.NOT_ALLOW_PARTIAL_REFUND",
        "invalid_request": "ACQ.INVALID_PARAMETER",
        "payer_not_allowed": "ACQ.BUYER_NOT_EXIST ACQ.REFUND_ACCOUNT_NOT_EXIST",
        "payment_not_found": TRADE_NOT_EXIST,
    }
)

DOUBTFUL_REFUND_REFUSALS: Final = _table(
    {
        "amount_not_allowed": "ACQ.REASON_TRADE_REFUND_FEE_ERR ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
        " ACQ.REFUND_FEE_ERROR",
        "payment_not_refundable": "ACQ.REASON_TRADE_BEEN_FREEZEN ACQ.REASON_TRADE_STATUS_INVALID"
        " ACQ.TRADE_HAS_CLOSE ACQ.TRADE_HAS_FINISHED ACQ.TRADE_NOT_ALLOW_REFUND"
        " ACQ.TRADE_STATUS_ERROR",
    }
)
"""Refusals that an earlier send of the same refund may have caused by succeeding: look first."""

TRANSFER_REFUSALS: Final = _table(
    {
        "insufficient_funds": "BALANCE_IS_NOT_ENOUGH PAYER_BALANCE_NOT_ENOUGH",
        "account_misconfigured": "NO_ACCOUNT_RECEIVE_PERMISSION NO_PERMISSION_ACCOUNT"
        " PERMIT_CHECK_PERM_LIMITED PRODUCT_NOT_SIGN",
        "account_restricted": "PAYCARD_UNABLE_PAYMENT PAYER_CERT_EXPIRED PAYER_DATA_INCOMPLETE"
        " PAYER_STATUS_ERROR PAYER_USERINFO_STATUS_ERROR PAYER_USER_INFO_ERROR"
        " PERMIT_CHECK_PERM_IDENTITY_THEFT PERMIT_PAYER_FORBIDDEN PERMIT_PAYER_LOWEST_FORBIDDEN",
        "invalid_request": "INVALID_PARAMETER MEMO_REQUIRED_IN_TRANSFER_ERROR"
        " REMARK_HAS_SENSITIVE_WORD",
        "limit_exceeded": "BLOCK_USER_FORBBIDEN_RECIEVE CERT_MISS_ACC_LIMIT CERT_MISS_TRANS_LIMIT"
        " EXCEED_LIMIT_DM_MAX_AMOUNT EXCEED_LIMIT_ENT_SM_AMOUNT EXCEED_LIMIT_MM_MAX_AMOUNT"
        " EXCEED_LIMIT_PERSONAL_SM_AMOUNT EXCEED_LIMIT_SM_AMOUNT EXCEED_LIMIT_SM_MIN_AMOUNT"
        " EXCEED_LIMIT_UNRN_DM_AMOUNT",
        "payee_not_allowed": "PAYEE_ACCOUNT_STATUS_ERROR PAYEE_ACC_OCUPIED"
        " PAYEE_NOT_RELNAME_CERTIFY PAYEE_USERINFO_STATUS_ERROR PERMIT_NON_BANK_LIMIT_PAYEE"
        " PERM_AML_NOT_REALNAME_REV",
        "payee_not_found": "PAYEE_ACCOUNT_NOT_EXSIT PAYEE_NOT_EXIST",
        "payee_name_mismatch": "PAYEE_USER_INFO_ERROR",
        "risk_rejected": "SECURITY_CHECK_FAILED",
    }
)

PROFIT_SHARING_REFUSALS: Final = _table(
    {
        "account_misconfigured": "ACQ.ACCESS_FORBIDDEN",
        "amount_not_allowed": "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",
        "invalid_request": "ACQ.INVALID_PARAMETER",
        "payee_not_allowed": "ACQ.ROYALTY_RECEIVER_INVALID ACQ.USER_LOGONID_DUP",
        "payment_not_found": TRADE_NOT_EXIST,
    }
)

DOUBTFUL_RETURN_REFUSALS: Final = {
    **DOUBTFUL_REFUND_REFUSALS,
    **_table({"amount_not_allowed": "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"}),
}
"""Refusals that an earlier send of the same return may have caused by succeeding: look first."""

RECEIVER_REFUSALS: Final = _table(
    {
        "account_misconfigured": "ACQ.ACCESS_FORBIDDEN ACQ.PRODUCT_UNSIGN",
        "invalid_request": "ACQ.INVALID_PARAMETER ACQ.INVALID_RECEIVER_TYPE"
        " ACQ.RECEIVER_LIST_EMPTY",
        "limit_exceeded": "ACQ.RELATION_QUANTITY_LIMIT",
        "payee_not_found": "ACQ.USER_NOT_EXIST",
    }
)

DISPUTE_REFUSALS: Final = _table({"invalid_request": "INVALID_PARAMETER"})

NO_STATEMENT: Final = frozenset({"BILL_NOT_EXIST", "NO_BILL_DATA"})
"""The last part of the code, in capitals: Alipay has written it in several ways."""


def gateway_refusal(answer: Answer) -> str:
    """The domain's code for a request that the gateway itself refused."""
    if answer.sub_code.startswith(("isv.missing-", "isv.invalid-parameter")):
        return "invalid_request"
    return "account_misconfigured"
