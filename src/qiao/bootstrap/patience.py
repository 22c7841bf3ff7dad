"""How long and how much a connection may be waited for: its request's head, and that it reads.

uvicorn waits for ever for the end of a head that has begun, for the first byte of a connection, and
for a client that does not read its answer; each would keep a connection, the last a slot too.
A request's body and all else are bounded by :mod:`qiao.web.protection`.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_SECONDS: Final = 10.0
"""From the connection, or the first byte of a head, to its end."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Beyond the first piece that is read of it."""
READ_SECONDS: Final = 30.0
"""How long a client may leave unread what was sent."""
END: Final = b"connection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\n" + END
TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + END


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose patience has an end. What is usual sets no timer of ours."""

    _in_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        goes_on = self._in_head
        super().data_received(data)
        if not self._in_head:
            return
        # Of a piece in which a head begins, the most may be the body before it.
        self._head_bytes = self._head_bytes + len(data) if goes_on else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end(TOO_LARGE)
        elif self._head_timer is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _head_is_there(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._expect_head()  # the one before is still being answered
        else:
            self._end(TOO_SLOW if self._in_head else b"")

    def _end(self, told: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(told)
            self.transport.close()
