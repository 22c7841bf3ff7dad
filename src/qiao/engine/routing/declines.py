"""Whose fault a decline was: only for the account's own may another account be tried.

The codes are those into which channels translate (``PAYMENT_DECLINES`` of each). A code that
stands in neither table counts as the customer's: nothing is tried again by itself.
"""

from typing import Final

ACCOUNTS_FAULT: Final = {
    "account_misconfigured": "a key, an agreement or a permission of this account is missing",
    "merchant_restricted": "the channel has blocked or limited this account",
    "rate_limited": "this account has asked too often; the request was not worked on",
}
CUSTOMERS_MATTER: Final = {
    "account_restricted": "the customer's account is limited or not verified",
    "closed": "the order was closed at the channel under this number",
    "declined": "the customer's bank or wallet said no, and not why",
    "insufficient_funds": "the customer has not got enough",
    "invalid_auth_code": "the payment code is spent, expired or misread",
    "invalid_request": "the request itself is wrong, and would be elsewhere",
    "limit_exceeded": "a limit of the customer, or one that may be the customer's",
    "payer_not_allowed": "this customer may not pay here",
    "payment_method_unavailable": "the customer's card or balance cannot be used",
    "risk_rejected": "the channel suspects fraud: asking elsewhere would get round it",
}
