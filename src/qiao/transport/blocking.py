"""The blocking driver, for scripts: no event loop.

httpx, because its parser (h11) refuses an answer that was cut off in its headers; http.client,
which urllib3 and requests stand on, takes one for a whole answer.
"""

from types import TracebackType
from typing import Self, TypeVar

import httpx

from qiao.channels.wire import ClientCertificate, HttpRequest, HttpResponse, Operation
from qiao.domain.outcomes import NotSent, Unknown
from qiao.transport.drive import MAX_ANSWER_BYTES, AnswerLost, ConnectFailed, exchange
from qiao.transport.tls import tls_context

Result = TypeVar("Result")


class BlockingTransport:
    """Runs operations over connections that it keeps; close it, or use it in a ``with``."""

    def __init__(self) -> None:
        self._clients: dict[tuple[ClientCertificate | None, str | None], httpx.Client] = {}

    def run(self, operation: Operation[Result]) -> Result | NotSent | Unknown:
        """The operation's result, or what its failure means."""
        driven = exchange(operation)
        try:
            request = next(driven)
            while True:
                try:
                    response = self._send(request)
                except (ConnectFailed, AnswerLost) as error:
                    request = driven.throw(error)
                else:
                    request = driven.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _client(self, request: HttpRequest) -> httpx.Client:
        identity = (request.client_certificate, request.trusted_ca)
        if identity not in self._clients:
            client = httpx.Client(verify=tls_context(*identity), trust_env=False)
            client.headers.clear()
            self._clients[identity] = client
        return self._clients[identity]

    def _send(self, request: HttpRequest) -> HttpResponse:
        if request.public_only:
            raise ConnectFailed("only the async driver guards addresses")
        scheme, _, rest = request.url.partition("://")
        authority, slash, target = rest.partition("/")
        body = bytearray()
        limit = MAX_ANSWER_BYTES if request.read_bytes is None else request.read_bytes
        try:
            with self._client(request).stream(
                request.method,
                f"{scheme}://{authority}/",
                content=request.body or None,
                headers=dict(request.headers),
                timeout=request.timeout_seconds,
                extensions={"target": (slash + target).encode("ascii") or b"/"},
            ) as answer:
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > limit:
                        if request.read_bytes is None:
                            raise AnswerLost("the answer is too long")
                        del body[limit:]
                        break
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ConnectFailed(type(error).__name__) from error
        except httpx.TransportError as error:
            raise AnswerLost(type(error).__name__) from error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status_code, headers=headers, body=bytes(body))
