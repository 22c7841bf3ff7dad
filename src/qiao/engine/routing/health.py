"""The breakers of channel accounts, and what is measured of them: a job of the merchant's own.

Trouble is what the channel or the way to it does: not connected, no answer, an answer that cannot
be read or trusted (so any HTTP 5xx). A decline is an answer. The job runs when trouble was seen,
and while a breaker is not closed; where rules ask for statistics it also runs every few seconds in
which there are attempts.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from qiao.channels.requests import PaymentQuery
from qiao.domain.ids import RANDOM_BYTES, IdKind, new_id, order_number
from qiao.domain.money import Money
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.errors import Missing
from qiao.engine.records import Attempt
from qiao.engine.routing.declines import ACCOUNTS_FAULT
from qiao.engine.routing.rules import Breaker
from qiao.engine.routing.state import SQL, Circuit, Health
from qiao.engine.runtime import Engine
from qiao.store.errors import StoreUnavailable
from qiao.store.outbox import enqueue

log = structlog.get_logger(__name__)
WATCH_ACCOUNTS: Final = "watch_accounts"
SUBJECT: Final = "accounts"
TROUBLE_PACE_SECONDS: Final = 1.0
"""How often trouble is looked at, at most, for each merchant and process."""
MEASURE_PACE_SECONDS: Final = 5.0
STATISTICS_WINDOW: Final = timedelta(minutes=15)
MAX_OPEN_SECONDS: Final = 300
PROBE_SECONDS: Final = 5
"""How long a probe may take: an account that is slower is of no use to who waits at a till."""
TRIALS: Final = 3
"""So many attempts without trouble end an account's probation."""
PROBATION: Final = timedelta(seconds=60)
"""After so long without an attempt, a second probe that is answered ends it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An account's attempts in the window, since its breaker last changed."""

    attempts: int = 0
    troubles: int = 0


async def want_measuring(engine: Engine, attempt: Attempt, *, trouble: bool) -> None:
    """Have the accounts looked at soon, where there was trouble or somebody asks for statistics.

    It is no matter of money: when the database does not take it, the next attempt brings it on.
    """
    merchant_id = attempt.merchant_id
    try:
        if not trouble and not engine.routing.asks_for_statistics(merchant_id):
            return
        pace = TROUBLE_PACE_SECONDS if trouble else MEASURE_PACE_SECONDS
        run_at = engine.routing.next_watch(merchant_id, pace, engine.now())
        if run_at is not None:
            await enqueue(
                engine.database,
                merchant_id=merchant_id,
                kind=WATCH_ACCOUNTS,
                subject_id=SUBJECT,
                run_at=run_at,
            )
            engine.wake()
    except StoreUnavailable:
        log.warning("accounts_not_measured", merchant_id=merchant_id)


async def watch(engine: Engine, merchant_id: str) -> float | None:
    """Measure the merchant's accounts and turn their breakers; when to do so again, in seconds."""
    now = engine.now()
    rows = await engine.database.fetch(SQL.health_of_accounts, merchant_id)
    turns = []
    measured = False
    for live in sorted({row["live"] for row in rows}):
        known = await engine.routing.of(merchant_id, live=live)
        measured = measured or known.rules.measured
        breaker = known.rules.rules.breaker
        seen = await _seen(engine, merchant_id, now - timedelta(seconds=breaker.window_seconds))
        for row in rows:
            if row["live"] == live:
                health = None if row["state"] is None else _health(row)
                found = seen.get(row["account_id"], Seen())
                turns.append((row["account_id"], health, found, breaker))
    if measured:
        await measure(engine, merchant_id)
    # At once, so that one that is silent keeps none of the others waiting.
    told = await asyncio.gather(
        *(_turn(engine, merchant_id, *turn) for turn in turns), return_exceptions=True
    )
    engine.routing.forget(merchant_id)
    waits: list[float] = []
    for one in told:
        if isinstance(one, BaseException):
            raise one
        if one is not None:
            waits.append(one)
    return min(waits, default=None)


async def measure(engine: Engine, merchant_id: str) -> None:
    """What came of each account's attempts lately, into the table that choices are made by."""
    now = engine.now()
    await engine.database.execute(
        SQL.measure,
        merchant_id,
        _first_id(now - STATISTICS_WINDOW),
        sorted(ACCOUNTS_FAULT),
        now,
    )


async def _seen(engine: Engine, merchant_id: str, since: datetime) -> dict[str, Seen]:
    rows = await engine.database.fetch(SQL.troubles, merchant_id, _first_id(since))
    return {
        row["account_id"]: Seen(attempts=row["attempts"], troubles=row["troubles"]) for row in rows
    }


async def _turn(
    engine: Engine,
    merchant_id: str,
    account_id: str,
    health: Health | None,
    seen: Seen,
    breaker: Breaker,
) -> float | None:
    """Turn one breaker, if it is time; when to look again, None when it is closed."""
    now = engine.now()
    circuit = Circuit.CLOSED if health is None else health.state
    told = f"{seen.troubles} of {seen.attempts} attempts were not sent or not answered"
    if circuit is Circuit.CLOSED:
        share = seen.troubles * 100 >= breaker.failure_percent * seen.attempts
        if seen.attempts < breaker.min_attempts or not share:
            return None
        return await _open(engine, merchant_id, account_id, health, breaker, told)
    assert health is not None  # noqa: S101 - or it would be closed
    if circuit is Circuit.OPEN:
        left = ((health.open_until or now) - now).total_seconds()
        if left > 0:
            return left
        if seen.troubles:  # somebody has tried since its time was over
            return await _open(engine, merchant_id, account_id, health, breaker, told)
        if not await _answers(engine, merchant_id, account_id):
            return await _open(engine, merchant_id, account_id, health, breaker, "no answer")
        await _put(engine, merchant_id, account_id, health, Circuit.HALF_OPEN, "it answers again")
        return MEASURE_PACE_SECONDS
    if seen.troubles:
        return await _open(engine, merchant_id, account_id, health, breaker, told)
    if seen.attempts >= TRIALS:
        await _put(engine, merchant_id, account_id, health, Circuit.CLOSED, "it works again")
        return None
    if now < health.changed_at + PROBATION:
        return MEASURE_PACE_SECONDS
    if not await _answers(engine, merchant_id, account_id):
        return await _open(engine, merchant_id, account_id, health, breaker, "no answer")
    await _put(engine, merchant_id, account_id, health, Circuit.CLOSED, "it answers still")
    return None


async def _answers(engine: Engine, merchant_id: str, account_id: str) -> bool:
    """Whether the channel answers a harmless query: for a number that it was never given."""
    try:
        account: Account = await engine.accounts.of_id(merchant_id, account_id)
    except Missing:
        return False
    manifest = account.channel.manifest
    currency = "CNY" if "CNY" in manifest.currencies else min(manifest.currencies)
    query = PaymentQuery(
        reference=order_number(engine.new_id(IdKind.ATTEMPT)),
        amount=Money(manifest.min_minor, currency),
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            outcome = await engine.transport.run(account.channel.query(query, engine.context))
    except TimeoutError:
        return False
    return not isinstance(outcome, NotSent | Unknown)


async def _open(
    engine: Engine,
    merchant_id: str,
    account_id: str,
    health: Health | None,
    breaker: Breaker,
    reason: str,
) -> float:
    """For a while that doubles each time it was opened again without having been closed."""
    openings = 1 if health is None or health.state is Circuit.CLOSED else health.openings + 1
    seconds = min(breaker.open_seconds << min(openings - 1, 16), MAX_OPEN_SECONDS)
    until = engine.now() + timedelta(seconds=seconds)
    await _put(
        engine,
        merchant_id,
        account_id,
        health,
        Circuit.OPEN,
        reason,
        openings=openings,
        open_until=until,
    )
    return seconds


async def _put(
    engine: Engine,
    merchant_id: str,
    account_id: str,
    health: Health | None,
    state: Circuit,
    reason: str,
    *,
    openings: int | None = None,
    open_until: datetime | None = None,
) -> None:
    """Unless somebody else has changed it meanwhile: then theirs stands."""
    kept = health.openings if health is not None and state is not Circuit.CLOSED else 0
    changed: str | None = await engine.database.fetch_value(
        SQL.put_health,
        merchant_id,
        account_id,
        state,
        engine.now(),
        open_until,
        kept if openings is None else openings,
        reason,
        health.changed_at if health is not None else None,
    )
    if changed is not None:
        log.warning(
            "breaker_turned",
            merchant_id=merchant_id,
            account_id=account_id,
            state=state.value,
            reason=reason,
        )


def _health(row: Any) -> Health:
    names = Health.__struct_fields__
    return msgspec.convert({name: row[name] for name in names}, Health)


def _first_id(since: datetime) -> str:
    """No id of an attempt that was made since is smaller."""
    return new_id(IdKind.ATTEMPT, now=since, random=bytes(RANDOM_BYTES))
