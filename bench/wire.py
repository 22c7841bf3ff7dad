"""HTTP/1.1 over raw asyncio protocols: as little as a load generator and a peer need.

They share the machine with what is measured, so every microsecond here is taken from it.
"""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Protocol as Shape
from typing import cast

END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Answerer(Shape):
    """Gives the whole answer to a request, of which it sees the first line."""

    def __call__(self, line: bytes) -> bytes: ...


def split_message(data: bytes | bytearray) -> tuple[bytes, bytes, int] | None:
    """Head, body and length of the first message in ``data``; None while it is not whole.

    A message without Content-Length has no body: nobody here sends chunks.
    """
    end = data.find(END)
    if end < 0:
        return None
    head = bytes(data[:end])
    at = head.lower().find(LENGTH)
    length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    whole = end + len(END) + length
    if len(data) < whole:
        return None
    return head, bytes(data[end + len(END) : whole]), whole


class Server(asyncio.Protocol):
    """One connection of somebody who asks; answers in the order of asking."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (message := split_message(self._data)) is not None:
            head, _, length = message
            del self._data[:length]
            if self._transport is not None:
                self._transport.write(self._answer(head.split(b"\r\n", 1)[0]))


class Client(asyncio.Protocol):
    """One connection of the load generator: the next request goes when the answer is there, and
    ``every_seconds`` at most; ``phase`` is how much of that the first one waits."""

    def __init__(
        self,
        requests: Iterator[bytes],
        done: asyncio.Future[None],
        *,
        every_seconds: float = 0.0,
        phase: float = 0.0,
    ) -> None:
        self._requests = requests
        self._done = done
        self._every = every_seconds
        self._phase = phase
        self._data = bytearray()
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.seconds: list[float] = []
        self.statuses: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._every:
            asyncio.get_running_loop().call_later(self._phase * self._every, self._next)
        else:
            self._next()

    def data_received(self, data: bytes) -> None:
        self._data += data
        message = split_message(self._data)
        if message is None:
            return
        self.seconds.append(perf_counter() - self._sent)
        self.statuses.append(int(message[0][9:12]))
        del self._data[: message[2]]
        wait = self._sent + self._every - perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._next)
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if self._transport is None or self._done.done():
            return
        if request is None:
            self._done.set_result(None)
            self._transport.close()
            return
        self._sent = perf_counter()
        self._transport.write(request)
