"""The outbox's worker: claims jobs by lease, runs their handlers, settles them in batches.

A handler may run twice for one wish (its worker may die between the work and the settling), so
it must be idempotent. It never runs twice at once, unless a process is frozen for longer than
its lease or a handler refuses to be cancelled.
"""

import asyncio
import math
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, assert_never
from uuid import UUID

import structlog

from qiao.domain.errors import QiaoError
from qiao.store.clock import loop_seconds
from qiao.store.database import Database, Queries
from qiao.store.errors import StoreUnavailable
from qiao.store.sql import load_statements
from qiao.telemetry import metrics, tracing

# What of a lease may pass before a handler begins, and how long it may then take. The rest is
# for its cancellation and for settling.
BEGIN_WITHIN = 0.4
HANDLE_WITHIN = 0.5
FIRST_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 3600.0
LOCKED_ROWS_WAIT_SECONDS = 0.05
# What is due again within a moment is claimed together with what is due about then.
CLAIM_GRID_SECONDS = 0.05
EXPECT_WITHIN_SECONDS = 20.0

statements = load_statements("outbox")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One thing to do. ``tries`` counts the runs begun since it was last done, with this one."""

    merchant_id: str
    job_id: UUID
    kind: str
    subject_id: str
    payload: Any
    tries: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """It is done; if it was wanted again meanwhile, it runs again at that time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """Run it again: after so many seconds, or after the usual back-off when not given.

    ``error`` is kept with the job for the operator, so it must be safe to show.
    """

    after_seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Abandon:
    """Give it up: it moves to the table ``job_abandoned`` for the operator to look at."""

    reason: str


Verdict: TypeAlias = Done | Again | Abandon
Handler: TypeAlias = Callable[[Job], Awaitable[Verdict]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """A job under lease. Its times are this process's monotonic clock, from before the claim."""

    job: Job
    leased_until: datetime  # the database's time; the token of the lease
    begin_by: float
    lapses_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """How a run ended, in the words of the statement ``settle``."""

    held: _Held
    verdict: str
    after_seconds: float = 0.0
    error: str | None = None


async def enqueue(
    queries: Queries,
    *,
    merchant_id: str,
    kind: str,
    subject_id: str,
    payload: Any = None,
    run_at: datetime | None = None,
) -> None:
    """Want a job done, now when no ``run_at`` is given; see the head of ``sql/outbox.sql``."""
    body = {} if payload is None else payload
    await queries.execute(statements.enqueue, merchant_id, kind, subject_id, body, run_at)


def back_off_seconds(tries: int) -> float:
    """How long to wait after so many runs: doubles from one second, an hour at most."""
    return min(MAX_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0 ** min(tries - 1, 32))


class Worker:
    """Runs the jobs of the kinds that ``handlers`` names; jobs of other kinds stay where they are.

    A handler is cancelled after half of ``lease_seconds``. One that raises is logged (by the
    error's class; an error's text may hold anything, save a QiaoError's) and tried again.
    ``now`` stands in for the database's clock, which every worker shares otherwise.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        batch_size: int = 100,
        concurrency: int = 32,
        lease_seconds: float = 60.0,
        poll_seconds: float = 1.0,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = database
        self._handlers = dict(handlers)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._now: Callable[[], datetime | None] = now or (lambda: None)
        self._queue: asyncio.Queue[_Held] = asyncio.Queue()
        self._unfinished = 0  # in the queue or in a handler's hands
        self._ended: list[_Ended] = []
        self._changed = asyncio.Event()
        self._claim_at = 0.0  # monotonic
        self._coming: set[float] = set()  # when what we gave back for a moment is due again

    def wake(self) -> None:
        """Look for work now, not at the next poll; from the event loop's own thread."""
        self._claim_at = 0.0
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then finish what has begun, and give back what has not."""
        async with self._handling(), _calling(self._changed.set, when=stop):
            while not stop.is_set() or self._unfinished or self._ended:
                self._changed.clear()
                if stop.is_set():
                    self._give_back()
                try:
                    await self._settle()
                    if not stop.is_set() and self._may_claim():
                        await self._claim()
                except StoreUnavailable as error:
                    log.warning("outbox_unavailable", error=str(error))
                    await self._pause(self._poll_seconds)
                else:
                    await self._pause(self._idle_seconds())

    async def run_due(self) -> int:
        """Run what is due, each job once, and what it enqueues meanwhile; how many that were.

        For tests and scripts; not beside ``run`` of the same Worker.
        """
        count = 0
        async with self._handling():
            # Settled only at the end, so that a job which wants to run again at once does not
            # come back in the same call.
            while claimed := await self._claim():
                count += claimed
                await self._queue.join()
        while self._ended:
            if not await self._settle():
                await asyncio.sleep(LOCKED_ROWS_WAIT_SECONDS)
        return count

    def _may_claim(self) -> bool:
        return self._unfinished < self._concurrency and loop_seconds() >= self._claim_at

    def _idle_seconds(self) -> float:
        """How long there is nothing to do unless something changes."""
        if self._ended:  # somebody has their rows locked
            return LOCKED_ROWS_WAIT_SECONDS
        if self._unfinished >= self._concurrency:
            return self._poll_seconds
        return max(0.0, self._claim_at - loop_seconds())

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _claim(self) -> int:
        begun = loop_seconds()
        rows = await self._database.fetch(
            statements.claim,
            self._now(),
            list(self._handlers),
            self._batch_size,
            self._lease_seconds,
        )
        self._coming = {due for due in self._coming if due > begun}
        next_claim = min([begun + self._poll_seconds, *self._coming])
        self._claim_at = 0.0 if len(rows) == self._batch_size else next_claim
        self._unfinished += len(rows)
        for row in sorted(rows, key=lambda row: (row["due_at"], row["kind"], row["subject_id"])):
            fields = dict(row)
            del fields["due_at"]
            leased_until = fields.pop("leased_until")
            self._queue.put_nowait(
                _Held(
                    job=Job(**fields),
                    leased_until=leased_until,
                    begin_by=begun + BEGIN_WITHIN * self._lease_seconds,
                    lapses_at=begun + self._lease_seconds,
                )
            )
        return len(rows)

    async def _settle(self) -> int:
        """Settle what has ended; how many are off our hands. The others are kept for next time."""
        batch = self._ended[: self._batch_size]
        if not batch:
            return 0
        columns = zip(
            *(
                (
                    ended.held.job.merchant_id,
                    ended.held.job.job_id,
                    ended.held.leased_until,
                    ended.verdict,
                    ended.after_seconds,
                    ended.error,
                )
                for ended in batch
            ),
            strict=True,
        )
        rows = await self._database.fetch(statements.settle, self._now(), *map(list, columns))
        settled = {(row["merchant_id"], row["job_id"]) for row in rows}
        if any(row["verdict"] == "wanted again" for row in rows):
            self._claim_at = 0.0
        self._expect(ended.after_seconds for ended in batch if ended.verdict == "again")
        del self._ended[: len(batch)]
        kept = [e for e in batch if (e.held.job.merchant_id, e.held.job.job_id) not in settled]
        for ended in kept:
            if loop_seconds() < ended.held.lapses_at:
                self._ended.append(ended)
            else:
                log.warning("job_lease_lapsed", **_names(ended.held.job))
        return len(batch) - len(kept)

    def _expect(self, after_seconds: Iterable[float]) -> None:
        """Claim again when these are due, and not a poll later."""
        now = loop_seconds()
        grid = (
            math.ceil((now + seconds) / CLAIM_GRID_SECONDS) * CLAIM_GRID_SECONDS
            for seconds in after_seconds
            if seconds <= EXPECT_WITHIN_SECONDS
        )
        self._coming.update(grid)
        self._claim_at = min([self._claim_at, *self._coming])

    @asynccontextmanager
    async def _handling(self) -> AsyncIterator[None]:
        """While as many jobs as ``concurrency`` says are taken from the queue and handled."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._handle_queue()) for _ in range(self._concurrency)]
            yield
            for task in tasks:
                task.cancel()

    async def _handle_queue(self) -> None:
        while True:
            held = await self._queue.get()
            self._end(await self._handle(held))

    def _give_back(self) -> None:
        while not self._queue.empty():
            self._end(_Ended(held=self._queue.get_nowait(), verdict="released"))

    def _end(self, ended: _Ended) -> None:
        self._ended.append(ended)
        self._unfinished -= 1
        self._queue.task_done()
        self._changed.set()

    async def _handle(self, held: _Held) -> _Ended:
        if loop_seconds() > held.begin_by:
            return _Ended(held=held, verdict="released")
        job = held.job
        begun = loop_seconds()
        try:
            with tracing.span(f"job {job.kind}", tracing.SpanKind.CONSUMER):
                async with asyncio.timeout(HANDLE_WITHIN * self._lease_seconds):
                    verdict = await self._handlers[job.kind](job)
            return _ended(held, verdict)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it is we who shall end
            return self._failed(held, error)  # something that the handler awaited was cancelled
        except Exception as error:  # noqa: BLE001 - whatever a handler raises, the others go on
            return self._failed(held, error)
        finally:
            metrics.observe(metrics.JOB_SECONDS, loop_seconds() - begun, job.kind)

    def _failed(self, held: _Held, error: BaseException) -> _Ended:
        metrics.count(metrics.JOBS, held.job.kind, "failed")
        name = type(error).__name__
        text = f"{name}: {error}" if isinstance(error, QiaoError) else name
        raised_in = traceback.extract_tb(error.__traceback__)[-1]
        log.error(
            "job_failed",
            error=text,
            place=f"{Path(raised_in.filename).name}:{raised_in.lineno}",
            tries=held.job.tries,
            **_names(held.job),
        )
        return _again(held, Again(error=text))


def _ended(held: _Held, verdict: Verdict) -> _Ended:
    metrics.count(metrics.JOBS, held.job.kind, type(verdict).__name__.lower())
    match verdict:
        case Done():
            return _Ended(held=held, verdict="done")
        case Again():
            return _again(held, verdict)
        case Abandon():
            log.error("job_abandoned", reason=verdict.reason, **_names(held.job))
            return _Ended(held=held, verdict="abandoned", error=verdict.reason)
        case _:
            assert_never(verdict)


def _again(held: _Held, again: Again) -> _Ended:
    after = back_off_seconds(held.job.tries) if again.after_seconds is None else again.after_seconds
    return _Ended(held=held, verdict="again", after_seconds=after, error=again.error)


def _names(job: Job) -> dict[str, str]:
    return {
        "merchant_id": job.merchant_id,
        "job_id": str(job.job_id),
        "kind": job.kind,
        "subject_id": job.subject_id,
    }


@asynccontextmanager
async def _calling(function: Callable[[], None], *, when: asyncio.Event) -> AsyncIterator[None]:
    """Call the function once the event is set, if that happens inside the block."""
    waiting = asyncio.ensure_future(when.wait())
    waiting.add_done_callback(lambda _: function())
    try:
        yield
    finally:
        waiting.cancel()
