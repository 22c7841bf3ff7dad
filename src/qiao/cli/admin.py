"""Merchants, keys, accounts, configuration and the database: commands of who runs the server."""

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.engine import open_database_url, open_engine
from qiao.cli.files import read_settings_file
from qiao.cli.output import Json, out, print_fields, print_json, print_table
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import Money, exponent
from qiao.engine.actors import Actor
from qiao.engine.merchants import (
    ApiKey,
    add_merchant,
    api_keys,
    issue_api_key,
    merchant_name,
    revoke_api_key,
)
from qiao.engine.runtime import Engine, Scope
from qiao.engine.transfers import Policy, put_policy
from qiao.store.database import open_database
from qiao.store.distribution import Distribution, read_distribution
from qiao.store.migrate import SchemaStatus, migrate, status

Result = TypeVar("Result")
merchant = typer.Typer(no_args_is_help=True)
key = typer.Typer(no_args_is_help=True)
account = typer.Typer(no_args_is_help=True)
settings = typer.Typer(no_args_is_help=True)
database = typer.Typer(no_args_is_help=True)

MerchantId = Annotated[str, typer.Argument(help="The merchant's id.")]
Live = Annotated[bool, typer.Option("--live/--test", help="For real money, or for tests.")]


def operator() -> Actor:
    """Who runs the command: the user of this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return Actor(kind="command", id=name, origin=socket.gethostname())


def _with_engine(work: Callable[[Engine], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_engine(load_config(), max_connections=2) as engine:
            return await work(engine)

    return asyncio.run(run())


@merchant.command("add")
def add(
    name: Annotated[str, typer.Argument(help="1 to 64 characters.")], *, as_json: Json = False
) -> None:
    """A new merchant; customers see its name."""
    merchant_id = _with_engine(lambda engine: add_merchant(engine, name, actor=operator()))
    _show({"merchant_id": merchant_id, "name": name}, as_json=as_json)


@merchant.command("transfers")
def transfers(
    merchant_id: MerchantId,
    *,
    check_above: Annotated[
        str | None,
        typer.Option(help="Above this a second person must approve; without it, always."),
    ] = None,
    most: Annotated[
        str | None, typer.Option("--max", help="The most in one transfer; without it, any amount.")
    ] = None,
    daily: Annotated[
        str | None, typer.Option(help="The most in 24 hours; without it, any amount.")
    ] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    live: Live = False,
    as_json: Json = False,
) -> None:
    """Set what a merchant may pay out in a currency, and when a second person is needed."""

    def minor(text: str | None) -> int | None:
        return None if text is None else Money.from_major(text, currency).minor

    exponent(currency)
    policy = Policy(
        check_above_minor=minor(check_above), max_minor=minor(most), daily_max_minor=minor(daily)
    )

    async def work(engine: Engine) -> None:
        await _check_merchant(engine, merchant_id)
        await put_policy(engine, Scope(merchant_id=merchant_id, live=live), currency, policy)

    _with_engine(work)
    shown = {"merchant_id": merchant_id, "live": live, "currency": currency}
    limits = {"check_above": check_above or "always", "max": most, "daily": daily}
    _show({**shown, **limits}, as_json=as_json)


@key.command("issue")
def issue(merchant_id: MerchantId, *, live: Live = False, as_json: Json = False) -> None:
    """A new API key. It is shown only here."""

    async def work(engine: Engine) -> str:
        await _check_merchant(engine, merchant_id)
        scope = Scope(merchant_id=merchant_id, live=live, actor=operator())
        return await issue_api_key(engine, scope)

    _show({"api_key": _with_engine(work), "live": live}, as_json=as_json)


@key.command("list")
def list_keys(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """The merchant's API keys: their ids, and how each begins."""

    async def work(engine: Engine) -> list[ApiKey]:
        await _check_merchant(engine, merchant_id)
        return await api_keys(engine, merchant_id)

    found = _with_engine(work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "mode", "key", "issued", "revoked"),
        [
            (k.api_key_id, "live" if k.live else "test", k.hint, k.created_at, k.revoked_at)
            for k in found
        ],
    )


@key.command("revoke")
def revoke(
    merchant_id: MerchantId,
    api_key_id: Annotated[str, typer.Argument(help="The key's id; see: qiao key list.")],
) -> None:
    """Let an API key work no more; within seconds, wherever Qiao runs."""
    _with_engine(lambda engine: revoke_api_key(engine, merchant_id, api_key_id, actor=operator()))
    out.print(f"{api_key_id} is revoked")


@account.command("put")
def put(
    merchant_id: MerchantId,
    channel: Annotated[str, typer.Argument(help="The channel's id; see: qiao channels.")],
    settings_file: Annotated[
        Path,
        typer.Argument(help="The account's settings, TOML or (.json) JSON.", dir_okay=False),
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="Its name; without it, the channel's id.")
    ] = None,
    priority: Annotated[int, typer.Option(help="The lowest is tried first.")] = 0,
    live: Live = False,
    as_json: Json = False,
) -> None:
    """Add a merchant's account at a channel, or change the one of that name."""
    values = read_settings_file(settings_file)

    async def work(engine: Engine) -> dict[str, Any]:
        await _check_merchant(engine, merchant_id)
        account_id = await engine.accounts.put(
            merchant_id=merchant_id,
            account_id=engine.new_id(IdKind.CHANNEL_ACCOUNT),
            live=live,
            channel=channel,
            name=name or channel,
            settings=values,
            priority=priority,
            actor=operator(),
        )
        return {
            "account_id": account_id,
            "channel": channel,
            "live": live,
            "notify_url": engine.notify_url(merchant_id, account_id),
        }

    _show(_with_engine(work), as_json=as_json)


@settings.command("check")
def check(*, as_json: Json = False) -> None:
    """What this server's configuration is; secrets are not shown."""
    config = load_config()
    _show(
        {
            "home": config.home,
            "database": "your own (database_url)" if config.database_url else "embedded",
            "listens_on": f"{config.host}:{config.port}",
            "public_url": config.base_url,
            "metrics_on": "nowhere (metrics_port)"
            if config.metrics_port is None
            else f"{config.metrics_host}:{config.metrics_port}",
            "seal": "from the configuration" if config.seal_keys else "a key file in home",
            "backup_archive": config.backup_archive,
        },
        as_json=as_json,
    )


@settings.command("new-seal-key")
def new_seal_key() -> None:
    """A key for seal_keys; put it before the ones that are there."""
    typer.echo(Seal.new_key())


@database.command("status")
def database_status(*, as_json: Json = False) -> None:
    """Which schema the database has, and which this version wants."""

    async def work(url: str) -> SchemaStatus:
        return await status(url)

    found = _with_url(load_config(), work)
    shown = {"current": found.current, "head": found.head, "up_to_date": found.is_current}
    _show(shown, as_json=as_json)


@database.command("migrate")
def database_migrate(*, as_json: Json = False) -> None:
    """Bring the database to this version's schema; qiao serve does so by itself."""
    applied = _with_url(load_config(), migrate)
    if as_json:
        print_json({"applied": applied})
    else:
        out.print(f"applied: {', '.join(applied)}" if applied else "nothing to do")


@database.command("distribution")
def database_distribution(*, as_json: Json = False) -> None:
    """The statements that distribute the tables by merchant, for Citus."""

    async def work(url: str) -> Distribution:
        async with open_database(url, min_size=1, max_size=1) as queries:
            return await read_distribution(queries)

    found = _with_url(load_config(), work)
    if as_json:
        print_json(
            {
                "reference": found.reference,
                "distributed": found.distributed,
                "statements": found.statements(),
            }
        )
    else:
        typer.echo("\n".join(found.statements()))


def _with_url(config: Config, work: Callable[[str], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_database_url(config) as url:
            return await work(url)

    return asyncio.run(run())


async def _check_merchant(engine: Engine, merchant_id: str) -> None:
    parse_id(IdKind.MERCHANT, merchant_id, field="merchant_id")
    if await merchant_name(engine, merchant_id) is None:
        raise InvalidInput(
            "there is no such merchant", field="merchant_id", remedy="add one: qiao merchant add"
        )


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, tuple(document))
