"""Saving price lists, and the history of them. Only the platform's operator does."""

import msgspec

from qiao.domain.errors import InvalidInput
from qiao.engine.audit import PLATFORM
from qiao.engine.organisations import apps
from qiao.engine.payments import MAX_PAGE
from qiao.engine.pricing import SQL, PriceList, SavedPrices
from qiao.engine.runtime import Engine, Scope
from qiao.engine.versions import save_version


async def save_prices(
    engine: Engine, scope: Scope, prices: PriceList, *, note: str = "", replaces: int | None = None
) -> SavedPrices:
    """A new version, which counts from now on; ``prices`` have passed ``read_prices``.

    Raises InvalidInput for an app or a channel that is not there, Missing for the merchant, and
    Conflict when the newest version is not the one that this ``replaces``.
    """
    await _check(engine, scope, prices)
    try:
        return await save_version(
            engine,
            scope,
            SavedPrices,
            SQL.put_prices,
            prices,
            name="prices",
            note=note,
            replaces=replaces,
        )
    finally:
        engine.prices.forget(scope.merchant_id)


async def price_versions(engine: Engine, scope: Scope, *, limit: int = 20) -> list[SavedPrices]:
    """Every list that was saved, the newest first."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    rows = await engine.database.fetch(SQL.price_versions, scope.merchant_id, scope.live, limit)
    return [msgspec.convert(dict(row.items()), SavedPrices) for row in rows]


async def _check(engine: Engine, scope: Scope, prices: PriceList) -> None:
    of_platform = scope.merchant_id == PLATFORM
    if of_platform and prices.inherit:
        raise InvalidInput(
            "the platform has nobody to inherit from", field="inherit", remedy="leave it out"
        )
    known = [] if of_platform else [one.app_id for one in await apps(engine, scope.merchant_id)]
    for number, row in enumerate(prices.prices):
        if row.channel is not None and row.channel not in engine.accounts.channels:
            raise InvalidInput(
                f"price {number + 1}: there is no channel {row.channel!r}",
                field=f"prices[{number}].channel",
                remedy=f"choose one of: {', '.join(sorted(engine.accounts.channels))}",
            )
        if row.app is not None and row.app not in known:
            raise InvalidInput(
                f"price {number + 1}: the merchant has no app {row.app!r}",
                field=f"prices[{number}].app",
                remedy=f"choose one of: {', '.join(known) or 'none yet; add an app first'}",
            )
