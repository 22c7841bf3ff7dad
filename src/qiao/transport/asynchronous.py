"""The async driver: one aiohttp session, shared by every channel."""

from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.outcomes import NotSent, Unknown
from qiao.telemetry import tracing
from qiao.transport.drive import MAX_ANSWER_BYTES, AnswerLost, ConnectFailed, exchange
from qiao.transport.tls import tls_context

Result = TypeVar("Result")


class AsyncTransport:
    """Runs operations; make it inside a running loop, and close it or use ``async with``."""

    def __init__(self, *, max_connections: int = 256) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max_connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers={"Accept-Encoding", "User-Agent"},
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
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body or None,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=request.timeout_seconds),
                ssl=tls_context(request.client_certificate, request.trusted_ca)
                if url.scheme == "https"
                else True,
                allow_redirects=False,
            ) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise AnswerLost("the answer is too long")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ConnectFailed(type(error).__name__) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise AnswerLost(type(error).__name__) from error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status, headers=headers, body=bytes(body))
