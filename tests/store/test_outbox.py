"""The outbox's worker on a real database: leases, wishes that come meanwhile, and how runs end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from qiao.store.database import Database
from qiao.store.outbox import Abandon, Again, Done, Job, Verdict, Worker, enqueue

PATIENCE_SECONDS = 30
LONG_SECONDS = 3600.0
Handle = Callable[[Job], Awaitable[Verdict]]


async def want(database: Database, subject: str = "one", **more: Any) -> None:
    await enqueue(database, merchant_id="m", kind="k", subject_id=subject, **more)


async def jobs(database: Database) -> int:
    count: int = await database.fetch_value("SELECT count(*) FROM job")
    return count


@asynccontextmanager
async def running(database: Database, handle: Handle, **more: Any) -> AsyncIterator[Worker]:
    """A worker that looks by itself only after an hour."""
    worker = Worker(database, {"k": handle}, poll_seconds=LONG_SECONDS, **more)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_what_is_wanted_twice_is_done_once(database: Database) -> None:
    seen: list[str] = []

    async def handle(job: Job) -> Verdict:
        seen.append(job.subject_id)
        return Done()

    for subject in ("a", "b", "a"):
        await want(database, subject)
    await want(database, "later", run_at=datetime.now(UTC) + timedelta(hours=1))
    await Worker(database, {"k": handle}).run_due()
    assert sorted(seen) == ["a", "b"]
    assert await jobs(database) == 1


async def test_what_shall_run_again_in_a_moment_does_not_wait_for_the_next_look(
    database: Database,
) -> None:
    pauses = {"a": [0.1, 0.3], "b": [0.2]}

    async def handle(job: Job) -> Verdict:
        left = pauses[job.subject_id]
        return Again(after_seconds=left.pop(0)) if left else Done()

    async def nothing_is_left() -> bool:
        return not await jobs(database)

    await want(database, "a")
    await want(database, "b")
    async with running(database, handle):
        await until(nothing_is_left)


async def test_what_is_wanted_while_it_runs_runs_again(database: Database) -> None:
    runs = 0

    async def handle(job: Job) -> Verdict:
        nonlocal runs
        runs += 1
        if runs == 1:
            await want(database)
        return Done()

    await want(database)
    worker = Worker(database, {"k": handle})
    assert await worker.run_due() == 1
    assert await jobs(database) == 1
    assert await worker.run_due() == 1
    assert (runs, await jobs(database)) == (2, 0)


async def test_a_job_whose_worker_died_is_taken_when_its_lease_has_lapsed(
    database: Database,
) -> None:
    tries: list[int] = []

    async def handle(job: Job) -> Verdict:
        tries.append(job.tries)
        return Done()

    await want(database)
    dead = Worker(database, {"k": handle}, lease_seconds=60)
    assert await dead._claim() == 1
    clock = datetime.now(UTC)
    assert await Worker(database, {"k": handle}, now=lambda: clock).run_due() == 0
    clock += timedelta(seconds=61)
    assert await Worker(database, {"k": handle}, now=lambda: clock).run_due() == 1
    assert (tries, await jobs(database)) == ([2], 0)


async def test_what_a_handler_raises_is_noted_without_its_text_and_tried_again(
    database: Database,
) -> None:
    async def handle(job: Job) -> Verdict:
        raise RuntimeError("card 4111111111111111")

    await want(database)
    await Worker(database, {"k": handle}).run_due()
    row = await database.fetch_row("SELECT tries, last_error, run_at > now() AS later FROM job")
    assert row is not None
    assert (row["tries"], row["last_error"], row["later"]) == (1, "RuntimeError", True)


async def test_what_is_given_up_is_kept_for_the_operator(database: Database) -> None:
    async def handle(job: Job) -> Verdict:
        return Abandon(reason="the channel has not told")

    await want(database, payload={"number": 1})
    await Worker(database, {"k": handle}).run_due()
    kept = await database.fetch_row("SELECT subject_id, payload, reason FROM job_abandoned")
    assert kept is not None
    assert tuple(kept) == ("one", {"number": 1}, "the channel has not told")
    assert await jobs(database) == 0


async def test_a_worker_that_stops_finishes_what_it_began_and_gives_back_the_rest(
    database: Database,
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def handle(job: Job) -> Verdict:
        begun.set()
        await go_on.wait()
        done.append(job.subject_id)
        return Done()

    for number in range(3):
        await want(database, f"{number}")
    worker = Worker(database, {"k": handle}, concurrency=1)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))

    async def the_rest_is_given_back() -> bool:
        sql = "SELECT count(*) FROM job WHERE leased_until IS NULL"
        return bool(await database.fetch_value(sql) == 2)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await begun.wait()
        stop.set()
        await until(the_rest_is_given_back)
        go_on.set()
        await task
    assert len(done) == 1
    left = await database.fetch("SELECT leased_until, tries FROM job")
    assert [tuple(row) for row in left] == [(None, 0), (None, 0)]
