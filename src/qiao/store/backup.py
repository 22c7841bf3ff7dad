"""Backups of the whole database, by PostgreSQL's own tools.

A backup is a folder: ``base`` is what pg_basebackup made (plain, with its manifest), and
``qiao-backup.json`` says what it is of. An incremental one (``parent``) holds only what changed
since another, and needs it. With the archive of the write-ahead log, a backup can be brought to
any later moment; ``qiao.store.restore`` does that.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec

from qiao.domain.errors import InvalidInput, QiaoError
from qiao.store.connecting import Connector
from qiao.store.database import connecting
from qiao.store.migrate import status
from qiao.store.programs import run_program

DESCRIPTION = "qiao-backup.json"
BASE = "base"
MANIFEST = "backup_manifest"
SEAL_KEY = "seal.key"


class BackupFailed(QiaoError):
    """PostgreSQL could not make or restore the backup; what was begun is removed."""

    code = "backup_failed"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself. Times are the database server's."""

    format: int = 1
    finished_at: datetime
    """From this moment on it can be restored to."""
    postgres_version: str
    schema_revision: str | None
    embedded: bool
    """Of Qiao's own server: the restored folder is a home for Qiao."""
    archive: str | None
    """Where the write-ahead log is archived."""
    archive_problem: str | None = None
    """Why the archive may not reach as far as it should."""
    first_segment: str
    """Of the archive; what is older, this backup does not need."""
    parent: str | None
    seal_key_fingerprints: tuple[str, ...]
    """Of the keys without which the accounts' settings cannot be read."""
    seal_key_included: bool


async def take_backup(
    url: str,
    target: Path,
    *,
    embedded: bool,
    archive: Path | None,
    parent: Path | None,
    seal_keys: Sequence[str],
    seal_key_fingerprints: Sequence[str],
) -> Backup:
    """A verified backup in the new folder ``target``; it appears there once it is whole.

    ``url`` is of a role that may replicate. ``seal_keys`` are written beside the data, so none are
    given when they shall be kept apart. Raises InvalidInput, StoreUnavailable and BackupFailed.
    """
    await asyncio.to_thread(_check, target, parent)
    version = await _server_version(url)
    await asyncio.to_thread(check_version, version, field="database_url")
    revision = (await status(url)).current
    partial = await asyncio.to_thread(_make_partial, target)
    try:
        await asyncio.to_thread(_copy, url, partial / BASE, parent)
        problem = await _archive_problem(url) if archive and embedded else None
        backup = Backup(
            finished_at=await _server_clock(url),
            postgres_version=version,
            schema_revision=revision,
            embedded=embedded,
            archive=str(archive) if archive else None,
            archive_problem=problem,
            first_segment=await asyncio.to_thread(_first_segment, partial / BASE),
            parent=str(parent) if parent else None,
            seal_key_fingerprints=tuple(seal_key_fingerprints),
            seal_key_included=bool(seal_keys),
        )
        await asyncio.to_thread(verify, partial / BASE)
        await asyncio.to_thread(_finish, partial, target, backup, seal_keys)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        raise
    return backup


def _check(target: Path, parent: Path | None) -> None:
    check_is_free(target, field="target")
    if parent is not None:
        read_backup(parent, field="since")


def _make_partial(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))


def _finish(partial: Path, target: Path, backup: Backup, seal_keys: Sequence[str]) -> None:
    if seal_keys:
        write_private(partial / SEAL_KEY, ",".join(seal_keys))
    document = msgspec.json.format(msgspec.json.encode(backup), indent=2)
    (partial / DESCRIPTION).write_bytes(document)
    if target.exists():
        target.rmdir()  # empty, or it would not have been free
    partial.rename(target)


def read_backup(source: Path, *, field: str) -> Backup:
    """Raises InvalidInput when ``source`` is no backup of ours."""
    try:
        return msgspec.json.decode((source / DESCRIPTION).read_bytes(), type=Backup)
    except (OSError, msgspec.DecodeError):
        raise InvalidInput(
            "there is no backup in this folder",
            field=field,
            remedy=f"name a folder that qiao backup made; it holds {DESCRIPTION}",
        ) from None


def check_is_free(folder: Path, *, field: str) -> None:
    """That nothing is overwritten."""
    if folder.is_symlink() or (
        folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    ):
        raise InvalidInput(
            "there is something already",
            field=field,
            remedy="name a folder that does not exist yet, or an empty one",
        )


def check_version(found: str, *, field: str) -> None:
    """That the installed programs are of the same major version as the data."""
    output: list[str] = []
    if (
        failure := run_program("postgres", "--version", folder=Path("/"), output=output)
    ) is not None:
        raise BackupFailed(f"PostgreSQL's programs do not run: {failure}")
    has = re.search(r"\d+", output[0])
    if has is None or has[0] != found:
        raise InvalidInput(
            f"it is of PostgreSQL {found}, and the installed tools are of"
            f" {has[0] if has else 'an unknown version'}",
            field=field,
            remedy=f"use the pg_basebackup of PostgreSQL {found}, or a Qiao that brings it",
        )


def verify(base: Path) -> None:
    """Every file against the manifest's checksums, and the log that it needs."""
    failure = run_program("pg_verifybackup", "-q", str(base), folder=base, timeout_seconds=None)
    if failure is not None:
        raise BackupFailed(f"{base} is damaged: {failure}")


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _copy(url: str, base: Path, parent: Path | None) -> None:
    address, environment = for_libpq(url)
    # fmt: off
    failure = run_program(
        "pg_basebackup", "--pgdata", str(base), "--dbname", address, "--no-password",
        "--wal-method=stream", "--checkpoint=fast", "--label=qiao backup",
        "--manifest-checksums=SHA256",
        *(["--incremental", str(parent / BASE / MANIFEST)] if parent else []),
        folder=base.parent, environment=environment, timeout_seconds=None,
    )
    # fmt: on
    if failure is not None:
        raise BackupFailed(f"pg_basebackup failed: {failure}{_advice(failure)}")


def _first_segment(base: Path) -> str:
    label = (base / "backup_label").read_text()
    found = re.search(r"^START WAL LOCATION: \S+ \(file (\w+)\)$", label, re.MULTILINE)
    if found is None:
        raise BackupFailed("the backup's label does not say where its log begins")
    return found[1]


def _advice(failure: str) -> str:
    for sign, advice in (
        ("permission denied to start WAL sender", "; give the role the attribute REPLICATION"),
        ("no pg_hba.conf entry for replication", "; let the role replicate in pg_hba.conf"),
        ("summarization", "; incremental backups need summarize_wal = on since before the parent"),
        ("summaries", "; incremental backups need summarize_wal = on since before the parent"),
    ):
        if sign in failure:
            return advice
    return ""


def for_libpq(url: str) -> tuple[str, dict[str, str]]:
    """The URL without its password, and the environment with it: arguments are seen by all."""
    scheme, _, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    access, at, hosts = place.rpartition("@")
    user, _, password = access.partition(":")
    path, mark, query = rest[len(place) :].partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    secret = unquote(password) or dict(pairs).get("password", "")
    kept = urlencode([(name, value) for name, value in pairs if name != "password"])
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "HOME" or (name.startswith("PG") and name != "PGDATA")
    }
    if secret:
        environment["PGPASSWORD"] = secret
    return f"{scheme}://{user}{at}{hosts}{path}{mark}{kept}", environment


async def _server_version(url: str) -> str:
    return str(int(await _ask(url, "SHOW server_version_num")) // 10_000)


async def _server_clock(url: str) -> datetime:
    moment: datetime = await _ask(url, "SELECT clock_timestamp()")
    return moment


async def _archive_problem(url: str) -> str | None:
    if await _ask(url, "SHOW archive_mode") != "on":
        return "the server runs since before it was set; stop all of Qiao's processes once"
    failed = await _ask(
        url,
        "SELECT last_failed_time FROM pg_stat_archiver"
        " WHERE last_failed_time > coalesce(last_archived_time, '-infinity')",
    )
    return f"archiving failed at {failed.isoformat()}; server.log tells why" if failed else None


async def _ask(url: str, sql: str) -> Any:
    with connecting(url):
        connection = await Connector(url)()
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()
