"""What the platform's operator charges the merchant who asks."""

from datetime import datetime

import msgspec
from litestar import Router, get

from qiao.engine.key_policy import KeyScope
from qiao.engine.pricing import PriceRow
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.responses import refusals


class PricesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The price list that counts; the first line that fits a payment is charged. 0: none is."""

    version: int
    prices_of: str | None
    prices: list[PriceRow]
    created_at: datetime | None
    object: str = "prices"


@get("/prices", responses=refusals(), tags=["Ledger"], opt=needs(KeyScope.LEDGER_READ))
async def get_prices(engine: TheEngine, merchant: TheMerchant) -> PricesDocument:
    """What an attempt that starts now would be charged, once it is paid."""
    saved = await engine.prices.of(merchant.merchant_id, live=merchant.live)
    if saved is None:
        return PricesDocument(version=0, prices_of=None, prices=[], created_at=None)
    return PricesDocument(
        version=saved.version,
        prices_of=saved.owner,
        prices=saved.prices.prices,
        created_at=saved.created_at,
    )


prices = Router("/", route_handlers=[get_prices])
