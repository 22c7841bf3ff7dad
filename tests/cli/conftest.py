"""The program as processes: one that ends, and one that stays until the test is over."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
PATIENCE_SECONDS = 240


@pytest.fixture
def environment(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "QIAO_HOME": str(tmp_path), "QIAO_DATABASE_URL": postgres_url, "COLUMNS": "200"}


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*QIAO, *arguments],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    return run


class Staying:
    """A command that stays, and the first JSON document that it printed."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*QIAO, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._read = b""
        self.document: Any = self.next_document()

    def next_document(self) -> Any:
        """The next JSON document on its output, in one line or in many."""
        lines: list[bytes] = []
        while True:
            lines.append(self._line())
            try:
                return json.loads(b"".join(lines))
            except ValueError:
                continue

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        until = time.monotonic() + PATIENCE_SECONDS
        while b"\n" not in self._read:
            left = until - time.monotonic()
            assert select.select([self.process.stdout], [], [], max(left, 0))[0], "waited in vain"
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, self.process.stderr.read().decode()
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line

    def stop(self) -> int:
        """As Ctrl+C does; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode


@pytest.fixture
def stay(environment: dict[str, str]) -> Iterator[Callable[..., Staying]]:
    started: list[Staying] = []

    def stay(*arguments: str, **more: str) -> Staying:
        started.append(Staying(arguments, {**environment, **more}))
        return started[-1]

    yield stay
    for one in reversed(started):
        assert one.stop() == 0


@pytest.fixture
def server(stay: Callable[..., Staying]) -> str:
    """The URL of ``qiao serve`` in a process of its own."""
    url: str = stay("serve", "--port", "0", "--json").document["url"]
    return url


class Handler:
    """A merchant's webhook handler: what arrived, and what it answers."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.url = ""

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.received]


@pytest.fixture
def handler() -> Iterator[Handler]:
    kept = Handler()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.received.append((headers, body))
            self.send_response(kept.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as http:
        kept.url = f"http://127.0.0.1:{http.server_port}/webhook"
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield kept
        http.shutdown()
        thread.join()
