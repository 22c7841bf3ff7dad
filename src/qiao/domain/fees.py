"""What is taken of a payment, by a channel or by the platform: whole numbers, rounded half up."""

from dataclasses import dataclass
from typing import Any, Final

BASIS: Final = 10_000
"""Basis points in the whole: 60 of them are 0.6 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """So many basis points of the amount and a fixed sum, within bounds; minor units.

    ``returned``: what is refunded gives its share of the fee back.
    """

    basis_points: int = 0
    fixed_minor: int = 0
    min_minor: int = 0
    max_minor: int | None = None
    returned: bool = False

    def of(self, amount_minor: int) -> int:
        """The fee for an amount. Half a minor unit is rounded up (四舍五入, as acquirers do).

        The share is rounded, then the fixed sum added, then the bounds applied.
        """
        share = (amount_minor * self.basis_points + BASIS // 2) // BASIS
        fee = max(share + self.fixed_minor, self.min_minor)
        return fee if self.max_minor is None else min(fee, self.max_minor)

    def returned_minor(self, fee_minor: int, captured_minor: int, refunded_minor: int) -> int:
        """How much of the fee has gone back once so much of the capture has been refunded."""
        if not self.returned:
            return 0
        return (2 * fee_minor * refunded_minor + captured_minor) // (2 * captured_minor)

    def document(self) -> dict[str, Any]:
        """As the database keeps and reads it (``fee_of`` there does what ``of`` does)."""
        return {
            "basis_points": self.basis_points,
            "fixed": self.fixed_minor,
            "min": self.min_minor,
            "max": self.max_minor,
            "returned": self.returned,
        }
