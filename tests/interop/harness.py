"""Other people's SDKs as counterparts: each in an environment and a process of its own.

To add one for Python: ``environments/NAME.in`` (then ``make lock``), and ``programs/NAME.py`` (with
``_`` for ``-``), whose public functions a test calls by ``await sdk("function", argument=…)``.
One for Node has a folder ``environments/npm-NAME`` with ``package.json`` and
``package-lock.json``, made by ``npm install --package-lock-only
--omit-lockfile-registry-resolved``, and ``programs/npm_NAME.mjs``.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from qiao.channels.wire import HttpMessage

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

    async def __call__(self, function: str, /, **arguments: Any) -> Any:
        """What the function returns; raises SdkError with what it raised."""
        assert self._process.stdin
        assert self._process.stdout
        line = json.dumps({"call": function, "with": arguments}).encode() + b"\n"
        self._process.stdin.write(line)
        async with asyncio.timeout(CALL_SECONDS):
            answer = await self._process.stdout.readline()
        assert answer, f"the SDK's program ended while it was asked to {function}"
        told = json.loads(answer)
        if "error" in told:
            raise SdkError(told["error"]["type"], told["error"]["text"])
        return told["result"]


OpenSdk = Callable[[str], Awaitable[Sdk]]


@cache
def bring(environment: str) -> Path:
    """The folder of an environment, made first where it is missing.

    Skips the test when a package registry can't be reached; in CI that is a failure. Node is an
    optional counterpart: without it the test is skipped everywhere.
    """
    if environment.startswith("npm-") and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip(f"there is no Node.js with npm, so {environment} is missing")
    script = str(ROOT / "scripts/sdk_environment.py")
    done = subprocess.run(
        [sys.executable, script, environment], capture_output=True, text=True, check=False
    )
    if done.returncode == UNREACHABLE and "CI" not in os.environ:
        pytest.skip(f"no package registry can be reached, so {environment} is missing")
    assert done.returncode == 0, done.stderr
    return ROOT / ".sdk" / environment


@asynccontextmanager
async def running(program: str) -> AsyncIterator[Sdk]:
    """The program of that name, in the environment of the same name (``_`` written as ``-``)."""
    folder = await asyncio.to_thread(bring, program.replace("_", "-"))
    python, node = PROGRAMS / f"{program}.py", PROGRAMS / f"{program}.mjs"
    command = (
        ("node", PROGRAMS / "answer.mjs", folder, node)
        if node.exists()
        else (folder / "bin/python", "-I", PROGRAMS / "answer.py", python)
    )
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
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


@dataclass(kw_only=True)
class Shop:
    """Where notifications arrive."""

    answer: bytes
    url: str = ""
    messages: list[HttpMessage] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.messages.append(HttpMessage(method="POST", target="/", headers=headers, body=body))
        return web.Response(body=self.answer)

    async def message(self, number: int) -> HttpMessage:
        """The message of that number, from 1, once it has arrived."""
        async with asyncio.timeout(CALL_SECONDS):
            while len(self.messages) < number:
                await asyncio.sleep(0.01)
        return self.messages[number - 1]


@asynccontextmanager
async def shop(answer: bytes) -> AsyncIterator[Shop]:
    """A shop that answers every notification with ``answer``."""
    opened = Shop(answer=answer)
    async with serve(opened.take) as opened.url:
        yield opened


@asynccontextmanager
async def serve(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Every address and method, on loopback; gives the root's URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[str, list[HttpMessage]]]:
    """An address that only listens: every request is kept, and answered with 503."""
    heard: list[HttpMessage] = []

    async def hear(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.append(
            HttpMessage(
                method=request.method,
                target=request.rel_url.raw_path_qs,
                headers=headers,
                body=await request.read(),
            )
        )
        return web.Response(status=503)

    async with serve(hear) as url:
        yield url.removesuffix("/"), heard


async def approve(http: aiohttp.ClientSession, number: str) -> None:
    """The customer pays the order of that number."""
    async with http.post(f"/_control/payments/{number}/approve") as answer:
        assert answer.status == 200


async def new_code(http: aiohttp.ClientSession) -> str:
    """What a customer's wallet shows at a till."""
    async with http.post("/_control/auth_codes") as answer:
        code: str = (await answer.json())["auth_code"]
        return code
