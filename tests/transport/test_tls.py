"""Both drivers over real TLS: whom they trust, and to whom they show which certificate."""

import asyncio
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from qiao.channels.wire import ClientCertificate, HttpRequest, Operation
from qiao.domain.outcomes import NotSent, Unknown
from qiao.simulators.wechat.authority import Authority, pem
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.blocking import BlockingTransport

Run = Callable[[Operation[str]], str | NotSent | Unknown]


def run_blocking(operation: Operation[str]) -> str | NotSent | Unknown:
    with BlockingTransport() as transport:
        return transport.run(operation)


def run_async(operation: Operation[str]) -> str | NotSent | Unknown:
    async def run() -> str | NotSent | Unknown:
        async with AsyncTransport() as transport:
            return await transport.run(operation)

    return asyncio.run(run())


@pytest.fixture(params=[run_blocking, run_async], ids=["blocking", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_text(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


AUTHORITY, STRANGER, KEY = Authority(new_key()), Authority(new_key()), new_key()
CA = pem(AUTHORITY.certificate)


def certificate_of(name: str) -> ClientCertificate:
    return ClientCertificate(
        certificate=pem(AUTHORITY.issue(name, KEY.public_key())), private_key=private_text(KEY)
    )


class Names(http.server.BaseHTTPRequestHandler):
    """Answers whose certificate it was shown; keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        connection = self.connection
        assert isinstance(connection, ssl.SSLSocket)
        shown = connection.getpeercert() or {}
        subject = dict(part[0] for part in shown.get("subject", ()))  # type: ignore[misc]
        body = str(subject.get("commonName", "nobody")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """A client that does not trust the server leaves in the middle of the handshake."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def server(
    folder: Path, *, host: str = "127.0.0.1", verify: ssl.VerifyMode = ssl.CERT_OPTIONAL
) -> Iterator[str]:
    """A server whose certificate is good for 127.0.0.1 and 127.0.0.2."""
    key = new_key()
    path = folder / "server.pem"
    path.write_text(pem(AUTHORITY.issue("server", key.public_key())) + private_text(key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=CA)
    context.verify_mode = verify
    context.load_cert_chain(path)
    with Quiet((host, 0), Names) as served:
        served.daemon_threads = True
        served.socket = context.wrap_socket(
            served.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"https://{host}:{served.server_address[1]}/"
        served.shutdown()
        thread.join(10)


def asking(*requests: HttpRequest) -> Operation[str]:
    texts = []
    for request in requests:
        response = yield request
        texts.append(response.body.decode())
    return ", ".join(texts)


def post(url: str, **more: object) -> HttpRequest:
    request = HttpRequest(method="POST", url=url, body=b"x", trusted_ca=CA, timeout_seconds=5)
    return replace(request, **more)  # type: ignore[arg-type]


def test_each_request_shows_its_own_certificate_and_none_is_lent(run: Run, tmp_path: Path) -> None:
    with server(tmp_path) as url:
        names = [certificate_of("merchant-1"), None, certificate_of("merchant-2"), None]
        requests = [post(url, client_certificate=one) for one in names]
        assert run(asking(*requests)) == "merchant-1, nobody, merchant-2, nobody"


def test_who_must_show_a_certificate_and_does_not_is_not_heard(run: Run, tmp_path: Path) -> None:
    with server(tmp_path, verify=ssl.CERT_REQUIRED) as url:
        assert run(asking(post(url, client_certificate=certificate_of("merchant")))) == "merchant"
        # TLS 1.3 refuses only when the request is already out, so that it may have been heard.
        assert isinstance(run(asking(post(url))), Unknown)


@pytest.mark.parametrize("trusted", [None, pem(STRANGER.certificate)], ids=["system", "stranger"])
def test_a_server_of_another_ca_is_told_nothing(
    run: Run, tmp_path: Path, trusted: str | None
) -> None:
    with server(tmp_path) as url:
        assert isinstance(run(asking(post(url, trusted_ca=trusted))), NotSent)


def test_a_server_of_another_name_is_told_nothing(run: Run, tmp_path: Path) -> None:
    with server(tmp_path, host="127.0.0.2") as url:
        assert run(asking(post(url))) == "nobody"
    with server(tmp_path, host="127.0.0.3") as url:
        assert isinstance(run(asking(post(url))), NotSent)
