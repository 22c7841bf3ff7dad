"""The async driver: one aiohttp session shared by every channel, and one for guarded addresses."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.deadlines import seconds_left
from qiao.domain.outcomes import NotSent, Unknown
from qiao.telemetry import tracing
from qiao.transport.drive import MAX_ANSWER_BYTES, AnswerLost, ConnectFailed, exchange
from qiao.transport.guard import AddressRefused, Network, guarded_sockets
from qiao.transport.tls import tls_context

Result = TypeVar("Result")
BOOKING_SECONDS: Final = 2.0
"""What a request keeps of its time, so that what the channel answered can still be booked."""


class AsyncTransport:
    """Runs operations; make it inside a running loop, and close it or use ``async with``.

    Requests that are ``public_only`` reach public addresses and those in ``private_networks``. They
    have connections of their own, so that no merchant's endpoint takes those of a channel.
    ``resolver`` stands in for the system's.
    """

    def __init__(
        self,
        *,
        max_connections: int = 256,
        private_networks: Sequence[Network] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._session = _session(aiohttp.TCPConnector(limit=max_connections, resolver=resolver))
        self._guarded = _session(
            aiohttp.TCPConnector(
                limit=max_connections,
                resolver=resolver,
                use_dns_cache=False,
                socket_factory=guarded_sockets(private_networks),
            )
        )

    async def run(self, operation: Operation[Result]) -> Result | NotSent | Unknown:
        """The operation's result, or what its failure means."""
        driven = exchange(operation)
        try:
            request = next(driven)
            while True:
                try:
                    response = await self._send(request)
                except (ConnectFailed, AnswerLost) as error:
                    request = driven.throw(error)
                else:
                    request = driven.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._guarded.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, request: HttpRequest) -> HttpResponse:
        url = URL(request.url, encoded=True)
        if not tracing.is_on():
            return await self._exchange(request, url)
        doing = tracing.current_operation()
        with tracing.span(
            f"{request.method} {doing}",
            tracing.SpanKind.CLIENT,
            http__request__method=request.method,
            server__address=url.host or "",
            server__port=url.port or 0,
            qiao__operation=doing,
        ) as span:
            response = await self._exchange(request, url)
            span.set_attribute("http.response.status_code", response.status)
            return response

    async def _exchange(self, request: HttpRequest, url: URL) -> HttpResponse:
        session = self._guarded if request.public_only else self._session
        limit = MAX_ANSWER_BYTES if request.read_bytes is None else request.read_bytes
        try:
            async with session.request(
                request.method,
                url,
                data=request.body or None,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=_timeout_seconds(request)),
                ssl=tls_context(request.client_certificate, request.trusted_ca)
                if url.scheme == "https"
                else True,
                allow_redirects=False,
            ) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > limit:
                        if request.read_bytes is None:
                            raise AnswerLost("the answer is too long")
                        del body[limit:]
                        break
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise ConnectFailed("its address is not a public one") from error
            raise ConnectFailed(type(error).__name__) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise ConnectFailed(type(error).__name__) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise AnswerLost(type(error).__name__) from error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status, headers=headers, body=bytes(body))


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers={"Accept-Encoding", "User-Agent"},
    )


def _timeout_seconds(request: HttpRequest) -> float:
    """The request's own time, cut to what is left to whoever waits for it."""
    left = seconds_left()
    if left is None:
        return request.timeout_seconds
    if left <= BOOKING_SECONDS:
        raise ConnectFailed("no time was left to send it")
    return min(request.timeout_seconds, left - BOOKING_SECONDS)
