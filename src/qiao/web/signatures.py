"""Signed requests: HTTP Message Signatures (RFC 9421) over the body's Content-Digest (RFC 9530).

A key that was issued so takes no request without one. The signature must cover everything that a
request says: its method, path, query, Authorization, Idempotency-Key where there is one, and the
digest of a body. ``keyid`` is the API key's id. A nonce is taken once.

https://www.rfc-editor.org/rfc/rfc9421, https://www.rfc-editor.org/rfc/rfc9530
"""

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
    algorithms,
)

from qiao.engine.merchants import KnownKey
from qiao.engine.runtime import Engine
from qiao.engine.signing import SigningAlgorithm, SigningKey
from qiao.web.problems import Refused

TOLERANCE: Final = timedelta(minutes=5)
"""How far the clocks may be apart, and how long a signature is good."""
ALWAYS_COVERED: Final = ("@method", "@path", "@query", "authorization")
COVERED_IF_SENT: Final = ("idempotency-key", "content-type", "request-timeout")
MAX_NONCE: Final = 128
MAX_NONCES: Final = 50_000
"""Remembered for each key. A key that signs more within the tolerance gets less of it."""
ALGORITHMS: Final = {
    SigningAlgorithm.HMAC_SHA256: algorithms.HMAC_SHA256,
    SigningAlgorithm.RSA_SHA256: algorithms.RSA_V1_5_SHA256,
}


class _Headers:
    """Every line of every header, in order, as the library reads them."""

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        self._lines = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in lines]

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __contains__(self, name: str) -> bool:
        return any(name == one for one, _ in self._lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    method: str
    url: str
    headers: _Headers


class _OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key_id: str, key: SigningKey) -> None:
        self._key_id, self._key = key_id, key

    def resolve_public_key(self, key_id: str) -> bytes | None:
        return self._key.material if key_id == self._key_id else None


class _Verifier(HTTPMessageVerifier):
    """With the engine's clock, and one tolerance both ways."""

    now: datetime

    def validate_created_and_expires(
        self, sig_input: Any, max_age: timedelta | None = None
    ) -> None:
        now, tolerance = int(self.now.timestamp()), int(TOLERANCE.total_seconds())
        created, expires = sig_input.params.get("created"), sig_input.params.get("expires")
        if type(created) is not int or abs(created - now) > tolerance:
            raise InvalidSignature("created is missing, or not within five minutes of our clock")
        if expires is not None and (type(expires) is not int or expires < now - tolerance):
            raise InvalidSignature("expires is over")


@dataclass(slots=True)
class _Seen:
    """The nonces of one key, the first first; what was created by ``floor`` is taken no more."""

    floor: int = 0
    nonces: OrderedDict[str, int] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True)
class Signatures:
    """Verifies, and remembers nonces in this process for as long as their signatures are good."""

    keys: dict[str, _Seen] = field(default_factory=dict)
    max_nonces: int = MAX_NONCES

    def check(
        self, engine: Engine, known: KnownKey, request: MutableMapping[str, Any], body: bytes
    ) -> None:
        """Raises Refused unless the request is signed with the key's own signing key, once."""
        assert known.signing is not None  # noqa: S101 - the caller has looked
        headers, key_id, now = _Headers(request["headers"]), known.scope.actor.id, engine.now()
        if "signature" not in headers or "signature-input" not in headers:
            raise Refused(
                401,
                "signature_missing",
                "requests with this key must be signed",
                field="Signature",
                remedy="sign the request as RFC 9421 says; see docs/merchants.md",
            )
        verifier = _Verifier(
            signature_algorithm=ALGORITHMS[known.signing.algorithm],
            key_resolver=_OneKey(key_id, known.signing),
        )
        verifier.now = now
        sent = (name for name in COVERED_IF_SENT if name in headers)
        try:
            [result] = verifier.verify(
                _message(engine, request, headers),
                max_age=None,
                require_components=(*ALWAYS_COVERED, *sent),
                body=body,
            )
        except HTTPMessageSignaturesException:
            # Not the library's own words: they may repeat what was sent.
            _invalid()
        self._take(key_id, result, now)

    def _take(self, key_id: str, result: VerifyResult, now: datetime) -> None:
        created = int(result.parameters["created"])
        if not isinstance(result.nonce, str) or not 1 <= len(result.nonce) <= MAX_NONCE:
            _invalid()
        seen = self.keys.setdefault(key_id, _Seen())
        # The oldest in order of arrival: none that is still good is forgotten for one that is not.
        over = int((now - 2 * TOLERANCE).timestamp())
        while seen.nonces and (
            len(seen.nonces) >= self.max_nonces or next(iter(seen.nonces.values())) < over
        ):
            _, oldest = seen.nonces.popitem(last=False)
            seen.floor = max(seen.floor, oldest)
        if result.nonce in seen.nonces or created <= seen.floor:
            raise Refused(
                401,
                "signature_replayed",
                "this signature was taken already",
                field="Signature",
                remedy="sign each request anew, with a nonce of its own",
            )
        seen.nonces[result.nonce] = created


def _message(engine: Engine, request: MutableMapping[str, Any], headers: _Headers) -> _Message:
    ours = urlsplit(engine.public_url)
    query = request["query_string"].decode("latin-1")
    path = request["raw_path"].decode("latin-1").partition("?")[0]
    return _Message(
        method=request["method"],
        url=f"{ours.scheme}://{ours.netloc}{path}{'?' if query else ''}{query}",
        headers=headers,
    )


def _invalid() -> NoReturn:
    raise Refused(
        401,
        "signature_invalid",
        "the request's signature is not good",
        field="Signature",
        remedy="cover "
        + ", ".join((*ALWAYS_COVERED, "content-digest", *COVERED_IF_SENT))
        + " where they are sent; give keyid (the API key's id), created (within five minutes of"
        " our clock) and a nonce",
    )
