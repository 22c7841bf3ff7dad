"""The database's disk runs full under load: requests are turned away, and nothing is lost."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from qiao.store.programs import roots_server_user
from qiao.testing.servers import Server, free_port
from tests.crash.live import Live, live

MEGABYTES = 256
FULL_FOR_SECONDS = 3.0
"""Long enough that what is retried within a moment fails again."""
WITHIN_SECONDS = 60.0


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own."""
    made = Path(tempfile.mkdtemp(prefix="qiao-disk-"))
    mount = ("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "qiao", str(made))
    try:
        done = subprocess.run(mount, capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
        user = roots_server_user()
        os.chown(made, user.pw_uid, user.pw_gid)
        made.chmod(0o755)
        yield made
        subprocess.run(("umount", "--lazy", str(made)), check=True)
    finally:
        shutil.rmtree(made)


async def test_a_disk_that_is_full_and_is_made_room_on(disk: Path, tmp_path: Path) -> None:
    server = Server(disk, "qiao_small", free_port())
    try:
        server.create()
        async with live(tmp_path, f"postgresql://qiao@127.0.0.1:{server.port}/qiao") as platform:
            await platform.buy_while(asyncio.sleep(0), at_least=20)
            await platform.buy_while(_fill_up(platform, server, disk), at_least=20, at_once=8)
            assert platform.server.lives()
            assert platform.worker.lives()
            payments, events = await platform.end()
    finally:
        server.kill()
    print(f"{payments} payments, {events} events")


async def _fill_up(platform: Live, server: Server, disk: Path) -> None:
    ballast, turned_away = disk / "ballast", platform.customer.turned_away
    async with asyncio.timeout(WITHIN_SECONDS):
        while not turned_away[503]:
            _write_until_full(ballast)  # again, for PostgreSQL gives some of its files back
            await asyncio.sleep(0.1)
    await asyncio.sleep(FULL_FOR_SECONDS)
    ballast.unlink()
    if not server.answers():  # it could not even write its log ahead, and has ended itself
        await asyncio.to_thread(server.start)


def _write_until_full(file: Path) -> None:
    with file.open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while ballast.write(bytes(size)) == size:
                    pass
