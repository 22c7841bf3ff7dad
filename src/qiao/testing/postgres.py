"""Pytest fixtures: a fresh, migrated database for every test, on one server for all of them.

In the topmost ``conftest.py``::

    pytest_plugins = ["qiao.testing.postgres"]

``postgres_url`` is the URL of the test's own database, ``database`` an open Database on it. The
processes of pytest-xdist share one embedded server, which goes with the last of them.
QIAO_TEST_DATABASE_URL names a real server instead, by a role that may create databases.
TMPDIR says where its data are; without, they are in memory, where that has room.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from qiao.store.database import Database, open_database
from qiao.store.embedded import EmbeddedPostgres
from qiao.store.migrate import migrate

MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is its owner's alone
MEMORY_NEEDED = 4 * 1024**3


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server on which databases may be created."""
    if named := os.environ.get("QIAO_TEST_DATABASE_URL"):
        yield named
        return
    # All processes of one session have the same folder above theirs. The server's own stands
    # outside: pytest shuts its folders to the user as whom the server runs when we are root.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    name = hashlib.sha256(str(shared).encode()).hexdigest()[:12]
    server = EmbeddedPostgres(_homes() / f"{_prefix()}{name}", fast=True)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
        _discard_unused()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database, to copy; each process of the session has its own."""
    name = f"qiao_test_{secrets.token_hex(6)}"
    _blocking(_run(postgres_server, f"CREATE DATABASE {name}"))
    try:
        _blocking(migrate(_with_database(postgres_server, name)))
        yield name
    finally:
        _blocking(_drop(postgres_server, name))


@pytest_asyncio.fixture
async def postgres_url(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database, which is dropped after the test."""
    name = f"qiao_test_{secrets.token_hex(6)}"
    await _run(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    try:
        yield _with_database(postgres_server, name)
    finally:
        await _drop(postgres_server, name)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh database without a schema, which is dropped after the test."""
    name = f"qiao_test_{secrets.token_hex(6)}"
    _blocking(_run(postgres_server, f"CREATE DATABASE {name}"))
    try:
        yield _with_database(postgres_server, name)
    finally:
        _blocking(_drop(postgres_server, name))


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """An open Database on the test's own database."""
    async with open_database(postgres_url, min_size=1, max_size=16) as opened:
        yield opened


def pytest_unconfigure() -> None:
    """Discard the servers of sessions, or of processes of this one, that were killed."""
    _discard_unused()


def _discard_unused() -> None:
    for homes in {_homes(), _temporary()}:
        for home in homes.glob(f"{_prefix()}*"):
            EmbeddedPostgres(home).discard()
            with suppress(OSError):  # in use, or gone
                home.rmdir()


def _homes() -> Path:
    """In memory, where there is plenty of it: a database is some 400 files, which a disk's file
    system makes in 0.2 s and memory in a sixth of that. TMPDIR says otherwise.
    """
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free = min(int(available.split()[1]) * 1024, shutil.disk_usage(MEMORY).free)
        if "TMPDIR" not in os.environ and free > MEMORY_NEEDED and os.access(MEMORY, os.W_OK):
            return MEMORY
    return _temporary()


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _prefix() -> str:
    return f"qiao-test-postgres-{os.geteuid()}-"


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _blocking(work: Coroutine[object, object, object]) -> None:
    # In a thread, so that a test's event loop in this one is not disturbed.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, work).result()


async def _drop(url: str, name: str) -> None:
    # Not WITH (FORCE): it fails while autovacuum, which is no process of our role's, is in the
    # database. Without, DROP ends autovacuum by itself; what a test left open is ended before.
    await _run(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = $1 AND usename = current_user",
        name,
    )
    await _run(url, f"DROP DATABASE {name}")


async def _run(url: str, statement: str, *values: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()
