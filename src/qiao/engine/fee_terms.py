"""A fee as people write it into a file: the same for what channels keep and what is charged."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qiao.domain.fees import BASIS, Fee
from qiao.domain.money import MAX_MINOR

Minor = Annotated[int, Meta(ge=0, le=MAX_MINOR)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Minor units; see :class:`qiao.domain.fees.Fee` for what they come to."""

    basis_points: Annotated[int, Meta(ge=0, le=BASIS)] = 0
    fixed: Minor = 0
    min: Minor = 0
    max: Minor | None = None
    returned: Annotated[bool, Meta(description="a refund gives its share of the fee back")] = False

    def __post_init__(self) -> None:
        if self.max is not None and self.max < self.min:
            raise ValueError("max is below min")

    @property
    def fee(self) -> Fee:
        return Fee(
            basis_points=self.basis_points,
            fixed_minor=self.fixed,
            min_minor=self.min,
            max_minor=self.max,
            returned=self.returned,
        )
