"""What a channel yields and is sent back, and what a channel sends to us unasked."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

Result = TypeVar("Result")

DEFAULT_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """The PEM certificate and key of mutual TLS."""

    certificate: str = field(repr=False)
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request, exactly as it goes out: nothing may re-encode ``url`` or ``body``.

    ``effect`` is False for a pure question. Once a request with an effect has gone out, nothing
    that fails later can make its operation *not sent*. ``public_only`` refuses (*not sent*) every
    address that is not public, for a ``url`` that somebody else chose. ``read_bytes`` is for who
    wants an answer's status and no more than so much of its body; None reads it whole.
    ``trusted_ca`` is a CA in PEM that is trusted for this request instead of the system's; the
    host's name is checked all the same. Its representation shows neither tokens nor personal data.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    effect: bool = True
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    public_only: bool = False
    read_bytes: int | None = None
    client_certificate: ClientCertificate | None = None
    trusted_ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer that arrived whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMessage:
    """A request that a channel made to us, before anything has parsed it.

    ``target`` is path and query as received. Header names are lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """Our answer to an :class:`HttpMessage`, in the exact bytes that the channel expects."""

    status: int
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""


Operation: TypeAlias = Generator[HttpRequest, HttpResponse, Result]
"""Yields requests, is sent their responses, returns a result. It neither catches nor retries."""
