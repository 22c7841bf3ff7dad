"""PostgreSQL servers that die, are promoted, are rewound and follow, by PostgreSQL's own tools."""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qiao.store.programs import roots_server_user, run_program

PATIENCE_SECONDS = 120
# How the operator, or Patroni, sees that a primary is dead: by so many looks in vain.
LOOK_EVERY_SECONDS = 0.5
LOOKS_IN_VAIN = 3

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = replica
wal_log_hints = on
wal_keep_size = 1GB
hot_standby = on
synchronous_commit = on
include = '{sync}'
"""
SYNCHRONOUS = """
SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'
"""


class Server:
    """One server, as the user ``postgres`` without a password from this machine alone."""

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.data = folder / name
        self._sync = folder / f"{name}.conf"
        self._folder = folder
        self._user = roots_server_user() if os.geteuid() == 0 else None

    @property
    def address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def create(self) -> None:
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(sync=self._sync))
        self.start()
        self.ask("CREATE ROLE qiao LOGIN")
        self.ask("CREATE DATABASE qiao OWNER qiao")

    def open_to(self, address: str, network: str) -> None:
        """Listen at this machine's address too, and let that network in without a password."""
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = '127.0.0.1, {address}'\n")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} trust\n")
        self.run("pg_ctl", "-D", str(self.data), "-s", "-w", "restart")

    def copy(self, primary: "Server") -> None:
        """Become a standby, from nothing."""
        source = f"{primary.address} application_name={self.name}"
        self.run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-c", "fast", "-N")
        self._own_settings(primary)

    def rewind(self, primary: "Server") -> None:
        """Become a standby, from what a dead primary left: what was not replicated goes."""
        source = f"{primary.address} application_name={self.name}"
        self.run("pg_rewind", "-D", str(self.data), "--source-server", source, "-R", "-N")
        self._own_settings(primary)

    def start(self, *, waits_for: str = "") -> None:
        """``waits_for`` names the standbys without which nothing commits."""
        self._write_sync(waits_for)
        options = f"-p {self.port}"
        log = str(self._folder / f"{self.name}.log")
        self.run("pg_ctl", "-D", str(self.data), "-s", "-w", "-l", log, "-o", options, "start")

    def wait_for(self, standby: str) -> None:
        """From now on nothing commits before the standby has it on disk."""
        self._write_sync(standby)
        self.ask("SELECT pg_reload_conf()")
        until(lambda: self.ask(SYNCHRONOUS) == standby)

    def promote(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-s", "-w", "promote")

    def kill(self) -> None:
        """All its processes at once, as when the machine loses its power."""
        numbers = self._processes()
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        until(lambda: not self._processes())
        # Whoever adopted it may not have buried it yet; PostgreSQL takes the number for a server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def answers(self) -> bool:
        return self._run("pg_isready", "-q", "-d", self.address) is None

    def ask(self, sql: str) -> str:
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.address, "-c", sql)

    def run(self, program: str, *arguments: str) -> str:
        said: list[str] = []
        failure = self._run(program, *arguments, said=said)
        if failure is not None:
            raise AssertionError(f"{program} of {self.name}: {failure}")
        return "".join(said).strip()

    def _run(self, program: str, *arguments: str, said: list[str] | None = None) -> str | None:
        return run_program(program, *arguments, folder=self._folder, user=self._user, output=said)

    def _own_settings(self, primary: "Server") -> None:
        """They came with the data, and name the other's file of who is synchronous."""
        settings = self.data / "postgresql.conf"
        text = settings.read_text()
        settings.write_text(text.replace(f"{primary.name}.conf", f"{self.name}.conf"))

    def _write_sync(self, standbys: str) -> None:
        self._sync.write_text(f"synchronous_standby_names = '{standbys}'\n")
        self._sync.chmod(0o644)

    def _processes(self) -> list[int]:
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with suppress(OSError):
                    if (process / "cwd").readlink() == self.data:  # a zombie has none
                        found.append(int(process.name))
        return found


@dataclass
class Pair:
    """A primary that waits for its standby. Who is which changes."""

    primary: Server
    standby: Server

    def create(self) -> None:
        self.primary.create()
        self.standby.copy(self.primary)
        self.standby.start()
        self.primary.wait_for(self.standby.name)

    @property
    def url(self) -> str:
        """Of whichever is the primary."""
        hosts = ",".join(
            f"127.0.0.1:{one.port}"
            for one in sorted((self.primary, self.standby), key=lambda one: one.name)
        )
        return f"postgresql://qiao@{hosts}/qiao?target_session_attrs=read-write"

    def fail_over(self) -> None:
        """What the operator does: sees that the primary is dead, promotes the standby."""
        vain = 0
        while vain < LOOKS_IN_VAIN:
            vain = 0 if self.primary.answers() else vain + 1
            time.sleep(LOOK_EVERY_SECONDS)
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def repair(self) -> None:
        """The dead one becomes a standby, and commits wait for it again."""
        self.standby.rewind(self.primary)
        self.standby.start()
        self.primary.wait_for(self.standby.name)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not come true")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
