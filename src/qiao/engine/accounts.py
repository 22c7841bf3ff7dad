"""Channel accounts: kept sealed in the database, opened once and held while they do not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points

import asyncpg
import msgspec

from qiao.channels.interface import Channel, ChannelType
from qiao.channels.requests import Product
from qiao.crypto.sealing import Seal, SealBroken
from qiao.domain.errors import InvalidInput
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.audit import record
from qiao.engine.errors import Conflict, Missing
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("merchants")


def installed_channels() -> dict[str, ChannelType]:
    """Every channel that an installed package offers, by its id."""
    found = (entry.load() for entry in entry_points(group="qiao.channels"))
    return {kind.manifest.id: kind for kind in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One merchant's account at one channel, ready to work with."""

    merchant_id: str
    account_id: str
    live: bool
    channel: Channel

    @property
    def channel_id(self) -> str:
        return self.channel.manifest.id


class Accounts:
    """Opens accounts. Loading a private key costs tens of milliseconds, so each is opened once."""

    def __init__(
        self, *, database: Database, seal: Seal, channels: Mapping[str, ChannelType]
    ) -> None:
        self._database = database
        self._seal = seal
        self._channels = channels
        self._opened: dict[tuple[str, str], tuple[datetime, Account]] = {}

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
        actor: Actor = SYSTEM,
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
            async with self._database.transaction() as queries:
                before = await queries.fetch_row(SQL.lock_account, merchant_id, live, name)
                given: str | None = await queries.fetch_value(SQL.put_account, *values)
                changed = self._changed(before, settings, priority)
                if given is not None and changed:
                    await record(
                        queries,
                        "account.added" if before is None else "account.changed",
                        at=datetime.now(UTC),
                        chain=merchant_id,
                        actor=actor,
                        subject_id=given,
                        live=live,
                        fields=changed,
                    )
        except asyncpg.UniqueViolationError:  # the id is another account's
            given = None
        if given is None:
            raise Conflict(
                f"there is another account of that id, or {name!r} is one of another channel",
                code="account_of_other_channel",
                field="name",
                remedy="give the new account a name of its own",
            )
        return given

    def _changed(
        self, before: asyncpg.Record | None, settings: Mapping[str, object], priority: int
    ) -> list[str]:
        """The names of the fields that are not as they were before."""
        if before is None:
            return ["priority", *(f"settings.{name}" for name in settings)]
        try:
            old = msgspec.json.decode(self._seal.open(before["sealed_settings"]))
        except SealBroken:  # its key is gone: what it was is not known
            old = {}
        new = msgspec.json.decode(msgspec.json.encode(dict(settings)))
        names = [name for name in {*old, *new} if old.get(name) != new.get(name)]
        moved = ["priority"] if before["priority"] != priority else []
        return [*moved, *(f"settings.{name}" for name in names)]

    async def of_id(self, merchant_id: str, account_id: str) -> Account:
        """The account, also when it is disabled: what was begun on it must come to an end."""
        row = await self._database.fetch_row(SQL.account_of_id, merchant_id, account_id)
        if row is None:
            raise Missing("no such account", field="account", remedy="look at its address again")
        return self._open(row)

    async def usable(self, merchant_id: str, *, live: bool) -> list[Account]:
        """The enabled accounts, in the order in which they are to be tried."""
        rows = await self._database.fetch(SQL.accounts, merchant_id, live)
        return [self._open(row) for row in rows]

    async def choose(
        self, merchant_id: str, *, live: bool, channel: str, product: Product, currency: str
    ) -> Account:
        """The first account that can do it. Raises InvalidInput naming what none can."""
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
        for account in mine:
            manifest = account.channel.manifest
            if product in manifest.products and currency in manifest.currencies:
                return account
        raise InvalidInput(
            f"{channel} does not offer {product} in {currency}",
            field="method.product",
            remedy=f"it offers: {', '.join(sorted(mine[0].channel.manifest.products))}",
        )

    def _open(self, row: asyncpg.Record) -> Account:
        key = (row["merchant_id"], row["account_id"])
        held = self._opened.get(key)
        if held and held[0] == row["updated_at"]:
            return held[1]
        kind = self._channels[row["channel"]]
        settings = kind.settings.read(msgspec.json.decode(self._seal.open(row["sealed_settings"])))
        account = Account(
            merchant_id=row["merchant_id"],
            account_id=row["account_id"],
            live=row["live"],
            channel=kind.open(settings),
        )
        self._opened[key] = (row["updated_at"], account)
        return account
