"""Both drivers against real sockets: what each failure means, byte for byte."""

import asyncio
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged
from qiao.domain.outcomes import NotSent, Unknown
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.blocking import BlockingTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Sign: A\r\n\r\nok"
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


def whole_request(connection: socket.socket) -> bytes:
    received = b""
    while not received.partition(b"\r\n\r\n")[2].endswith(b"raw"):
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return received


@contextmanager
def server(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """Answers one connection with each; None keeps silent until the test ends."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    heard.append(whole_request(connection))
                    if answer is None:
                        done.wait(10)
                    else:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        done.set()
        thread.join(10)


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens: bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def asking(
    *requests: HttpRequest, raising: Exception | None = None
) -> Generator[HttpRequest, HttpResponse, str]:
    texts = []
    for request in requests:
        response = yield request
        texts.append(f"{response.status} {response.headers['x-sign']} {response.body.decode()}")
    if raising is not None:
        raise raising
    return ", ".join(texts)


def post(url: str, *, effect: bool = True, timeout_seconds: float = 5) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url=url + "/pay?a=%2F%e4+b",
        headers={"X-Ours": "1"},
        body=b"\xff raw",
        effect=effect,
        timeout_seconds=timeout_seconds,
    )


def test_bytes_go_out_and_come_in_as_they_are(run: Run) -> None:
    with server(OK) as (url, heard):
        assert run(asking(post(url))) == "200 A ok"
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert head.lower().startswith(b"post /pay?a=%2f%e4+b http/1.1\r\n")
    assert b"x-ours: 1" in head.lower()
    assert body == b"\xff raw"


def test_nobody_there_is_not_sent(run: Run) -> None:
    with nobody() as url:
        assert isinstance(run(asking(post(url))), NotSent)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", OK.replace(b": 2", b": 9"), b"what?\r\n\r\n", None],
    ids=["closed", "half a head", "half a body", "not http", "silence"],
)
def test_a_lost_answer_is_unknown(run: Run, answer: bytes | None) -> None:
    with server(answer) as (url, _):
        assert isinstance(run(asking(post(url, timeout_seconds=0.5))), Unknown)


def test_a_redirect_is_an_answer_and_never_followed(run: Run) -> None:
    moved = OK.replace(b"200 OK", b"302 Found\r\nLocation: http://127.0.0.1:1/")
    with server(moved) as (url, heard):
        assert run(asking(post(url))) == "302 A ok"
    assert len(heard) == 1


@pytest.mark.parametrize(("effect", "outcome"), [(True, Unknown), (False, NotSent)])
def test_an_effect_before_a_failed_connection_is_not_forgotten(
    run: Run, effect: bool, outcome: type
) -> None:
    with server(OK) as (url, _), nobody() as dead:
        assert isinstance(run(asking(post(url, effect=effect), post(dead))), outcome)


def test_an_answer_that_is_not_the_channels_is_unknown(run: Run) -> None:
    with server(OK) as (url, _):
        result = run(asking(post(url), raising=AnswerForged()))
    assert isinstance(result, Unknown)
    assert "answer_forged" in result.reason


def test_bad_input_passes_through_before_anything_is_sent(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        run(asking(raising=ZeroDivisionError()))
