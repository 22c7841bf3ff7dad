"""A primary and a standby on this machine, set up as docs/operations/high-availability.md says."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qiao.store.programs import let_pass, roots_server_user
from qiao.testing.servers import Pair, Server, free_port


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user owns: PostgreSQL does not run as root."""
    made = Path(tempfile.mkdtemp(prefix="qiao-disaster-"))
    if os.geteuid() == 0:
        user = roots_server_user()
        os.chown(made, user.pw_uid, user.pw_gid)
        let_pass(made / "data", user)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    """Replicating synchronously, with a database ``qiao``; killed at the end."""
    servers = [Server(folder, name, free_port()) for name in ("qiao_a", "qiao_b")]
    pair = Pair(primary=servers[0], standby=servers[1])
    try:
        pair.create()
        yield pair
    finally:
        for server in servers:
            server.kill()
