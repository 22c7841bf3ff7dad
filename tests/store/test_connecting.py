"""Several hosts in one URL, and one that never answers."""

import asyncio
import socket

import pytest

from qiao.store.connecting import Connector, single_host_urls


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("postgresql://me:p@one/x", ["postgresql://me:p@one/x"]),
        ("postgresql:///x?host=/run/it", ["postgresql:///x?host=/run/it"]),
        ("postgresql://me@/x?host=/a,b", ["postgresql://me@/x?host=/a,b"]),
        (
            "postgresql://me:p%2C@one:1,[::1]:2,two?a=/@,",
            [f"postgresql://me:p%2C@{host}?a=/@," for host in ("one:1", "[::1]:2", "two")],
        ),
    ],
)
def test_each_host_by_itself(url: str, urls: list[str]) -> None:
    assert single_host_urls(url) == urls


async def test_a_host_that_never_answers_hides_no_other(postgres_server: str) -> None:
    """It takes the connection and then nothing, like a machine that is frozen or out of memory."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        frozen = f"postgresql://qiao@127.0.0.1:{silent.getsockname()[1]}/qiao"
        connector = Connector("postgresql://unused")
        connector._urls = [frozen, postgres_server]
        connection = await connector()
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        # The one that answered is asked first from now on: nothing reaches the frozen one.
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        (await loop.sock_accept(silent))[0].close()
        await (await connector()).close()
        with pytest.raises(BlockingIOError):
            silent.accept()
