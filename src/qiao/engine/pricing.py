"""What the platform's operator charges a merchant: a list whose first fitting line counts.

A list belongs to a merchant and a mode. Every one that was saved is kept, and the newest counts for
attempts that start from then on: each attempt carries its own price to its end.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.engine.audit import PLATFORM
from qiao.engine.fee_terms import Currency, Terms
from qiao.engine.held import Held
from qiao.engine.versions import Version, read_content
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("prices")
Name = Annotated[str, Meta(min_length=1, max_length=100)]


class PriceRow(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line; what it does not name is any. ``app`` is an app's id."""

    app: Name | None = None
    channel: Name | None = None
    product: Product | None = None
    currency: Currency = "CNY"

    def fits(self, app_id: str | None, channel: str, product: Product, currency: str) -> bool:
        """Whether a payment of this kind is charged by this line, if by none before it."""
        return (
            self.currency == currency
            and self.app in (None, app_id)
            and self.channel in (None, channel)
            and self.product in (None, product)
        )


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lines, in order; what none fits costs nothing. With ``inherit`` the platform's count."""

    prices: Annotated[list[PriceRow], Meta(max_length=500)] = []
    inherit: bool = False

    def fee(
        self, *, app_id: str | None, channel: str, product: Product, currency: str
    ) -> Fee | None:
        """What the first line says that fits."""
        for row in self.prices:
            if row.fits(app_id, channel, product, currency):
                return row.fee
        return None


class SavedPrices(Version, frozen=True, kw_only=True):
    """A version of a merchant's list, or of the platform's."""

    prices: PriceList


class Prices:
    """The list that counts for each merchant, held for a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saved: Held[tuple[str, bool], SavedPrices | None] = Held()

    async def of(self, merchant_id: str, *, live: bool) -> SavedPrices | None:
        """The merchant's own, or else the platform's; None where nobody has saved any."""

        async def look_up() -> SavedPrices | None:
            row = await self._database.fetch_row(SQL.prices_now, merchant_id, live, PLATFORM)
            assert row is not None  # noqa: S101 - a SELECT without FROM
            both = (row["own"], row["platform"])
            saved = [msgspec.convert(one, SavedPrices) for one in both if one is not None]
            return next((one for one in saved if not one.prices.inherit), None)

        return await self._saved.of((merchant_id, live), look_up)

    async def fee(
        self,
        merchant_id: str,
        *,
        live: bool,
        app_id: str | None,
        channel: str,
        product: Product,
        currency: str,
    ) -> Fee | None:
        """What is charged for such a payment now; None when nothing is."""
        saved = await self.of(merchant_id, live=live)
        if saved is None:
            return None
        return saved.prices.fee(app_id=app_id, channel=channel, product=product, currency=currency)

    def forget(self, merchant_id: str) -> None:
        """Look the merchant's up again, or everybody's when they are the platform's."""
        self._saved.forget_where(lambda key: merchant_id in (PLATFORM, key[0]))


def read_prices(given: object) -> PriceList:
    """A list from what a file holds. Raises InvalidInput naming what is wrong."""
    found = read_content(given, PriceList, name="prices", page="docs/fees.md")
    if found.inherit and found.prices:
        raise InvalidInput(
            "a list that inherits has no lines of its own",
            field="inherit",
            remedy="leave out inherit, or the lines",
        )
    return found


def document(fee: Fee | None) -> dict[str, Any] | None:
    """As an attempt keeps it."""
    return None if fee is None else fee.document()
