"""Between a process and its database: knows each statement by its name, and may let none pass.
Between a network and the loopback: passes everything on.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from qiao.store.sql import load_statements

SOCKET: Final = ".s.PGSQL.5432"
CLOSED: Final = (OSError, asyncio.IncompleteReadError)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A moment in a process's life: before it asks its database for this, or after that was done
    and before it hears of it."""

    statement: str
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.statement}"


class Ambush:
    """Counts what passes by its name, and strikes once, at the point for which it is armed."""

    def __init__(self) -> None:
        self._armed: Point | None = None
        self._strike: Callable[[], None] = lambda: None
        self.seen: Counter[str] = Counter()
        self.struck = asyncio.Event()

    def arm(self, point: Point, strike: Callable[[], None]) -> None:
        self.struck.clear()
        self._armed, self._strike = point, strike

    def waits_for(self, name: str, *, after: bool) -> bool:
        return self._armed == Point(statement=name, after=after)

    def strikes(self, name: str, *, after: bool) -> bool:
        """Whether this is the point; then nothing more may pass there."""
        if not self.waits_for(name, after=after):
            return False
        self._armed = None
        self._strike()
        self.struck.set()
        return True


def names() -> dict[str, str]:
    """What Qiao's own statements are called, by their texts."""
    found = {}
    for file in files("qiao.store").joinpath("sql").iterdir():
        name = file.name.removesuffix(".sql")
        found.update({text: f"{name}.{label}" for label, text in load_statements(name).items()})
    return found


class Relay(Ambush):
    """Listens in ``folder`` as PostgreSQL does, and passes everything on to the server of ``url``.

    Source: https://www.postgresql.org/docs/18/protocol-message-formats.html.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__()
        parts = urlsplit(url)
        [host] = parse_qs(parts.query)["host"]
        self._target = f"{host}/{SOCKET}"
        self._folder = folder
        self._names = names()
        self.url = parts._replace(query=f"host={folder}").geturl()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Relay"]:
        self._folder.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(self._serve, self._folder / SOCKET)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(*CLOSED):
            from_server, to_server = await asyncio.open_unix_connection(self._target)
            try:
                connection = _Connection(self, reader, writer, from_server, to_server)
                await connection.pass_on()
            finally:
                to_server.close()
        writer.close()

    def name_of(self, text: str) -> str | None:
        """None for what is not worth a name: the beginning of a transaction, a question to
        PostgreSQL about itself."""
        if text.strip().rstrip(";") == "COMMIT":
            return "commit"
        return self._names.get(text)


@dataclass
class _Connection:
    relay: Relay
    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    withheld: str | None = None
    """The statement whose answer is not passed on."""

    async def pass_on(self) -> None:
        """Until one of them hangs up, or it is struck."""
        self.to_server.write(await _untyped(self.from_client))  # who it is
        answering = asyncio.create_task(self._answers())
        asking = asyncio.create_task(self._questions())
        try:
            await asyncio.wait((answering, asking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, asking):
                task.cancel()
            await asyncio.gather(answering, asking, return_exceptions=True)

    async def _questions(self) -> None:
        prepared: dict[bytes, str] = {}
        with suppress(*CLOSED):
            while True:
                kind, body = await _message(self.from_client)
                text = None
                if kind == b"P":
                    label, query, _ = body[5:].split(b"\0", 2)
                    prepared[label] = query.decode()
                elif kind == b"B":
                    _portal, label, _ = body[5:].split(b"\0", 2)
                    text = prepared.get(label)
                elif kind == b"Q":
                    text = body[5:].rstrip(b"\0").decode()
                if text is not None and (name := self.relay.name_of(text)) is not None:
                    self.relay.seen[name] += 1
                    if self.relay.strikes(name, after=False):
                        return
                    if self.relay.waits_for(name, after=True):
                        self.withheld = name
                self.to_server.write(body)
                await self.to_server.drain()

    async def _answers(self) -> None:
        with suppress(*CLOSED):
            while True:
                kind, body = await _message(self.from_server)
                if self.withheld is not None:
                    if kind == b"Z" and self.relay.strikes(self.withheld, after=True):
                        return
                    continue
                self.to_client.write(body)
                await self.to_client.drain()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Its kind, and the whole of it."""
    head = await reader.readexactly(5)
    [length] = struct.unpack("!I", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


async def _untyped(reader: asyncio.StreamReader) -> bytes:
    """The first, which alone has no kind."""
    head = await reader.readexactly(4)
    [length] = struct.unpack("!I", head)
    return head + await reader.readexactly(length - 4)


@asynccontextmanager
async def reachable(url: str, host: str) -> AsyncIterator[str]:
    """The URL by which what listens on the loopback is reached at another of our addresses."""
    target = urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):  # at the end
            answers, questions = await asyncio.open_connection(target.hostname, target.port)
            await asyncio.gather(_copy(reader, questions), _copy(answers, writer))

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()
