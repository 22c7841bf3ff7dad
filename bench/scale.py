"""What becomes of a payment's cost: with more payments, more processes, and under too much."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

import msgspec

from bench.children import Child, answer_of, child, family_cpu_seconds
from bench.load import Load, Told
from bench.measure import CONCURRENCY, WARM_UP, Result
from bench.requests import creates, notifications
from bench.statements import FILL
from bench.world import QIAO, World, floor, look_after
from qiao.bootstrap.serving import listen
from qiao.store.database import open_database

PROCESSES = 4
OVERLOAD = 10
OVERLOAD_CONNECTIONS = 600
CAPACITY_COUNT = 200
"""From fewer requests nothing is learnt of a capacity: connecting takes most of their time."""
FILL_AT_ONCE = 20_000
FILLERS = 2


async def measure_growth(
    world: World, postgres_pid: int, *, rounds: int, count: int, payments: int
) -> Result:
    """The processor's time for a payment, PostgreSQL's included, before and after so many."""
    before = await _cost(world, postgres_pid, rounds, count)
    await _fill(world, payments)
    after = await _cost(world, postgres_pid, rounds, count)
    return Result(
        name=f"a payment after {payments:,} others: CPU",
        unit="µs",
        value=after,
        floor=before,
        ratio=before / after,
        goal=0.87,  # 15 % more at most
    )


async def _fill(world: World, payments: int) -> None:
    """Put them into the tables, as long as it takes, and have PostgreSQL look after these."""
    url = world.environment["QIAO_DATABASE_URL"]
    firsts = iter(range(0, payments, FILL_AT_ONCE))
    async with open_database(url, max_size=FILLERS, patient=True) as database:

        async def fill() -> None:
            for first in firsts:
                last = min(first + FILL_AT_ONCE, payments) - 1
                await database.execute(FILL, world.scope.merchant_id, world.account_id, first, last)

        await asyncio.gather(*(fill() for _ in range(FILLERS)))
        await look_after(database)


async def _cost(world: World, postgres_pid: int, rounds: int, count: int) -> float:
    """Microseconds for one that is created and paid."""
    runs = []
    for number in range(rounds + 1):
        requests = [*creates(world, count), *await notifications(world, count)]
        before = world.qiao.cpu_seconds() + family_cpu_seconds(postgres_pid)
        await _asked(Load(port=world.port(world.qiao), concurrency=CONCURRENCY, requests=requests))
        used = world.qiao.cpu_seconds() + family_cpu_seconds(postgres_pid) - before
        if number:  # the first one warms
            runs.append(used / count * 1_000_000)
    return median(runs)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Processes that listen on one port; and what each round took of them for an order, in µs."""

    port: int
    processes: list[Child]
    costs: list[float] = field(default_factory=list)

    async def serve(self, world: World, count: int) -> float:
        """So many orders; the processor's time of all of them for one, in µs."""
        before = self._cpu_seconds()
        await _asked(Load(port=self.port, concurrency=CONCURRENCY, requests=creates(world, count)))
        return (self._cpu_seconds() - before) / count * 1_000_000

    def _cpu_seconds(self) -> float:
        return sum(one.cpu_seconds() for one in self.processes)


Start: TypeAlias = Callable[[int], AbstractAsyncContextManager[Child]]
"""A process that listens on this port, beside others."""


async def measure_processes(world: World, rounds: int, count: int) -> list[Result]:
    """The processor's time that the API takes for a payment: of one process, and of several.

    What the floor loses too is the machine's, on which all of them take turns.
    """

    def qiao(port: int) -> AbstractAsyncContextManager[Child]:
        serve = (*QIAO, "serve", "--no-worker", "--reuse-port", "--port", str(port), "--json")
        return child(*serve, environment=world.environment)

    def floors(port: int) -> AbstractAsyncContextManager[Child]:
        few = 16  # of all that are open beside each other, below PostgreSQL's 200
        return floor(msgspec.structs.replace(world.setting, port=port, connections=few))

    name = f"create by {PROCESSES} processes"
    return [
        await _spread(world, qiao, rounds, count, name=f"{name}: CPU", goal=0.85),
        await _spread(world, floors, rounds, count, name=f"{name} of the floor: CPU", goal=None),
    ]


async def _spread(
    world: World, start: Start, rounds: int, count: int, *, name: str, goal: float | None
) -> Result:
    """One and several of them, in turns."""
    async with _group(start, 1) as one, _group(start, PROCESSES) as several:
        for group in (one, several):
            await group.serve(world, WARM_UP * len(group.processes))
        for number in range(rounds):
            for group in (one, several)[:: -1 if number % 2 else 1]:
                group.costs.append(await group.serve(world, count))
    return Result(
        name=name,
        unit="µs",
        value=median(several.costs),
        floor=median(one.costs),
        ratio=median(a / b for a, b in zip(one.costs, several.costs, strict=True)),
        goal=goal,
    )


@asynccontextmanager
async def _group(start: Start, processes: int) -> AsyncIterator[Group]:
    with listen("127.0.0.1", 0, reuse_port=True) as holder:
        port = holder.getsockname()[1]
    async with AsyncExitStack() as stack:
        children = [await stack.enter_async_context(start(port)) for _ in range(processes)]
        yield Group(port=port, processes=children)


async def measure_overload(world: World, rounds: int, count: int) -> list[Result]:
    """Orders accepted for a second of the server's processor, at capacity and at ten times that."""
    count = max(count, CAPACITY_COUNT)
    kept, ratios, at_capacity, refused = [], [], [], []
    for _ in range(rounds):
        port, cpu = world.port(world.qiao), world.qiao.cpu_seconds()
        peak = await _asked(
            Load(port=port, concurrency=CONCURRENCY, requests=creates(world, count))
        )
        peak_per_cpu = count / (world.qiao.cpu_seconds() - cpu)
        cpu = world.qiao.cpu_seconds()
        told = await _asked(
            Load(
                port=port,
                concurrency=OVERLOAD_CONNECTIONS,
                requests=creates(world, OVERLOAD * count),
                per_second=OVERLOAD * count / peak.seconds,
            ),
            also=503,
        )
        if not told.refusals:
            raise RuntimeError("nothing was refused: that was no overload")
        beyond_per_cpu = told.statuses[201] / (world.qiao.cpu_seconds() - cpu)
        kept.append((beyond_per_cpu, peak_per_cpu))
        ratios.append(beyond_per_cpu / peak_per_cpu)
        at_capacity.append(median(peak.latencies) * 1000)
        refused.append(median(told.refusals) * 1000)
    return [
        Result(
            name=f"create at {OVERLOAD} × capacity",
            unit="/CPU s",
            value=median(beyond for beyond, _ in kept),
            floor=median(peak for _, peak in kept),
            ratio=median(ratios),
            goal=0.8,
        ),
        Result(
            name="a refusal then: p50",
            unit="ms",
            value=median(refused),
            floor=median(at_capacity),
            ratio=median(at_capacity) / median(refused),
            goal=1.0,
        ),
    ]


async def _asked(load: Load, *, also: int | None = None) -> Told:
    told = msgspec.json.decode(
        await answer_of("-m", "bench.load", given=msgspec.json.encode(load)), type=Told
    )
    if not set(told.statuses) <= {200, 201, 204, also}:
        raise RuntimeError(f"not every request went well: {told.statuses}")
    return told
