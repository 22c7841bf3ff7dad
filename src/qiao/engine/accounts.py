"""Channel accounts: kept sealed in the database, opened once and held while they do not change.

Which accounts there are is held for a second too, to spare a query for each request. So a change
takes effect in every process within that second, in the one that makes it at once; and no attempt
starts on an account that has changed or was disabled, for the statement that starts it compares
``version``.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import Final

import asyncpg
import msgspec

from qiao.channels.interface import Channel, ChannelType
from qiao.channels.requests import Product
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.engine.errors import Conflict, Missing
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("merchants")
HELD_SECONDS: Final = 1.0
MAX_HELD: Final = 10_000


def installed_channels() -> dict[str, ChannelType]:
    """Every channel that an installed package offers, by its id."""
    found = (entry.load() for entry in entry_points(group="qiao.channels"))
    return {kind.manifest.id: kind for kind in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One merchant's account at one channel, ready to work with; ``version``: its last change."""

    merchant_id: str
    account_id: str
    name: str
    live: bool
    channel: Channel
    version: datetime

    @property
    def channel_id(self) -> str:
        return self.channel.manifest.id

    @property
    def called(self) -> tuple[str, str, str]:
        """By what routing rules name it; the last stands for every account of its channel."""
        return self.account_id, self.name, f"channel:{self.channel_id}"

    def takes(self, amount_minor: int) -> bool:
        """Whether the amount is within its channel's limits."""
        manifest = self.channel.manifest
        return manifest.min_minor <= amount_minor <= manifest.max_minor

    def can(self, product: Product, currency: str) -> bool:
        """Whether its channel offers the product in the currency."""
        manifest = self.channel.manifest
        return product in manifest.products and currency in manifest.currencies


class Accounts:
    """Opens accounts. Loading a private key costs tens of milliseconds, so each is opened once."""

    def __init__(
        self, *, database: Database, seal: Seal, channels: Mapping[str, ChannelType]
    ) -> None:
        self._database = database
        self._seal = seal
        self._channels = channels
        self._opened: dict[tuple[str, str], Account] = {}
        self._held: dict[tuple[str, str], tuple[float, Account]] = {}
        self._usable: dict[tuple[str, bool], tuple[float, list[Account]]] = {}

    @property
    def channels(self) -> Mapping[str, ChannelType]:
        return self._channels

    async def put(
        self,
        *,
        merchant_id: str,
        account_id: str,
        live: bool,
        channel: str,
        name: str,
        settings: Mapping[str, object],
        priority: int = 0,
    ) -> str:
        """Add an account, or change the one of that name; gives its id. Raises InvalidInput."""
        kind = self._channels.get(channel)
        if kind is None:
            raise InvalidInput(
                f"there is no channel {channel!r}",
                field="channel",
                remedy=f"choose one of: {', '.join(sorted(self._channels))}",
            )
        kind.open(kind.settings.read(settings))
        sealed = self._seal.close(msgspec.json.encode(dict(settings)))
        values = (merchant_id, account_id, live, channel, name, sealed, priority)
        try:
            given: str | None = await self._database.fetch_value(SQL.put_account, *values)
        except asyncpg.UniqueViolationError:  # the id is another account's
            given = None
        self.forget(merchant_id)
        if given is None:
            raise Conflict(
                f"there is another account of that id, or {name!r} is one of another channel",
                code="account_of_other_channel",
                field="name",
                remedy="give the new account a name of its own",
            )
        return given

    def forget(self, merchant_id: str) -> None:
        """Look the merchant's accounts up again: one has changed."""
        for key in [key for key in self._held if key[0] == merchant_id]:
            del self._held[key]
        for live in (False, True):
            self._usable.pop((merchant_id, live), None)

    async def of_id(self, merchant_id: str, account_id: str) -> Account:
        """The account, also when it is disabled: what was begun on it must come to an end."""
        key = (merchant_id, account_id)
        held = self._held.get(key)
        if held is not None and _monotonic() < held[0]:
            return held[1]
        until = _monotonic() + HELD_SECONDS
        row = await self._database.fetch_row(SQL.account_of_id, merchant_id, account_id)
        if row is None:
            raise Missing("no such account", field="account", remedy="look at its address again")
        account = self._open(row)
        if len(self._held) >= MAX_HELD:
            self._held.clear()
        self._held[key] = (until, account)
        return account

    async def settings_named(
        self, channel: str, name: str, *, merchant_id: str | None = None
    ) -> dict[str, object]:
        """The settings of the account that has this name or id. Raises Missing, Conflict."""
        rows = await self._database.fetch(SQL.accounts_named, merchant_id, channel, name)
        if not rows:
            raise Missing(
                f"there is no account {name!r} at {channel}",
                field="account",
                remedy="give its name or its id, as qiao account put was told",
            )
        if len(rows) > 1:
            raise Conflict(
                f"there are {len(rows)} accounts of that name",
                code="several_accounts",
                field="account",
                remedy=f"give one's id: {', '.join(row['account_id'] for row in rows[:10])}",
            )
        found: dict[str, object] = msgspec.json.decode(self._seal.open(rows[0]["sealed_settings"]))
        return found

    async def usable(self, merchant_id: str, *, live: bool) -> list[Account]:
        """The enabled accounts, in the order in which they are to be tried."""
        key = (merchant_id, live)
        held = self._usable.get(key)
        if held is not None and _monotonic() < held[0]:
            return held[1]
        until = _monotonic() + HELD_SECONDS
        rows = await self._database.fetch(SQL.accounts, merchant_id, live)
        accounts = [self._open(row) for row in rows]
        if len(self._usable) >= MAX_HELD:
            self._usable.clear()
        self._usable[key] = (until, accounts)
        return accounts

    async def choose(
        self, merchant_id: str, *, live: bool, channel: str, product: Product, currency: str
    ) -> Account:
        """The first account that can do it. Raises InvalidInput naming what none can."""
        able = await self.able(
            merchant_id, live=live, channel=channel, product=product, currency=currency
        )
        return able[0]

    async def able(
        self, merchant_id: str, *, live: bool, channel: str, product: Product, currency: str
    ) -> list[Account]:
        """The accounts that can do it, by priority. Raises InvalidInput naming what none can."""
        if channel not in self._channels:
            raise InvalidInput(
                "Invalid pay method",
                field="method.channel",
                remedy=f"choose one of: {', '.join(sorted(self._channels))}",
            )
        accounts = await self.usable(merchant_id, live=live)
        mine = [account for account in accounts if account.channel_id == channel]
        if not mine:
            raise InvalidInput(
                f"there is no {'live' if live else 'test'} account for {channel}",
                field="method.channel",
                remedy="add an account for this channel, or choose another channel",
            )
        if able := [account for account in mine if account.can(product, currency)]:
            return able
        raise InvalidInput(
            f"{channel} does not offer {product} in {currency}",
            field="method.product",
            remedy=f"it offers: {', '.join(sorted(mine[0].channel.manifest.products))}",
        )

    def _open(self, row: asyncpg.Record) -> Account:
        key = (row["merchant_id"], row["account_id"])
        opened = self._opened.get(key)
        if opened is not None and opened.version == row["updated_at"]:
            return opened
        kind = self._channels[row["channel"]]
        settings = kind.settings.read(msgspec.json.decode(self._seal.open(row["sealed_settings"])))
        account = Account(
            merchant_id=row["merchant_id"],
            account_id=row["account_id"],
            name=row["name"],
            live=row["live"],
            channel=kind.open(settings),
            version=row["updated_at"],
        )
        self._opened[key] = account
        return account


def _monotonic() -> float:
    """The running loop's clock, in seconds: a simulation's is its own."""
    return asyncio.get_running_loop().time()
