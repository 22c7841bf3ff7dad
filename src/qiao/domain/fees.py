"""What a channel account takes for a payment: whole numbers all the way, rounded half up."""

from dataclasses import dataclass
from typing import Final

BASIS: Final = 10_000
"""Basis points in the whole: 60 of them are 0.6 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """So many basis points of the amount and a fixed sum, within bounds; minor units."""

    basis_points: int = 0
    fixed_minor: int = 0
    min_minor: int = 0
    max_minor: int | None = None

    def of(self, amount_minor: int) -> int:
        """The fee for an amount. Half a minor unit is rounded up (四舍五入, as acquirers do).

        The share is rounded, then the fixed sum added, then the bounds applied.
        """
        share = (amount_minor * self.basis_points + BASIS // 2) // BASIS
        fee = max(share + self.fixed_minor, self.min_minor)
        return fee if self.max_minor is None else min(fee, self.max_minor)
