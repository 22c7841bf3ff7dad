"""Bring a backup back, to the end of the archived log or to a moment in it.

The backup is put together and verified in a new folder, and a server that nobody can reach
replays the log there. Either all of it is there at the end, or none: the log that runs out
before the moment that was asked for, or has a hole, is an error and never a shorter history.
"""

import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from qiao.domain.errors import InvalidInput
from qiao.store.backup import (
    BASE,
    Backup,
    BackupFailed,
    check_is_free,
    check_version,
    read_backup,
    verify,
)
from qiao.store.programs import let_pass, roots_server_user, run_program

START_TIMEOUT_SECONDS = 600
READY = "database system is ready to accept connections"
SEGMENT = re.compile(r"[0-9A-F]{24}")
TIMELINE = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history")
LAST_TRANSACTION = re.compile(r"last completed transaction was at log time (\S+ \S+)")
ENDED_EARLY = "recovery ended before configured recovery target was reached"

SETTINGS = """
listen_addresses = ''
unix_socket_directories = {sockets}
hba_file = {nobody}
hot_standby = off
archive_mode = off
log_timezone = 'UTC'
restore_command = {command}
recovery_target_action = 'promote'
recovery_target_timeline = {timeline}
"""
UNTIL = """
recovery_target_time = {moment}
recovery_target_inclusive = off
"""


class ArchiveGap(BackupFailed):
    """The archived log does not reach as far as was asked for; nothing was restored."""

    code = "archive_gap"


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """``last_transaction_at`` is when the last one that was replayed committed, if any was."""

    backup: Backup
    data: Path
    last_transaction_at: datetime | None


def restore_backup(
    source: Path,
    into: Path,
    *,
    to: datetime | None = None,
    archive: Path | None = None,
    without_archive: bool = False,
    timeline: int | None = None,
) -> Restored:
    """Make the cluster ``into/postgres/data``, shut down and ready to be started.

    ``timeline`` says which history to follow when the archive holds several.
    ``to``: what committed then or later is not there. ``archive`` is where the log is, if not
    where the backup says; ``without_archive`` gives up what was archived after the backup. Blocks.
    Raises InvalidInput, ArchiveGap and BackupFailed.
    """
    backup = read_backup(source, field="source")
    check_version(backup.postgres_version, field="source")
    check_is_free(into, field="into")
    if without_archive and to is not None:
        raise InvalidInput(
            "needs the archive",
            field="to",
            remedy="leave out either --to or --without-archive",
        )
    chain = _chain(source)
    archive = None if without_archive else _archive(backup, archive, to)
    existed = into.exists()
    restoring = _Restoring(into.absolute() / "postgres", archive, to, timeline)
    try:
        last = restoring.run(chain)
    except BaseException:
        shutil.rmtree(into / "postgres" if existed else into, ignore_errors=True)
        raise
    return Restored(backup=backup, data=restoring.data, last_transaction_at=last)


def _archive(backup: Backup, given: Path | None, to: datetime | None) -> Path | None:
    archive = given or (Path(backup.archive) if backup.archive else None)
    if to is not None and to < backup.finished_at:
        raise InvalidInput(
            f"is before the backup was finished, {backup.finished_at.isoformat()}",
            field="to",
            remedy="choose a later time, or an earlier backup",
        )
    if archive is None and to is None:
        return None
    if archive is None or not archive.is_dir():
        raise InvalidInput(
            "the archive of the write-ahead log is not there"
            if archive
            else "the backup was made without an archive of the write-ahead log",
            field="archive",
            remedy="name the folder that holds it; if it is lost, restore --without-archive",
        )
    return archive.absolute()


def _chain(source: Path) -> list[Path]:
    """The full backup first, then every incremental one on top of the one before."""
    chain = [source]
    while (parent := read_backup(chain[0], field="source").parent) is not None:
        places = (Path(parent), chain[0].absolute().parent / Path(parent).name)
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise InvalidInput(
                f"is incremental, and the backup that it builds on is missing: {parent}",
                field="source",
                remedy="bring that one back to its place, or beside this one",
            )
        chain.insert(0, found)
    return chain


class _Restoring:
    """``archive`` is None when the backup's own log is all that shall be replayed."""

    def __init__(
        self, folder: Path, archive: Path | None, to: datetime | None, timeline: int | None
    ) -> None:
        self.data = folder / "data"
        self._folder, self._archive, self._to = folder, archive, to
        self._timeline = timeline
        self._user: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            self._user = roots_server_user()

    def run(self, chain: list[Path]) -> datetime | None:
        for one in chain:
            verify(one / BASE)
        self._folder.mkdir(mode=0o711 if self._user else 0o700, parents=True)
        parts = [str(one / BASE) for one in chain]
        self._must_run("pg_combinebackup", *parts, "--output", str(self.data), as_us=True)
        own = self._choose_timeline()
        last = self._last_archived()
        sockets = Path(tempfile.mkdtemp(prefix="qiao-restore-"))
        work = Path(tempfile.mkdtemp(prefix="restore-", dir=self._folder))
        try:
            said = self._replay(sockets, work, own)
        finally:
            shutil.rmtree(sockets)
            shutil.rmtree(work)
        if self._to is None and last is not None:
            done = re.search(r"redo done at ([0-9A-F]+)/([0-9A-F]+)", said)
            if done is None or self._segment_of(int(done[1], 16), int(done[2], 16)) < last:
                raise ArchiveGap(
                    "a part of the archived log could not be read, or is damaged;"
                    " restore to a time before it with --to"
                )
        told = LAST_TRANSACTION.findall(said)
        return datetime.fromisoformat(told[-1]).astimezone(UTC) if told else None

    def _replay(self, sockets: Path, work: Path, own: int) -> str:
        """Start, which returns when the log is replayed, and stop; what the server logged."""
        # Settings of the server that was backed up may name what is not on this machine.
        kept = self.data / "postgresql.auto.conf"
        aside = work / kept.name
        kept.rename(aside)
        kept.touch(mode=0o600)
        (self.data / "recovery.signal").touch(mode=0o600)
        (work / "nobody.conf").write_text("local all all reject\n")
        settings = SETTINGS.format(
            sockets=_quoted(str(sockets)),
            nobody=_quoted(str(work / "nobody.conf")),
            command=_quoted(self._command()),
            timeline=_quoted("current" if self._timeline == own else str(self._timeline)),
        )
        if self._to is not None:
            settings += UNTIL.format(moment=_quoted(self._to.astimezone(UTC).isoformat()))
        (work / "postgresql.conf").write_text(settings)
        log = work / "server.log"
        log.touch(mode=0o600)
        for folder in (self.data, work, sockets):
            self._give(folder)
        # The names are relative to the folder, because pg_ctl has a shell expand them.
        failure = self._run(
            "pg_ctl", "-s", "-w", "-t", str(START_TIMEOUT_SECONDS), "-l", f"{work.name}/server.log",
            "-o", f"-c config_file={work.name}/postgresql.conf", "start",
        )  # fmt: skip
        # pg_ctl does not wait for the end of the log, only for its beginning.
        while failure is None and READY not in log.read_text(errors="replace"):
            time.sleep(0.1)
            failure = self._run("pg_ctl", "status")
        said = log.read_text(errors="replace")
        if READY not in said:
            raise self._explained(said, failure or "it ended")
        self._must_run("pg_ctl", "-s", "-w", "-t", "600", "-m", "fast", "stop")
        aside.replace(kept)
        self._have_history_archived()
        return said

    def _have_history_archived(self) -> None:
        """Mark the new timeline's beginning for an archive of the restored server's.

        It began while nothing was archived; without it nobody could restore along this timeline.
        """
        log = self.data / "pg_wal"
        for history in log.glob("*.history"):
            mark = log / "archive_status" / f"{history.name}.ready"
            mark.touch(mode=0o600)
            if self._user is not None:
                os.chown(mark, self._user.pw_uid, self._user.pw_gid)

    def _command(self) -> str:
        if self._archive is None:
            return "false"
        folder = str(self._archive).replace("%", "%%")
        return f'cp {quote(folder)}/%f "%p"'

    def _explained(self, said: str, failure: str) -> BackupFailed:
        if ENDED_EARLY in said:
            told = LAST_TRANSACTION.findall(said)
            until = f" The last transaction that it holds is of {told[-1]}." if told else ""
            hole = self._hole()
            missing = f" The segment {hole} is missing." if hole else ""
            return ArchiveGap(
                f"the archived log ends before the time to restore to.{until}{missing}"
            )
        fatal = re.findall(r"(?:FATAL|PANIC): +(.*)", said)
        reason = fatal[0] if fatal else (said.strip() or failure).splitlines()[-1]
        return BackupFailed(f"PostgreSQL did not replay the log: {reason}")

    def _choose_timeline(self) -> int:
        """Of the backup. Raises InvalidInput when it is not clear how history went on from there.

        Each server that was restored or promoted began a timeline of its own; one that was made
        for a trial must not be taken for the one that took the payments.
        """
        own = max(self._timeline_of(name) for name in self._segments(self.data / "pg_wal"))
        there = {own}
        if self._archive is not None:
            names = (path.name for path in self._archive.iterdir())
            there |= {self._timeline_of(name) for name in names if TIMELINE.fullmatch(name)}
        later = sorted(one for one in there if one >= own)
        if self._timeline is None and len(later) > 1:
            raise InvalidInput(
                f"the archive holds the timelines {', '.join(map(str, later))}",
                field="timeline",
                remedy="choose the one to follow: --timeline; the .history files tell of each",
            )
        if self._timeline is not None and self._timeline not in later:
            raise InvalidInput(
                f"there is no timeline {self._timeline} that goes on from the backup",
                field="timeline",
                remedy=f"choose from: {', '.join(map(str, later))}",
            )
        self._timeline = self._timeline or own
        return own

    def _segments(self, folder: Path) -> list[str]:
        """The names of the log's segments there, without those of later timelines."""
        names = [path.name for path in folder.iterdir() if SEGMENT.fullmatch(path.name)]
        limit = self._timeline
        return [name for name in names if limit is None or self._timeline_of(name) <= limit]

    @staticmethod
    def _timeline_of(name: str) -> int:
        return int(name[:8], 16)

    def _last_archived(self) -> int | None:
        """The last segment of the archive. Raises ArchiveGap when one before it is missing."""
        if self._archive is None:
            return None
        segments = self._segments(self._archive)
        for name in segments:
            self._check_is_readable(self._archive / name)
        if self._to is None and (hole := self._hole()):
            raise ArchiveGap(
                f"the segment {hole} is missing in {self._archive};"
                " restore to a time before it with --to, or bring it back"
            )
        return max(map(self._number, segments), default=None)

    def _hole(self) -> str | None:
        """The first segment that is missing between the backup's own and the archive's last."""
        assert self._archive is not None  # noqa: S101 - asked only when there is one
        own = self._segments(self.data / "pg_wal")
        archived = self._segments(self._archive)
        there = {self._number(name) for name in (*own, *archived)}
        first = min(map(self._number, own))
        for number in range(first, max(there)):
            if number not in there:
                high, low = divmod(number, self._segments_in_4_gib())
                return f"{max(own)[:8]}{high:08X}{low:08X}"
        return None

    def _number(self, name: str) -> int:
        return int(name[8:16], 16) * self._segments_in_4_gib() + int(name[16:], 16)

    def _segment_of(self, high: int, low: int) -> int:
        return ((high << 32) + low) // ((1 << 32) // self._segments_in_4_gib())

    def _segments_in_4_gib(self) -> int:
        for one in (self.data / "pg_wal").iterdir():
            if SEGMENT.fullmatch(one.name):
                return (1 << 32) // one.stat().st_size
        raise BackupFailed("the backup holds no write-ahead log of its own")

    def _check_is_readable(self, path: Path) -> None:
        if self._user is None:
            return  # we are the server's user
        found = path.stat()
        if found.st_uid != self._user.pw_uid and not found.st_mode & stat.S_IROTH:
            raise InvalidInput(
                f"the server's user {self._user.pw_name} may not read {path}",
                field="archive",
                remedy=f"give it the files: chown -R {self._user.pw_name} {path.parent}",
            )

    def _give(self, folder: Path) -> None:
        if self._user is None:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)
        let_pass(folder, self._user)
        if self._archive is not None:
            let_pass(self._archive / "segment", self._user)

    def _must_run(self, program: str, *arguments: str, as_us: bool = False) -> None:
        if (failure := self._run(program, *arguments, as_us=as_us)) is not None:
            raise BackupFailed(f"{program} failed: {failure}")

    def _run(self, program: str, *arguments: str, as_us: bool = False) -> str | None:
        return run_program(
            program,
            *arguments,
            folder=self._folder,
            data=self.data,
            user=None if as_us else self._user,
            timeout_seconds=None,
        )


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
