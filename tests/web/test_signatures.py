"""Signed requests: by somebody else's library at the client's side, at both doors."""

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPSignatureAlgorithm,
    MappingKeyResolver,
    algorithms,
)
from hypothesis import given
from hypothesis import strategies as st

from qiao.domain.errors import InvalidInput
from qiao.engine.actors import Actor
from qiao.engine.key_policy import KeyPolicy
from qiao.engine.merchants import KnownKey, api_keys, issue_api_key, rotate_api_key
from qiao.engine.signing import SigningAlgorithm, SigningKey
from qiao.testing.world import SCOPE, World
from qiao.web.app import create_app
from qiao.web.problems import Refused
from qiao.web.signatures import Signatures

ORDER = {"order_id": "o-1", "amount": 1000, "description": "tea"}
COVERED = ("@method", "@path", "@query", "authorization", "idempotency-key", "content-type")
PAGE = Path(__file__).parents[2] / "docs" / "merchants.md"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HMAC = SigningKey.new_secret()
Sign = Callable[[httpx.Request], None]


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


ALGORITHMS: dict[str, tuple[SigningKey, type[HTTPSignatureAlgorithm], Any]] = {
    "hmac": (HMAC, algorithms.HMAC_SHA256, HMAC.material),
    "rsa": (SigningKey.of_public_key(pem(RSA)), algorithms.RSA_V1_5_SHA256, RSA),
}


class Client:
    """A merchant's: it signs each request, a test may then spoil it."""

    def __init__(self, world: World, key_id: str, name: str) -> None:
        _, algorithm, private = ALGORITHMS[name]
        self.key_id = key_id
        self._world = world
        self._signer = HTTPMessageSigner(
            signature_algorithm=algorithm,
            key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: private}),
        )
        self._numbers = itertools.count()
        self.http: httpx.AsyncClient

    def sign(self, request: httpx.Request, **more: Any) -> None:
        covered = [name for name in COVERED if name.startswith("@") or name in request.headers]
        self._signer.sign(
            request,
            **{
                "key_id": self.key_id,
                "created": self._world.engine.now(),
                "nonce": f"n-{next(self._numbers)}",
                "covered_component_ids": covered,
                "body": request.content or None,
                **more,
            },
        )

    def order(self, **more: Any) -> httpx.Request:
        given = {"json": ORDER, "headers": {"idempotency-key": "one"}, **more}
        return self.http.build_request("POST", "/v1/payments", **given)

    async def send(self, request: httpx.Request) -> tuple[int, str | None]:
        answer = await self.http.send(request)
        return answer.status_code, answer.json().get("code")


@asynccontextmanager
async def client_of(
    world: World, name: str = "hmac", *, quick: bool = True
) -> AsyncIterator[Client]:
    key = await issue_api_key(world.engine, world.scope, signing=ALGORITHMS[name][0])
    [issued] = await api_keys(world.engine, world.scope.merchant_id)
    client = Client(world, issued.api_key_id, name)
    transport = httpx.ASGITransport(create_app(world.engine, quick=quick))  # type: ignore[arg-type]
    async with httpx.AsyncClient(
        transport=transport, base_url="http://qiao", headers={"authorization": f"Bearer {key}"}
    ) as client.http:
        yield client


both_doors = pytest.mark.parametrize("quick", [True, False], ids=["quick", "framework"])


@both_doors
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_signed_request_is_taken_and_an_unsigned_one_is_not(
    world: World, name: str, quick: bool
) -> None:
    async with client_of(world, name, quick=quick) as client:
        assert await client.send(client.order()) == (401, "signature_missing")
        request = client.order()
        client.sign(request)
        assert await client.send(request) == (201, None)
        [payment_id] = [
            row["payment_id"]
            for row in await world.engine.database.fetch("SELECT payment_id FROM payment")
        ]
        for path in (f"/v1/payments/{payment_id}", "/v1/payments?limit=1", "/v1/events"):
            shown = client.http.build_request("GET", path)
            assert await client.send(shown) == (401, "signature_missing")
            client.sign(shown)
            assert (await client.send(shown))[0] == 200


def other_body(request: httpx.Request) -> httpx.Request:
    content = request.content.replace(b"1000", b"9000")
    return httpx.Request(
        request.method, request.url, headers=dict(request.headers), content=content
    )


def with_header(name: str, text: str) -> Callable[[httpx.Request], httpx.Request]:
    def change(request: httpx.Request) -> httpx.Request:
        request.headers[name] = text
        return request

    return change


def at_url(path: str) -> Callable[[httpx.Request], httpx.Request]:
    def change(request: httpx.Request) -> httpx.Request:
        return httpx.Request(
            request.method,
            request.url.join(path),
            headers=dict(request.headers),
            content=request.content,
        )

    return change


SPOILED: dict[str, Callable[[httpx.Request], httpx.Request]] = {
    "another body": other_body,
    "another idempotency key": with_header("idempotency-key", "two"),
    "another path": at_url("/v1/payments/pay_00000000000000000000000000/refunds"),
    "a query": at_url("/v1/payments?x=1"),
    "another digest": with_header("content-digest", "sha-256=:AAAA:"),
    "no digest that is one": with_header("content-digest", "x"),
    "another time": with_header("request-timeout", "1"),
    "another content type": with_header("content-type", "application/json; x=1"),
    "another signature": with_header("signature", "pyhms=:AAAA:"),
    "no signature that is one": with_header("signature", "((("),
    "nothing signed": with_header("signature-input", "pyhms=()"),
}


@both_doors
@pytest.mark.parametrize("name", SPOILED)
async def test_what_was_changed_on_the_way_is_refused(world: World, name: str, quick: bool) -> None:
    async with client_of(world, quick=quick) as client:
        request = client.order()
        client.sign(request)
        assert await client.send(SPOILED[name](request)) == (401, "signature_invalid")
    assert await world.engine.database.fetch_value("SELECT count(*) FROM payment") == 0


WRONGLY: dict[str, dict[str, Any]] = {
    "no nonce": {"nonce": None},
    "a long nonce": {"nonce": "n" * 129},
    "an empty nonce": {"nonce": ""},
    "another key's id": {"key_id": "key_00000000000000000000000000"},
    "too old": {"created": datetime.now(UTC) - timedelta(minutes=6)},
    "too new": {"created": datetime.now(UTC) + timedelta(minutes=60)},
    "over": {"expires": datetime.now(UTC) - timedelta(minutes=6)},
    "no body": {"body": None},
    **{
        f"without {name}": {"covered_component_ids": [one for one in COVERED if one != name]}
        for name in COVERED
    },
}


@pytest.mark.parametrize("name", WRONGLY)
async def test_what_covers_too_little_or_is_of_another_time_is_refused(
    world: World, name: str
) -> None:
    async with client_of(world) as client:
        more = WRONGLY[name]
        if "key_id" in more:
            client._signer.key_resolver.private_keys[more["key_id"]] = HMAC.material  # type: ignore[union-attr]
        request = client.order()
        client.sign(request, **more)
        assert await client.send(request) == (401, "signature_invalid")


async def test_a_signature_is_of_its_own_key_and_algorithm(world: World) -> None:
    """Above all, a public key is no secret of HMAC."""
    async with client_of(world, "rsa") as client:
        for secret in (pem(RSA), HMAC.material):
            signer = HTTPMessageSigner(
                signature_algorithm=algorithms.HMAC_SHA256,
                key_resolver=MappingKeyResolver(
                    public_keys={}, private_keys={client.key_id: secret}
                ),
            )
            for include_alg in (True, False):
                client._signer = signer
                request = client.order()
                client.sign(request, include_alg=include_alg)
                assert await client.send(request) == (401, "signature_invalid")


@both_doors
async def test_a_signature_is_taken_once(world: World, quick: bool) -> None:
    async with client_of(world, quick=quick) as client:
        request = client.order()
        client.sign(request)
        assert await client.send(request) == (201, None)
        assert await client.send(request) == (401, "signature_replayed")
        again = client.order()
        client.sign(again)
        assert await client.send(again) == (200, None)
        world.clock.pass_by(minutes=6)
        assert await client.send(again) == (401, "signature_invalid")


def known_of(key_id: str) -> KnownKey:
    scope = SCOPE.__class__(
        merchant_id=SCOPE.merchant_id, live=False, actor=Actor(kind="api_key", id=key_id)
    )
    return KnownKey(scope=scope, policy=KeyPolicy(), signing=HMAC)


def checked(
    world: World, signatures: Signatures, client: Client, nonce: str, **ago: float
) -> str | None:
    """The code of the refusal of a request that was created some time ago; None when taken."""
    request = httpx.Request("GET", "http://qiao/v1/audit", headers={"authorization": "Bearer x"})
    client.sign(request, nonce=nonce, created=world.engine.now() - timedelta(**ago))
    scope = {
        "method": "GET",
        "raw_path": b"/v1/audit",
        "query_string": b"",
        "headers": [(name.lower(), text) for name, text in request.headers.raw],
    }
    try:
        signatures.check(world.engine, known_of(client.key_id), scope, b"")
    except Refused as refused:
        return refused.problem.code
    return None


async def test_what_is_remembered_is_bounded_and_forgets_nothing_that_is_good(
    world: World,
) -> None:
    signatures, client = Signatures(max_nonces=3), Client(world, "key_1", "hmac")
    for number in range(3):
        assert checked(world, signatures, client, f"n{number}", seconds=100 - number) is None
    assert checked(world, signatures, client, "n3", seconds=10) is None  # n0 is forgotten
    assert len(signatures.keys["key_1"].nonces) == 3
    for nonce in ("n0", "another"):  # and so is no longer taken, nor is anything as old
        assert checked(world, signatures, client, nonce, seconds=101) == "signature_replayed"
    assert checked(world, signatures, client, "n3", seconds=5) == "signature_replayed"
    assert checked(world, signatures, client, "n4", seconds=5) is None
    world.clock.pass_by(minutes=15)
    assert checked(world, signatures, client, "n5") is None
    assert list(signatures.keys["key_1"].nonces) == ["n5"]
    other = Client(world, "key_2", "hmac")
    assert checked(world, signatures, other, "n5") is None


FIELDS = st.sampled_from(["signature", "signature-input", "content-digest", "authorization"])
TEXT = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b'a=("@method");created=1;keyid="key_1";nonce="x"',
            b'a=("@query-param";name="x");created=99999999999999999999',
            b"a=:AAAA:",
            b"a=1",
            b'a=("content-digest";sf);created=1',
        ]
    ),
)


@given(st.lists(st.tuples(FIELDS, TEXT), max_size=6), st.binary(max_size=20))
def test_garbage_is_refused_and_nothing_else_happens(
    lines: list[tuple[str, bytes]], query: bytes
) -> None:
    class Engine:
        public_url = "https://qiao.invalid"

        @staticmethod
        def now() -> datetime:
            return datetime.now(UTC)

    scope = {
        "method": "POST",
        "raw_path": b"/v1/payments",
        "query_string": query,
        "headers": [(name.encode(), text) for name, text in lines],
    }
    with pytest.raises(Refused) as refused:
        Signatures().check(Engine(), known_of("key_1"), scope, b"{}")  # type: ignore[arg-type]
    assert refused.value.problem.code in ("signature_missing", "signature_invalid")


@pytest.mark.parametrize(
    "given_key",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
    ids=["nothing", "garbage", "elliptic", "short"],
)
def test_what_is_no_public_key_of_rsa(given_key: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        SigningKey.of_public_key(given_key)
    assert refused.value.field == "public_key"


async def test_the_secret_is_sealed_and_stays_when_the_key_is_rotated(world: World) -> None:
    await issue_api_key(world.engine, world.scope, signing=HMAC)
    [old] = await api_keys(world.engine, world.scope.merchant_id)
    assert old.signing_algorithm == SigningAlgorithm.HMAC_SHA256
    assert HMAC.material.decode() not in repr(HMAC)
    kept = await world.engine.database.fetch_value("SELECT sealed_signing_key FROM api_key")
    assert HMAC.material not in kept
    assert world.engine.seal.open(kept) == HMAC.material
    await rotate_api_key(world.engine, world.scope.merchant_id, old.api_key_id, overlap=timedelta())
    kept = await world.engine.database.fetch(
        "SELECT sealed_signing_key FROM api_key ORDER BY api_key_id"
    )
    assert [world.engine.seal.open(row[0]) for row in kept] == [HMAC.material] * 2


async def test_the_example_of_the_page_runs(world: World, base_url: str) -> None:
    key = await issue_api_key(world.engine, world.scope, signing=HMAC)
    [issued] = await api_keys(world.engine, world.scope.merchant_id)
    found = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    code = found[1].replace("http://127.0.0.1:8080", base_url)
    for placeholder, value in (
        ("sk_test_…", key),
        ("key_…", issued.api_key_id),
        ("sig_…", HMAC.material.decode()),
    ):
        assert placeholder in code
        code = code.replace(placeholder, value)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"NO_PROXY": "*"},
    )
    out, errors = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "201 open\n"), errors.decode()
