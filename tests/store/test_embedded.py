"""The embedded server: shared by its users, safe from their deaths, closed to everyone else."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from qiao.store.embedded import EmbeddedPostgres, embedded_postgres
from qiao.store.errors import StoreUnavailable

Spawn = Callable[..., "subprocess.Popen[str]"]
Eventually = Callable[[Callable[[], object]], None]

# Prints when the server began, and holds it until the input ends; as the user of that number,
# if one is given. (Python itself may be out of that user's reach, hence all the imports first.)
USER = """
import asyncio, concurrent.futures.thread, encodings.idna, os, sys
from pathlib import Path
import asyncpg
from qiao.store.embedded import embedded_postgres

if sys.argv[2:]:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))

async def main():
    async with embedded_postgres(Path(sys.argv[1]), fast=True) as url:
        connection = await asyncpg.connect(url)
        print(await connection.fetchval("SELECT pg_postmaster_start_time()::text"), flush=True)
        await connection.close()
        await asyncio.to_thread(sys.stdin.read)

import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(main())
"""


BEGAN = "SELECT pg_postmaster_start_time()::text"


def ask(url: str, sql: str) -> object:
    async def connect() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(connect())


def server_pid(home: Path) -> int | None:
    """The number of the running server, by its own file."""
    try:
        return int((home / "postgres/data/postmaster.pid").read_text().partition("\n")[0])
    except FileNotFoundError:
        return None


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.kill()
        raise AssertionError(process.communicate()[1])
    return line.strip()


def end(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate("")
    assert process.returncode == 0, errors


def test_the_last_user_stops_the_server_and_the_data_stay(home: Path) -> None:
    first, second = EmbeddedPostgres(home, fast=True), EmbeddedPostgres(home, fast=True)
    first.start()
    pid = server_pid(home)
    second.start()
    assert server_pid(home) == pid
    assert first.url == second.url
    ask(first.url, "CREATE TABLE kept ()")
    first.stop()
    assert ask(second.url, "SELECT count(*) FROM kept") == 0
    second.discard()  # its other use goes on
    assert ask(second.url, "SELECT count(*) FROM kept") == 0
    second.stop()
    assert server_pid(home) is None
    with pytest.raises(OSError, match=r"No such file|refused"):
        ask(second.url, "SELECT 1")

    third = EmbeddedPostgres(home, fast=True)
    third.start()
    assert ask(third.url, "SELECT count(*) FROM kept") == 0
    third.stop()
    third.stop()
    third.discard()
    assert not (home / "postgres").exists()


def test_many_may_discard_at_once(home: Path) -> None:
    def make_and_discard(_: int) -> None:
        with suppress(FileExistsError):
            (home / "postgres").mkdir()
        EmbeddedPostgres(home).discard()

    with ThreadPoolExecutor(max_workers=8) as threads:
        assert list(threads.map(make_and_discard, range(400))) == [None] * 400
    assert not any(home.iterdir())


async def test_durable_unless_told_otherwise(home: Path) -> None:
    async with embedded_postgres(home) as url:
        connection = await asyncpg.connect(url)
        settings = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
        assert [await connection.fetchval(f"SHOW {name}") for name in settings] == ["on"] * 4
        await connection.close()


async def test_nobody_else_gets_in(home: Path) -> None:
    async with embedded_postgres(home, fast=True) as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SHOW listen_addresses") == ""
        assert (
            await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = user") is False
        )
        await connection.close()
        assert (home / "postgres/run").stat().st_mode & 0o077 == 0
        assert (home / "postgres/data").stat().st_mode & 0o077 == 0
        methods = (home / "postgres/hba.conf").read_text().split("\n")
        assert methods == [
            "local all all peer map=qiao",
            "local replication postgres peer map=qiao",  # which "all" does not mean
            "",
        ]


async def test_a_killed_server_recovers_what_was_committed(
    home: Path, eventually: Eventually
) -> None:
    async with embedded_postgres(home) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        pid = server_pid(home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        connection.terminate()
    assert server_pid(home) == pid  # what it left behind

    async with embedded_postgres(home) as url:
        assert server_pid(home) != pid
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT n FROM kept") == 1
        await connection.close()


@pytest.mark.parametrize("number", ["{mine}", "999999999", ""], ids=["reused", "dead", "empty"])
async def test_a_stale_process_number_does_not_keep_it_from_starting(
    home: Path, number: str
) -> None:
    async with embedded_postgres(home, fast=True):
        pass
    number = number.format(mine=os.getppid())
    (home / "postgres/data/postmaster.pid").write_text(f"{number}\n{home}/postgres/data\n1\n")
    async with embedded_postgres(home, fast=True) as url:
        connection = await asyncpg.connect(url)
        await connection.close()


def test_processes_that_start_at_once_share_one_server(home: Path, spawn: Spawn) -> None:
    users = [spawn(USER, str(home)) for _ in range(3)]
    server = EmbeddedPostgres(home, fast=True)
    server.start()
    assert [answer(user) for user in users] == [ask(server.url, BEGAN)] * 3
    server.stop()
    for user in users:
        assert server_pid(home) is not None
        end(user)
    assert server_pid(home) is None


def test_a_server_outlives_a_killed_user_and_is_used_again(home: Path, spawn: Spawn) -> None:
    user = spawn(USER, str(home))
    answer(user)
    pid = server_pid(home)
    user.kill()
    user.wait()
    assert server_pid(home) == pid
    other = spawn(USER, str(home))
    answer(other)
    assert server_pid(home) == pid
    end(other)
    assert server_pid(home) is None


def test_a_killed_start_leaves_nothing_that_harms(
    home: Path, spawn: Spawn, eventually: Eventually
) -> None:
    user = spawn(USER, str(home))
    eventually(lambda: list((home / "postgres").glob("data.new-*/base")))
    user.kill()
    user.wait()
    other = spawn(USER, str(home))
    answer(other)
    end(other)


@pytest.mark.parametrize(
    "name", ["d" * 120, "a, b", "Ünï 100% 'x' \"y\" \\ $HOME"], ids=["long", "comma", "signs"]
)
async def test_any_folder_will_do(home: Path, name: str) -> None:
    async with embedded_postgres(home / name, fast=True) as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_database()") == "qiao"
        await connection.close()
    EmbeddedPostgres(home / name).discard()


def test_a_place_that_cannot_be_used_is_told(home: Path) -> None:
    (home / "file").write_text("")
    for place in (home / "file", Path("/proc/qiao")):
        with pytest.raises(StoreUnavailable, match="cannot use"):
            EmbeddedPostgres(place).start()


def test_the_cluster_of_another_version_is_told_and_left_alone(home: Path) -> None:
    server = EmbeddedPostgres(home, fast=True)
    server.start()
    server.stop()
    (home / "postgres/data/PG_VERSION").write_text("9\n")
    with pytest.raises(StoreUnavailable, match=r"made by PostgreSQL 9, .* pg_dump"):
        EmbeddedPostgres(home, fast=True).start()
    (home / "postgres/data/PG_VERSION").write_text("18\n")
    again = EmbeddedPostgres(home, fast=True)
    again.start()
    again.stop()


def test_a_server_that_does_not_start_says_where_to_look(home: Path) -> None:
    server = EmbeddedPostgres(home, fast=True)
    server.start()
    server.stop()
    with (home / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("\nno_such_setting = 1\n")
    with pytest.raises(StoreUnavailable, match=r"server\.log tells why"):
        EmbeddedPostgres(home, fast=True).start()
    assert "no_such_setting" in (home / "postgres/run/server.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all the others as one")
def test_as_an_ordinary_user(home: Path, spawn: Spawn) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    user = spawn(USER, str(home), str(nobody.pw_uid))
    began = answer(user)
    server = EmbeddedPostgres(home, fast=True)  # root may join
    server.start()
    assert ask(server.url, BEGAN) == began
    server.stop()
    end(user)
    assert server_pid(home) is None

    server = EmbeddedPostgres(home, fast=True)  # and start it, which then runs as its owner
    server.start()
    assert Path(f"/proc/{server_pid(home)}").stat().st_uid == nobody.pw_uid
    user = spawn(USER, str(home), str(nobody.pw_uid))
    assert answer(user) == ask(server.url, BEGAN)
    server.stop()
    end(user)
    assert server_pid(home) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="root's folders are what this is about")
def test_an_ordinary_user_does_not_enter_roots_server(home: Path, spawn: Spawn) -> None:
    server = EmbeddedPostgres(home, fast=True)
    server.start()
    nobody = pwd.getpwnam("nobody")
    code = (
        "import os, socket, sys; os.setuid(int(sys.argv[2]));"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    )
    intruder = spawn(code, str(home / "postgres/run/.s.PGSQL.5432"), str(nobody.pw_uid))
    assert "PermissionError" in intruder.communicate()[1]
    intruder = spawn(USER, str(home), str(nobody.pw_uid))
    assert "belongs to another user" in intruder.communicate()[1]
    server.stop()
