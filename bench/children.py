"""Processes that the bench starts, and what the kernel says of them (Linux's /proc)."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

START_TIMEOUT_SECONDS = 60.0
PROC = Path("/proc")
NANOSECONDS = 1_000_000_000
MEGABYTE = 1_000_000


class Child:
    """A running process that has said hello."""

    def __init__(self, process: Process, hello: Any) -> None:
        self._process = process
        self.hello = hello

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        """What its threads have used so far, in user and kernel."""
        tasks = (PROC / str(self.pid) / "task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / NANOSECONDS

    def peak_megabytes(self) -> float:
        """The most memory that was ever resident."""
        return _kilobytes(PROC / str(self.pid) / "status", "VmHWM") * 1024 / MEGABYTE

    async def ask(self, line: str) -> None:
        """Send a line and wait for the line that answers it."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("this process is not to be asked")
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        await self._process.stdout.readline()


@asynccontextmanager
async def child(
    *arguments: str, environment: Mapping[str, str] | None = None, given: bytes = b""
) -> AsyncIterator[Child]:
    """``python`` with these arguments while the block runs; the JSON it prints first is its hello.

    ``given`` goes to its standard input, which stays open.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **(environment or {})},
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a child has pipes")
        process.stdin.write(given)
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            hello = await _hello(process.stdout)
        yield Child(process, hello)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _hello(lines: asyncio.StreamReader) -> Any:
    """The first JSON document, on however many lines. Raises RuntimeError."""
    text = b""
    while line := await lines.readline():
        text += line
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(text)
    raise RuntimeError("a process ended before it said that it is ready")


async def answer_of(*arguments: str, given: bytes) -> bytes:
    """What ``python`` with these arguments prints when it is given that. Raises RuntimeError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE
    )
    told, _ = await process.communicate(given)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return told


@asynccontextmanager
async def talking(
    *arguments: str, environment: Mapping[str, str], until: str
) -> AsyncIterator[Process]:
    """A command of Qiao's that talks to people; the block begins when it has said ``until``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **environment},
        stdin=DEVNULL,
        stdout=PIPE,
    )
    try:
        if process.stdout is None:
            raise ValueError("a child has pipes")
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while until.encode() not in (line := await process.stdout.readline()):
                if not line:
                    raise RuntimeError(f"{' '.join(arguments)} ended before it was ready")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def resident_megabytes(roots: list[int]) -> float:
    """What these processes and all below them hold: memory that several share counts once."""
    below: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        below.setdefault(parent, []).append(int(path.parent.name))
    pending, total = list(roots), 0
    while pending:
        pid = pending.pop()
        pending.extend(below.get(pid, []))
        total += _kilobytes(PROC / str(pid) / "smaps_rollup", "Pss")
    return total * 1024 / MEGABYTE


def family_cpu_seconds(pid: int) -> float:
    """What a process and all that it has started have used so far; of the ended, what it reaped."""
    ticks = 0
    for path in PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(path.parent.name) == pid:
            ticks += sum(int(field) for field in fields[11:15])  # its own, and its dead children's
        elif int(fields[1]) == pid:
            ticks += sum(int(field) for field in fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"{path} has no {name}")
