"""Clients that say nothing, do not come to an end, or do not read what they asked for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from qiao.bootstrap import patience
from qiao.bootstrap.serving import listen, serving
from qiao.store.database import Database
from qiao.testing.world import World

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
LARGE = b"GET /v1/schema/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
WITHIN_SECONDS = 30

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.3)


@asynccontextmanager
async def served(world: World, max_requests: int = 128) -> AsyncIterator[tuple[str, int]]:
    listener = listen("127.0.0.1", 0)
    async with serving(world.engine, listener, max_requests=max_requests) as url:
        yield "127.0.0.1", int(url.rpartition(":")[2])


@asynccontextmanager
async def connected(place: tuple[str, int]) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(*place)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server hangs up."""
    async with asyncio.timeout(WITHIN_SECONDS):
        return await reader.read()


@pytest.mark.usefixtures("impatient")
async def test_who_says_nothing_is_hung_up_on(world: World) -> None:
    async with served(world) as place, connected(place) as (reader, _):
        assert await rest_of(reader) == b""


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_does_not_end(world: World) -> None:
    async with served(world) as place, connected(place) as (reader, writer):
        writer.write(GET)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_drips(world: World) -> None:
    async with served(world) as place, connected(place) as (reader, writer):
        ending = asyncio.create_task(rest_of(reader))
        writer.write(GET)
        while not ending.done():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.01)
        with suppress(ConnectionResetError):  # it hung up on what was still coming
            assert ending.result().startswith(b"HTTP/1.1 408 ")


async def test_a_head_without_measure(world: World) -> None:
    async with served(world) as place, connected(place) as (reader, writer):
        ending = asyncio.create_task(rest_of(reader))
        writer.write(GET + b"X: ")
        while not ending.done():
            writer.write(b"y" * 4096)
            await asyncio.sleep(0)
        with suppress(ConnectionResetError):  # it hung up on what was still coming
            assert ending.result().startswith(b"HTTP/1.1 431 ")


async def test_a_head_behind_a_long_body_is_read(world: World) -> None:
    body = b"x" * 2 * patience.MAX_HEAD_BYTES
    async with served(world) as place, connected(place) as (reader, writer):
        length = str(len(body)).encode()
        writer.write(b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: " + length)
        writer.write(b"\r\n\r\n" + body + GET)
        await asyncio.sleep(0.1)
        writer.write(b"Connection: close\r\n\r\n")
        told = await rest_of(reader)
        assert told.startswith(b"HTTP/1.1 405 ")
        assert b"HTTP/1.1 200 " in told


@pytest.mark.usefixtures("impatient")
async def test_a_kept_connection_is_used_again(world: World) -> None:
    async with served(world) as place, connected(place) as (reader, writer):
        for _ in range(4):  # together longer than a head may take
            writer.write(GET + b"\r\n")
            answer = await reader.readuntil(b"}")
            assert answer.startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.15)


@pytest.mark.usefixtures("impatient")
async def test_what_is_being_served_is_not_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, going = asyncio.Event(), asyncio.Event()

    async def slowly(*_: object) -> None:
        asked.set()
        await going.wait()

    monkeypatch.setattr(Database, "fetch_row", slowly)
    async with served(world) as place, connected(place) as (reader, writer):
        writer.write(b"GET /cashier/mer_1/pay_1/none/state HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write(GET)  # and the next one's head does not come to an end
        await asked.wait()
        await asyncio.sleep(3 * patience.HEAD_SECONDS)
        going.set()
        told = await rest_of(reader)
        assert told.startswith(b"HTTP/1.1 404 ")
        assert b"HTTP/1.1 408 " in told


async def test_who_does_not_read_holds_no_slot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", 2)  # long enough to be seen
    async with served(world, max_requests=8) as place:
        silent = []
        for _ in range(8):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, place)
            await asyncio.get_running_loop().sock_sendall(client, LARGE * 40)
            silent.append(client)
        for status in (b"503", b"200"):  # they hold all there is; then they do not any more
            async with asyncio.timeout(WITHIN_SECONDS):
                while await status_of(place) != status:
                    await asyncio.sleep(0.05)
        for client in silent:
            client.close()


async def status_of(place: tuple[str, int]) -> bytes:
    async with connected(place) as (reader, writer):
        writer.write(LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return (await rest_of(reader)).split(b" ", 2)[1]
