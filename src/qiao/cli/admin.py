"""Keys, accounts and configuration: commands of who runs the server."""

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from qiao.bootstrap.config import load_config
from qiao.bootstrap.engine import open_engine
from qiao.cli.files import read_settings_file
from qiao.cli.output import Json, out, print_fields, print_json, print_table
from qiao.cli.spans import read_span
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.accounts import AccountView
from qiao.engine.actors import Actor
from qiao.engine.key_policy import KeyPolicy, KeyScope
from qiao.engine.merchants import (
    ApiKey,
    ApiKeys,
    api_keys,
    issue_api_key,
    merchant_name,
    revoke_api_key,
    rotate_api_key,
)
from qiao.engine.organisations import show_app
from qiao.engine.runtime import Engine, Scope
from qiao.engine.signing import SigningAlgorithm, SigningKey

Result = TypeVar("Result")
key = typer.Typer(no_args_is_help=True, help="Issue, list, rotate and revoke API keys.")
account = typer.Typer(no_args_is_help=True, help="Merchants' accounts at channels.")
settings = typer.Typer(no_args_is_help=True, help="Check this server's configuration.")

MerchantId = Annotated[str, typer.Argument(help="The merchant's id.")]
KeyId = Annotated[str, typer.Argument(help="The key's id; see: qiao key list.")]
AccountId = Annotated[str, typer.Argument(help="The account's id; see: qiao account list.")]
AppOfIt = Annotated[str | None, typer.Option("--app", help="One of the merchant's apps.")]
Live = Annotated[bool, typer.Option("--live/--test", help="For real money, or for tests.")]


def operator() -> Actor:
    """Who runs the command: the user of this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return Actor(kind="command", id=name, origin=socket.gethostname())


def with_engine(work: Callable[[Engine], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_engine(load_config(), max_connections=2) as engine:
            return await work(engine)

    return asyncio.run(run())


@key.command("issue")
def issue(
    merchant_id: MerchantId,
    *,
    live: Live = False,
    app: AppOfIt = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help=f"Several may be given: {', '.join(KeyScope)}. All without."),
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(help="Such as 90d or 12h; for ever without it.")
    ] = None,
    addresses: Annotated[
        list[str] | None,
        typer.Option("--allow", help="An address or network it may be used from. Any without."),
    ] = None,
    sign_with: Annotated[
        SigningAlgorithm | None,
        typer.Option(help="Take only requests that are signed, as RFC 9421 says."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Of rsa-v1_5-sha256: a file in PEM.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """A new API key. It is shown only here, and so is its secret for hmac-sha256."""
    signing = _signing(sign_with, public_key)

    async def work(engine: Engine) -> tuple[str, str]:
        await check_merchant(engine, merchant_id)
        if app is not None:
            await show_app(engine, merchant_id, app)
        lasts = None if expires_in is None else read_span(expires_in, field="expires_in")
        policy = KeyPolicy.read(
            scopes=scopes or None,
            expires_at=None if lasts is None else engine.now() + lasts,
            networks=addresses or None,
        )
        scope = Scope(merchant_id=merchant_id, live=live, app_id=app, actor=operator())
        key = await issue_api_key(engine, scope, policy=policy, signing=signing)
        found = await ApiKeys(engine).find(key)
        assert found is not None  # noqa: S101 - it was issued just now
        return key, found.scope.actor.id

    key, key_id = with_engine(work)
    shown = {"api_key": key, "live": live, "api_key_id": key_id}
    if signing is not None and signing.algorithm is SigningAlgorithm.HMAC_SHA256:
        shown["signing_secret"] = signing.material.decode()
    show_fields(shown, as_json=as_json)


def _signing(algorithm: SigningAlgorithm | None, public_key: Path | None) -> SigningKey | None:
    if (algorithm is SigningAlgorithm.RSA_SHA256) != (public_key is not None):
        raise InvalidInput(
            "goes with rsa-v1_5-sha256, and only with it",
            field="public_key",
            remedy="give --sign-with rsa-v1_5-sha256 and --public-key FILE",
        )
    if public_key is None:
        return None if algorithm is None else SigningKey.new_secret()
    try:
        return SigningKey.of_public_key(public_key.read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"cannot be read: {error.strerror}", field=str(public_key), remedy="name a file"
        ) from None


@key.command("rotate")
def rotate(
    merchant_id: MerchantId,
    api_key_id: KeyId,
    *,
    overlap: Annotated[
        str, typer.Option(help="How long the old key still works, such as 24h; at most 30d.")
    ] = "24h",
    as_json: Json = False,
) -> None:
    """A new key in place of an API key, which then works only a while longer."""
    span = read_span(overlap, field="overlap")

    async def work(engine: Engine) -> str:
        return await rotate_api_key(engine, merchant_id, api_key_id, overlap=span, actor=operator())

    show_fields({"api_key": with_engine(work), "replaces": api_key_id}, as_json=as_json)


@key.command("list")
def list_keys(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """The merchant's API keys: their ids, how each begins, and what it may do."""

    async def work(engine: Engine) -> list[ApiKey]:
        await check_merchant(engine, merchant_id)
        return await api_keys(engine, merchant_id)

    found = with_engine(work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "mode", "key", "app", "may", "from", "issued", "ends", "last used", "revoked"),
        [
            (
                k.api_key_id,
                "live" if k.live else "test",
                k.hint,
                k.app_id,
                "everything" if k.scopes is None else " ".join(k.scopes),
                "anywhere" if k.allowed_addresses is None else " ".join(k.allowed_addresses),
                _minute(k.created_at),
                _minute(k.expires_at),
                " ".join(filter(None, (_minute(k.last_used_at), k.last_used_from))),
                _minute(k.revoked_at),
            )
            for k in found
        ],
    )


@key.command("revoke")
def revoke(
    merchant_id: MerchantId,
    api_key_id: KeyId,
) -> None:
    """Let an API key work no more; within seconds, wherever Qiao runs."""
    with_engine(lambda engine: revoke_api_key(engine, merchant_id, api_key_id, actor=operator()))
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
    app: AppOfIt = None,
    live: Live = False,
    allow_simulated: Annotated[
        bool,
        typer.Option("--allow-simulated", help="Let a live account speak to this machine."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a merchant's account at a channel, or change the one of that name."""
    values = read_settings_file(settings_file)

    async def work(engine: Engine) -> dict[str, Any]:
        await check_merchant(engine, merchant_id)
        if app is not None:
            await show_app(engine, merchant_id, app)
        account_id = await engine.accounts.put(
            merchant_id=merchant_id,
            account_id=engine.new_id(IdKind.CHANNEL_ACCOUNT),
            live=live,
            channel=channel,
            name=name or channel,
            settings=values,
            priority=priority,
            app_id=app,
            allow_simulated=allow_simulated,
            actor=operator(),
        )
        return {
            "account_id": account_id,
            "channel": channel,
            "live": live,
            "notify_url": engine.notify_url(merchant_id, account_id),
        }

    show_fields(with_engine(work), as_json=as_json)


@account.command("list")
def list_accounts(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """A merchant's accounts at channels, in both modes."""

    async def work(engine: Engine) -> list[AccountView]:
        await check_merchant(engine, merchant_id)
        return await engine.accounts.views(merchant_id)

    found = with_engine(work)
    if as_json:
        print_json([_account(one) for one in found])
        return
    print_table(
        ("id", "mode", "channel", "name", "priority", "app", "status"),
        [
            (
                one.account_id,
                "live" if one.live else "test",
                one.channel,
                one.name,
                one.priority,
                one.app_id,
                "enabled" if one.enabled else "disabled",
            )
            for one in found
        ],
    )


@account.command("show")
def show_account(merchant_id: MerchantId, account_id: AccountId, *, as_json: Json = False) -> None:
    """One account with its settings; secrets are masked."""
    found = _account(with_engine(lambda engine: engine.accounts.view(merchant_id, account_id)))
    if not as_json:
        found |= {f"settings.{name}": value for name, value in found.pop("settings").items()}
    show_fields(found, as_json=as_json)


@account.command("disable")
def disable_account(
    merchant_id: MerchantId, account_id: AccountId, *, as_json: Json = False
) -> None:
    """Let no more attempts start on an account; refunds and queries on it go on."""
    _enable(merchant_id, account_id, enabled=False, as_json=as_json)


@account.command("enable")
def enable_account(
    merchant_id: MerchantId, account_id: AccountId, *, as_json: Json = False
) -> None:
    """Let attempts start on an account again."""
    _enable(merchant_id, account_id, enabled=True, as_json=as_json)


def _enable(merchant_id: str, account_id: str, *, enabled: bool, as_json: bool) -> None:
    async def work(engine: Engine) -> AccountView:
        return await engine.accounts.enable(
            merchant_id, account_id, enabled=enabled, actor=operator()
        )

    show_fields(_account(with_engine(work)), as_json=as_json)


def _account(one: AccountView) -> dict[str, Any]:
    found = {name: getattr(one, name) for name in one.__struct_fields__}
    if one.settings is None:
        del found["settings"]
    return found


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"


@settings.command("check")
def check(*, as_json: Json = False) -> None:
    """What this server's configuration is; secrets are not shown."""
    config = load_config()
    show_fields(
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


async def check_merchant(engine: Engine, merchant_id: str) -> None:
    parse_id(IdKind.MERCHANT, merchant_id, field="merchant_id")
    if await merchant_name(engine, merchant_id) is None:
        raise InvalidInput(
            "there is no such merchant", field="merchant_id", remedy="add one: qiao merchant add"
        )


def show_fields(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, tuple(document))
