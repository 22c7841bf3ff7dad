"""Refuse at the price of a parse: what finds no room never becomes a task.

Ten times as many requests as can be served would otherwise take most of the processor just to be
turned away by the application.
"""

from collections.abc import Callable
from typing import TypeAlias

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from qiao.bootstrap.patience import PatientProtocol

Refuse: TypeAlias = Callable[[str, str], bytes | None]
"""From method and path, the whole answer when there is no room for such a request just now."""


def refusing(refuse: Refuse) -> type[PatientProtocol]:
    """The protocol of the doors, which writes the refusal itself."""

    class RefusingProtocol(PatientProtocol):
        _refused = False

        def on_headers_complete(self) -> None:
            refusal = self._refusal()
            if refusal is None:
                super().on_headers_complete()
                return
            self._head_is_there()
            self._refused = True
            self.transport.write(refusal)

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._refused:
                super().on_message_complete()
                return
            self._refused = False
            if self.parser.should_keep_alive():
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
            else:
                self.transport.close()

        def _refusal(self) -> bytes | None:
            # An answer to an earlier request of this connection must go out first; and who waits
            # for "100 Continue" may never send the body.
            cycle: RequestResponseCycle | None = self.cycle  # None before the first request
            busy = cycle is not None and not cycle.response_complete
            if busy or self.expect_100_continue or self.flow.write_paused:
                return None
            path = self.url.partition(b"?")[0].decode("ascii", "replace")
            return refuse(self.parser.get_method().decode("ascii"), path)

    return RefusingProtocol
