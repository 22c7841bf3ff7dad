"""The ledger's accounts, and what each happening books: double entry, as data.

Qiao records and orchestrates; it holds no funds. ``channel_receivable`` is what a channel owes for
what its customers paid, ``merchant_payable`` what of it is the merchant's: both are claims between
others, and Qiao's books say how they stand.

An entry debits one account and credits another by one amount, so debits equal credits always.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class LedgerAccount(StrEnum):
    """The kinds of account. A receivable is kept for each channel account: ``kind:acc_…``."""

    CHANNEL_RECEIVABLE = "channel_receivable"
    """What the channel owes us for captured money."""
    MERCHANT_PAYABLE = "merchant_payable"
    """What is the merchant's, before settlement."""
    REFUNDS_IN_TRANSIT = "refunds_in_transit"
    """Refunds that were asked for and whose end is not known."""
    TRANSFERS_IN_TRANSIT = "transfers_in_transit"
    """Money paid out that has not arrived yet."""
    SHARES_IN_TRANSIT = "shares_in_transit"
    """Shares of payments on their way to their receivers."""
    SURPLUS = "surplus"
    """Money that came late or twice, and has to go back."""
    SUSPENSE = "suspense"
    """Money of which it is not known whose it is."""
    CHARGEBACKS = "chargebacks"
    """Money that a cardholder's bank took back."""
    CHANNEL_FEES = "channel_fees"
    """What channels keep for their work."""
    PLATFORM_FEES = "platform_fees"
    """What the platform's operator keeps."""


class Side(StrEnum):
    """The side on which an account grows."""

    DEBIT = "debit"
    CREDIT = "credit"


NORMAL_SIDE: Final[Mapping[LedgerAccount, Side]] = {
    LedgerAccount.CHANNEL_RECEIVABLE: Side.DEBIT,
    LedgerAccount.CHARGEBACKS: Side.DEBIT,
    LedgerAccount.CHANNEL_FEES: Side.DEBIT,
    LedgerAccount.MERCHANT_PAYABLE: Side.CREDIT,
    LedgerAccount.REFUNDS_IN_TRANSIT: Side.CREDIT,
    LedgerAccount.TRANSFERS_IN_TRANSIT: Side.CREDIT,
    LedgerAccount.SHARES_IN_TRANSIT: Side.CREDIT,
    LedgerAccount.SURPLUS: Side.CREDIT,
    LedgerAccount.SUSPENSE: Side.CREDIT,
    LedgerAccount.PLATFORM_FEES: Side.CREDIT,
}


def kind_of(account: str) -> LedgerAccount:
    """The kind of an account by its name; raises ValueError when there is none."""
    return LedgerAccount(account.partition(":")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What stands on one account in one currency, in minor units."""

    account: str
    currency: str
    debits_minor: int
    credits_minor: int

    @property
    def balance_minor(self) -> int:
        """Positive on the side on which the account grows."""
        difference = self.debits_minor - self.credits_minor
        return difference if NORMAL_SIDE[kind_of(self.account)] is Side.DEBIT else -difference
