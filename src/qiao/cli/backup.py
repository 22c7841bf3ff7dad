"""``qiao backup`` and ``qiao restore``: the whole database, to any moment."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from qiao.bootstrap.config import SEAL_KEY_FILE, Config, load_config, seal_keys
from qiao.bootstrap.engine import open_administrators_url
from qiao.cli.output import Json, out, print_fields, print_json
from qiao.crypto.sealing import Seal
from qiao.domain.errors import InvalidInput
from qiao.store.backup import SEAL_KEY, Backup, read_backup, take_backup, write_private
from qiao.store.restore import restore_backup


def backup(
    target: Annotated[Path, typer.Argument(help="A new folder for the backup.")],
    *,
    since: Annotated[
        Path | None, typer.Option(help="An earlier backup; only what changed since is copied.")
    ] = None,
    with_seal_key: Annotated[
        bool, typer.Option(help="Put the seal key beside the data. Who has both has everything.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy the whole database, while it works, and verify the copy."""
    config = load_config()
    keys = seal_keys(config)
    made = asyncio.run(
        _back_up(
            config,
            target.absolute(),
            since.absolute() if since else None,
            keys,
            with_seal_key=with_seal_key,
        )
    )
    if as_json:
        print_json({"folder": str(target.absolute()), **msgspec.to_builtins(made)})
        return
    out.print(f"[green]✓[/] {target} holds the database as of {made.finished_at.isoformat()}")
    out.print(_about_archive(made))
    out.print(_about_keys(made, config))


async def _back_up(
    config: Config, target: Path, since: Path | None, keys: list[str], *, with_seal_key: bool
) -> Backup:
    archive = config.backup_archive
    async with open_administrators_url(config) as url:
        return await take_backup(
            url,
            target,
            embedded=not config.database_url,
            archive=Path(archive) if archive else None,
            parent=since,
            seal_keys=keys if with_seal_key else (),
            seal_key_fingerprints=[Seal.fingerprint(key) for key in keys],
        )


def _about_archive(made: Backup) -> str:
    if made.archive_problem:
        return f"[red]There is no good archive of the log[/]: {made.archive_problem}"
    if made.archive:
        return f"Restore it to any later moment with the log in {made.archive}"
    return "There is no archive of the log (backup_archive), so it restores to this moment alone"


def _about_keys(made: Backup, config: Config) -> str:
    if not made.seal_key_fingerprints:
        return "There is no seal key yet: nothing in the database is sealed"
    if made.seal_key_included:
        return "[yellow]The seal key is in it[/]: keep the backup as you keep the channels' keys"
    place = "seal_keys of the configuration" if config.seal_keys else _key_file(config)
    return (
        f"[yellow]The seal key is not in it[/]: keep {place} somewhere else"
        " (without it the accounts' settings and the webhooks' secrets are lost)"
    )


def _key_file(config: Config) -> str:
    return str(Path(config.home) / SEAL_KEY_FILE)


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that qiao backup made.")],
    *,
    into: Annotated[Path, typer.Option(help="A new folder: the restored home.")],
    to: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"],
            help="As it was at this time, such as 2026-01-31T00:00:00Z; the newest without it.",
        ),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="Where the archived log is, if it was moved.")
    ] = None,
    without_archive: Annotated[
        bool, typer.Option(help="Only what the backup itself holds; the archive is lost.")
    ] = False,
    timeline: Annotated[
        int | None, typer.Option(help="Which history to follow, if the archive holds several.")
    ] = None,
    seal_key: Annotated[
        Path | None, typer.Option(help="The file of the seal key, if it is not in the backup.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a database from a backup, at the end of the archived log or at a time."""
    keys = _keys(source, seal_key)
    done = restore_backup(
        source, into, to=to, archive=archive, without_archive=without_archive, timeline=timeline
    )
    if keys:
        write_private(into / SEAL_KEY_FILE, ",".join(keys))
    shown: dict[str, Any] = {
        "home": str(into.absolute()),
        "data": str(done.data),
        "backup_of": done.backup.finished_at.isoformat(),
        "last_transaction_at": done.last_transaction_at and done.last_transaction_at.isoformat(),
        "seal_key": _state_of_key(done.backup, keys),
        "next": _next(done.backup, into),
    }
    if as_json:
        print_json(shown)
    else:
        print_fields(shown, tuple(shown))


def _keys(source: Path, given: Path | None) -> list[str]:
    """The right ones, or none. Raises InvalidInput when those that were given are others."""
    wanted = read_backup(source, field="source").seal_key_fingerprints
    path = given or source / SEAL_KEY
    try:
        keys = path.read_text("utf-8").strip().split(",")
    except OSError as error:
        if given is None:
            return []
        raise InvalidInput(
            f"cannot be read: {error.strerror}",
            field="seal_key",
            remedy="name the file of the seal key",
        ) from None
    if not set(wanted) <= {Seal.fingerprint(key) for key in keys}:
        raise InvalidInput(
            "is not the key of this backup",
            field="seal_key",
            remedy=f"find the key with the fingerprint {', '.join(wanted)}",
        )
    return keys


def _state_of_key(made: Backup, keys: list[str]) -> str:
    if keys:
        return "restored"
    if not made.seal_key_fingerprints:
        return "none was in use"
    return f"missing; fingerprint {', '.join(made.seal_key_fingerprints)}"


def _next(made: Backup, into: Path) -> str:
    if made.embedded:
        return f"QIAO_HOME={into.absolute()} qiao ledger check"
    return f"start PostgreSQL {made.postgres_version} on the data, then: qiao ledger check"
