"""Which refusals of a charge may get better by waiting; after any other none is tried again."""

from typing import Final

AGREEMENT_ENDED: Final = "agreement_ended"
"""The channel's word that the customer, or it, ended the agreement: nothing can be charged."""

MAY_GET_BETTER: Final = frozenset(
    {
        # The customer may have money again, or lift a limit, before the next try.
        *("insufficient_funds", "limit_exceeded", "payment_method_unavailable"),
        *("account_restricted", "risk_rejected", "declined", "closed"),
        # The merchant, or whoever runs Qiao, may mend it: the customer has done nothing wrong.
        *("account_misconfigured", "merchant_restricted", "rate_limited"),
        *("merchant_suspended", "app_suspended", "organisation_suspended"),
        *("account_unavailable", "not_sent"),
    }
)
"""A refusal's code that is not here (a wrong request, an amount that was not agreed on, a payer who
may not pay) says the same tomorrow."""
