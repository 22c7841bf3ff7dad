"""The measurements: Qiao and its floor in turns, and the median of what each pair says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import msgspec

from bench.children import Child, answer_of, child, resident_megabytes, talking
from bench.load import Load, Told
from bench.requests import creates, notifications, pending, queries
from bench.statements import TELL
from bench.world import QIAO, World, look_after
from qiao.domain.ids import IdKind
from qiao.engine.webhooks import add_endpoint, remove_endpoint

CONCURRENCY = 32
WARM_UP = 64
IDLE_SECONDS = 5.0
DELIVERED_WITHIN_SECONDS = 120.0
Requests = Callable[[World, int], Awaitable[list[str]]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. ``ratio`` is of Qiao's figure to its floor's: 1 is as good as it.

    Without a floor the value itself is what must not be above the goal.
    """

    name: str
    unit: str
    value: float
    floor: float | None = None
    ratio: float | None = None
    goal: float | None = None

    @property
    def is_met(self) -> bool | None:
        """None when there is no goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.ratio is None else self.ratio >= self.goal


@dataclass(frozen=True, kw_only=True)
class Run:
    """One round of one of the two: what came through in a second, and what each took."""

    per_second: float
    cpu_microseconds: float
    p99_to_p50: float = 0.0


@dataclass(kw_only=True)
class Pairs:
    """The rounds of both, side by side."""

    qiao: list[Run] = field(default_factory=list)
    floor: list[Run] = field(default_factory=list)

    def results(self, name: str, goal: float) -> list[Result]:
        """Throughput, and CPU time of the server's own process."""
        pairs = list(zip(self.qiao, self.floor, strict=True))
        return [
            Result(
                name=name,
                unit="/s",
                value=median(run.per_second for run in self.qiao),
                floor=median(run.per_second for run in self.floor),
                ratio=median(ours.per_second / theirs.per_second for ours, theirs in pairs),
                goal=goal,
            ),
            Result(
                name=f"{name}: CPU",
                unit="µs",
                value=median(run.cpu_microseconds for run in self.qiao),
                floor=median(run.cpu_microseconds for run in self.floor),
                ratio=median(
                    theirs.cpu_microseconds / ours.cpu_microseconds for ours, theirs in pairs
                ),
                goal=goal,
            ),
        ]


async def _new_orders(world: World, count: int) -> list[str]:
    return creates(world, count)


async def measure_doors(world: World, rounds: int, count: int) -> list[Result]:
    """Create, notify, query by id; and how far create's slowest are from its middle."""
    created = await _pairs(world, _new_orders, rounds, count)
    notified = await _pairs(world, notifications, rounds, count)
    queried = await _pairs(world, queries, rounds, count)
    return [
        *created.results("create", 0.6),
        Result(
            name="create: p99 to p50",
            unit="×",
            value=median(run.p99_to_p50 for run in created.qiao),
            floor=median(run.p99_to_p50 for run in created.floor),
            goal=3.0,
        ),
        *notified.results("notify", 0.7),
        *queried.results("query by id", 0.6),
        Result(
            name="API process at its peak",
            unit="MB",
            value=world.qiao.peak_megabytes(),
            floor=world.floors.peak_megabytes(),
            goal=150.0,
        ),
    ]


async def _pairs(world: World, requests: Requests, rounds: int, count: int) -> Pairs:
    """Who goes first changes with each round, so that neither always finds the tables fuller."""
    pairs = Pairs()
    for server in (world.qiao, world.floors):
        await _round(world, server, await requests(world, WARM_UP))
    # Or the floors' statements keep the plans of empty tables, which read all of a fuller one.
    await look_after(world.engine.database)
    for number in range(rounds):
        for server in (world.qiao, world.floors)[:: -1 if number % 2 else 1]:
            run = await _round(world, server, await requests(world, count))
            (pairs.qiao if server is world.qiao else pairs.floor).append(run)
    return pairs


async def _round(world: World, server: Child, requests: list[str]) -> Run:
    load = Load(port=world.port(server), concurrency=CONCURRENCY, requests=requests)
    before = server.cpu_seconds()
    told = msgspec.json.decode(
        await answer_of("-m", "bench.load", given=msgspec.json.encode(load)), type=Told
    )
    used = server.cpu_seconds() - before
    if len(told.statuses) != 1 or not set(told.statuses) <= {200, 201, 204}:
        raise RuntimeError(f"not every request went well: {told.statuses}")
    count = len(requests)
    return Run(
        per_second=count / told.seconds,
        cpu_microseconds=used / count * 1_000_000,
        p99_to_p50=told.latencies[int(count * 0.99)] / told.latencies[count // 2],
    )


async def measure_webhooks(world: World, rounds: int, count: int) -> list[Result]:
    """From the first arrival to the last, of the worker's deliveries and of a bare client's."""
    database, pairs = world.engine.database, Pairs()
    await database.execute("DELETE FROM job")
    await pending(world, 1)
    url = f"{world.peer_url}/webhook"
    endpoint, _ = await add_endpoint(world.engine, world.scope, url)
    bare = ("-m", "bench.sender", url, str(CONCURRENCY))
    worker = (*QIAO, "worker", "--json")
    async with (
        aiohttp.ClientSession(world.peer_url) as peer,
        child(*worker, environment=world.environment) as qiao,
        child(*bare) as sender,
    ):

        async def deliver(count: int) -> None:
            events = [world.engine.new_id(IdKind.EVENT) for _ in range(count)]
            await database.execute(TELL, world.scope.merchant_id, events)

        async def send(count: int) -> None:
            await sender.ask(str(count))

        await _delivery(peer, qiao, deliver, WARM_UP)
        for _ in range(rounds):
            pairs.qiao.append(await _delivery(peer, qiao, deliver, count))
            pairs.floor.append(await _delivery(peer, sender, send, count))
    await remove_endpoint(world.engine, world.scope, endpoint.endpoint_id)
    return pairs.results("webhook delivery", 0.5)


async def _delivery(
    peer: aiohttp.ClientSession, who: Child, start: Callable[[int], Awaitable[None]], count: int
) -> Run:
    await peer.post("/forget")
    before = who.cpu_seconds()
    await start(count)
    async with asyncio.timeout(DELIVERED_WITHIN_SECONDS):
        while True:
            arrived = await (await peer.get("/arrivals")).json(content_type=None)
            if arrived["count"] >= count:
                break
            await asyncio.sleep(0.05)
    return Run(
        per_second=(count - 1) / arrived["seconds"],
        cpu_microseconds=(who.cpu_seconds() - before) / count * 1_000_000,
    )


def postgres_pid(home: Path) -> int:
    """The postmaster of the embedded server in this home."""
    told = (home / "postgres" / "data" / "postmaster.pid").read_text()
    return int(told.splitlines()[0])


async def measure_demo(home: Path) -> Result:
    """``qiao demo`` as a whole, its PostgreSQL too, once it has nothing to do."""
    environment = {"QIAO_HOME": str(home), "COLUMNS": "200"}
    ready = "What happens"
    async with talking(*QIAO, "demo", environment=environment, until=ready) as demo:
        await asyncio.sleep(IDLE_SECONDS)
        roots = [demo.pid, postgres_pid(home / "demo")]
        held = resident_megabytes(roots)
    return Result(name="idle demo", unit="MB", value=held, goal=400.0)
