"""Channel accounts: kept sealed in the database, opened once and held while they do not change.

Which accounts there are is held for a second too, to spare a query for each request. So a change
takes effect in every process within that second, in the one that makes it at once; and no attempt
starts on an account that has changed or was disabled, for the statement that starts it compares
``version``.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec

from qiao.channels.interface import Capability, Channel, ChannelType
from qiao.channels.requests import Product
from qiao.crypto.sealing import Seal, SealBroken
from qiao.domain.errors import InvalidInput, InvalidSettings
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.audit import record
from qiao.engine.errors import Conflict, Missing
from qiao.engine.held import Held
from qiao.engine.records import read
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("merchants")
MASK: Final = "(secret)"


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
    app_id: str | None = None
    """The only app that is paid through it; any where there is none."""

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

    @property
    def shares(self) -> bool:
        """Whether its channel can divide what was paid."""
        return Capability.PROFIT_SHARING in self.channel.manifest.capabilities

    def can(self, product: Product, currency: str, *, hold: bool = False) -> bool:
        """Whether its channel offers the product in the currency, or can ``hold`` money by it."""
        manifest = self.channel.manifest
        offered = manifest.authorization_products if hold else manifest.products
        return product in offered and currency in manifest.currencies


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as operators see it; secrets are not shown, only that they are there."""

    merchant_id: str
    account_id: str
    app_id: str | None
    live: bool
    channel: str
    name: str
    priority: int
    enabled: bool
    created_at: datetime
    updated_at: datetime
    settings: dict[str, Any] | None = None


class Accounts:
    """Opens accounts. Loading a private key costs tens of milliseconds, so each is opened once."""

    def __init__(
        self, *, database: Database, seal: Seal, channels: Mapping[str, ChannelType]
    ) -> None:
        self._database = database
        self._seal = seal
        self._channels = channels
        self._opened: dict[tuple[str, str], Account] = {}
        self._by_id: Held[tuple[str, str], Account] = Held()
        self._enabled: Held[tuple[str, bool], list[Account]] = Held()

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
        app_id: str | None = None,
        allow_simulated: bool = False,
        actor: Actor = SYSTEM,
    ) -> str:
        """Add an account, or change the one of that name; gives its id. Raises InvalidInput.

        With ``app_id`` it is for that app's payments, which prefer it, and for no others. A live
        one whose settings lead to this machine is refused unless ``allow_simulated``.
        """
        kind = self._channels.get(channel)
        if kind is None:
            raise InvalidInput(
                f"there is no channel {channel!r}",
                field="channel",
                remedy=f"choose one of: {', '.join(sorted(self._channels))}",
            )
        kind.open(kind.settings.read(settings))
        if live and not allow_simulated:
            _refuse_simulated(settings)
        sealed = self._seal.close(msgspec.json.encode(dict(settings)))
        values = (merchant_id, account_id, live, channel, name, sealed, priority, app_id)
        try:
            async with self._database.transaction() as queries:
                before = await queries.fetch_row(SQL.lock_account, merchant_id, live, name)
                given: str | None = await queries.fetch_value(SQL.put_account, *values)
                changed = self._changed(before, settings, priority, app_id)
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
        except asyncpg.ForeignKeyViolationError as error:
            if app_id is None:
                raise
            raise Missing("no such app", field="app_id", remedy="list the merchant's") from error
        self.forget(merchant_id)
        if given is None:
            raise Conflict(
                f"there is another account of that id, or {name!r} is one of another channel",
                code="account_of_other_channel",
                field="name",
                remedy="give the new account a name of its own",
            )
        return given

    async def views(self, merchant_id: str) -> list[AccountView]:
        """All of the merchant's, disabled ones too, without their settings."""
        rows = await self._database.fetch(SQL.all_accounts, merchant_id)
        return [read(AccountView, row) for row in rows]

    async def view(self, merchant_id: str, account_id: str) -> AccountView:
        """One with its settings, secrets masked. Raises InvalidId, Missing."""
        parse_id(IdKind.CHANNEL_ACCOUNT, account_id, field="account_id")
        row = await self._database.fetch_row(SQL.account_of_id, merchant_id, account_id)
        if row is None:
            raise _no_account()
        return msgspec.structs.replace(read(AccountView, row), settings=self._masked(row))

    async def enable(
        self, merchant_id: str, account_id: str, *, enabled: bool, actor: Actor = SYSTEM
    ) -> AccountView:
        """Let attempts start on it, or no more: what was begun on it goes on. Raises Missing."""
        parse_id(IdKind.CHANNEL_ACCOUNT, account_id, field="account_id")
        async with self._database.transaction() as queries:
            row = await queries.fetch_row(SQL.enable_account, merchant_id, account_id, enabled)
            if row is None:
                raise _no_account()
            if row["changed"]:
                await record(
                    queries,
                    "account.enabled" if enabled else "account.disabled",
                    at=datetime.now(UTC),
                    chain=merchant_id,
                    actor=actor,
                    subject_id=account_id,
                    live=row["live"],
                    fields=["enabled"],
                )
        self.forget(merchant_id)
        return read(AccountView, row)

    def _masked(self, row: asyncpg.Record) -> dict[str, Any]:
        """The settings; where it is not known which are secret, all are."""
        values: dict[str, Any] = msgspec.json.decode(self._seal.open(row["sealed_settings"]))
        kind = self._channels.get(row["channel"])
        try:
            known = type(kind.settings.read(values)) if kind is not None else None
        except InvalidSettings:
            known = None
        hidden = frozenset(values) if known is None else known.secrets()
        return {name: MASK if name in hidden else value for name, value in values.items()}

    def forget(self, merchant_id: str) -> None:
        """Look the merchant's accounts up again: one has changed."""
        self._by_id.forget_where(lambda key: key[0] == merchant_id)
        self._enabled.forget((merchant_id, False), (merchant_id, True))

    def _changed(
        self,
        before: asyncpg.Record | None,
        settings: Mapping[str, object],
        priority: int,
        app_id: str | None,
    ) -> list[str]:
        """The names of the fields that are not as they were before."""
        if before is None:
            own = ["app_id"] if app_id else []
            return ["priority", *own, *(f"settings.{name}" for name in settings)]
        try:
            old = msgspec.json.decode(self._seal.open(before["sealed_settings"]))
        except SealBroken:  # its key is gone: what it was is not known
            old = {}
        new = msgspec.json.decode(msgspec.json.encode(dict(settings)))
        names = [name for name in {*old, *new} if old.get(name) != new.get(name)]
        given = {"priority": priority, "app_id": app_id}
        moved = [name for name, value in given.items() if before[name] != value]
        return [*moved, *(f"settings.{name}" for name in names)]

    async def of_id(self, merchant_id: str, account_id: str) -> Account:
        """The account, also when it is disabled: what was begun on it must come to an end."""

        async def look_up() -> Account:
            row = await self._database.fetch_row(SQL.account_of_id, merchant_id, account_id)
            if row is None:
                raise Missing(
                    "no such account", field="account", remedy="look at its address again"
                )
            return self._open(row)

        return await self._by_id.of((merchant_id, account_id), look_up)

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

    async def usable(
        self, merchant_id: str, *, live: bool, app_id: str | None = None
    ) -> list[Account]:
        """The enabled accounts that an app may use, in the order in which they are to be tried:
        its own before those that are for any."""
        every = await self.enabled(merchant_id, live=live)
        own = [account for account in every if app_id is not None and account.app_id == app_id]
        return [*own, *(account for account in every if account.app_id is None)]

    async def enabled(self, merchant_id: str, *, live: bool) -> list[Account]:
        """All that are enabled, also those of one app only."""

        async def look_up() -> list[Account]:
            rows = await self._database.fetch(SQL.accounts, merchant_id, live)
            return [self._open(row) for row in rows]

        return await self._enabled.of((merchant_id, live), look_up)

    async def able(
        self,
        merchant_id: str,
        *,
        live: bool,
        channel: str,
        product: Product,
        currency: str,
        app_id: str | None = None,
    ) -> list[Account]:
        """The accounts that can do it, by priority. Raises InvalidInput naming what none can."""
        if channel not in self._channels:
            raise InvalidInput(
                "Invalid pay method",
                field="method.channel",
                remedy=f"choose one of: {', '.join(sorted(self._channels))}",
            )
        accounts = await self.usable(merchant_id, live=live, app_id=app_id)
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
            app_id=row["app_id"],
        )
        self._opened[key] = account
        return account


def _no_account() -> Missing:
    return Missing("no such account", field="account_id", remedy="list them: qiao account list")


def _refuse_simulated(settings: Mapping[str, object]) -> None:
    """Raises InvalidInput where a setting is an address on this machine, as a simulator's is."""
    for name, value in settings.items():
        if isinstance(value, str) and _leads_here(value):
            raise InvalidInput(
                "a live account would speak to this machine, where only a simulator listens",
                field=f"settings.{name}",
                remedy="give the channel's own address, or put a test account; "
                "--allow-simulated, if no real money is meant",
            )


def _leads_here(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified
