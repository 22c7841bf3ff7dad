"""Other people's SDKs as counterparts: each in an environment and a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
UNREACHABLE = 3
CALL_SECONDS = 60.0
MAX_LINE_BYTES = 16 * 1024 * 1024
TIME_ZONE = "CST-8"
"""China's time: an SDK may sign with the local time and call it Alipay's."""


class SdkError(Exception):
    """What an SDK raised; ``kind`` is the name of its exception."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text


class Sdk:
    """One program of ``programs/``, running with its SDK. ``await sdk("pay", …)`` calls it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, call: str, /, **arguments: Any) -> Any:
        """What its function returns; raises SdkError with what it raised."""
        assert self._process.stdin
        assert self._process.stdout
        line = json.dumps({"call": call, "with": arguments}).encode() + b"\n"
        self._process.stdin.write(line)
        async with asyncio.timeout(CALL_SECONDS):
            answer = await self._process.stdout.readline()
        assert answer, f"the SDK's program ended while it was asked to {call}"
        told = json.loads(answer)
        if "error" in told:
            raise SdkError(told["error"]["type"], told["error"]["text"])
        return told["result"]


OpenSdk = Callable[[str], Awaitable[Sdk]]


@pytest_asyncio.fixture
async def open_sdk() -> AsyncIterator[OpenSdk]:
    """Starts the program of a name in the environment of the same name (``_`` written as ``-``).

    Skips the test when a package registry can't be reached; in CI that is a failure.
    """
    async with AsyncExitStack() as stack:

        async def start(program: str) -> Sdk:
            environment = program.replace("_", "-")
            await asyncio.to_thread(bring, environment)
            interpreter = ROOT / ".sdk" / environment / "bin/python"
            return await stack.enter_async_context(
                running(
                    *(str(interpreter), "-I", str(PROGRAMS / "answer.py")),
                    str(PROGRAMS / f"{program}.py"),
                )
            )

        yield start


def bring(environment: str) -> None:
    script = str(ROOT / "scripts/sdk_environment.py")
    done = subprocess.run(
        [sys.executable, script, environment], capture_output=True, text=True, check=False
    )
    if done.returncode == UNREACHABLE and "CI" not in os.environ:
        pytest.skip(f"no package registry can be reached, so {environment} is missing")
    assert done.returncode == 0, done.stderr


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[Sdk]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
        env={"PATH": os.environ.get("PATH", ""), "TZ": TIME_ZONE},
    )
    try:
        yield Sdk(process)
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
