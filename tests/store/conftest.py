"""A place for an embedded server of the test's own, and other processes to share it with."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qiao.store.embedded import EmbeddedPostgres

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home() -> Iterator[Path]:
    """Outside of pytest's folders, which it shuts to the server's user when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="qiao-home-"))
    try:
        yield folder
    finally:
        EmbeddedPostgres(folder).discard()
        shutil.rmtree(folder)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts Python with some code and arguments; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, **options: object) -> "subprocess.Popen[str]":
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            **options,  # type: ignore[call-overload]
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds; fails when it does not come true."""

    def wait(condition: Callable[[], object]) -> None:
        for _ in range(2000):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("it did not come true")

    return wait
