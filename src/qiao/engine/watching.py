"""Who waits for payments to change: all that wait in a process ask the database together.

A customer's page is open for minutes, and there may be thousands of them. They take one statement a
second between them, whatever their number, and nothing while there are none.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog

from qiao.engine.records import Attempt, Payment
from qiao.store.database import Database
from qiao.store.sql import load_statements

SQL = load_statements("payments")
LOOK_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 500
log = structlog.get_logger(__name__)
Key: TypeAlias = tuple[str, str]
"""Of a payment: its merchant's id, and its own."""


def version_of(payment: Payment, attempts: Sequence[Attempt]) -> str:
    """What differs when a customer has something else to see."""
    if not attempts:
        return _version(payment.state, payment.refunded_minor, None, None)
    last = attempts[-1]
    return _version(payment.state, payment.refunded_minor, last.attempt_id, last.state)


def _version(state: str, refunded: int, attempt_id: str | None, tried: str | None) -> str:
    version = f"{state}-{refunded}"
    return f"{version}-{attempt_id}-{tried}" if attempt_id else version


@dataclass
class _Watched:
    version: str | None
    """As it was seen last; None when two have seen it differently, until it is looked at again."""
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Watch:
    """One who waits; ``version`` is what it has seen."""

    def __init__(self, watchers: "Watchers", watched: _Watched, version: str) -> None:
        self._watchers, self._watched = watchers, watched
        self.version = version

    @property
    def over(self) -> bool:
        """Nothing is told any more."""
        return self._watchers.over

    async def changes(self, seconds: float) -> bool:
        """Whether there is another version than it has seen; False after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while (now := self._watched.version) in (None, self.version) and not self.over:
                    await self._watched.changed.wait()
        except TimeoutError:
            return False
        if now is None or now == self.version:
            return False
        self.version = now
        return True


class Watchers:
    """Everybody who waits in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watched: dict[Key, _Watched] = {}
        self._looking: asyncio.Task[None] | None = None
        self.over = False

    @contextmanager
    def watch(self, payment: Payment, version: str) -> Iterator[Watch]:
        """Meanwhile the payment is looked at; ``version`` is the one that is known already."""
        key = (payment.merchant_id, payment.payment_id)
        watched = self._watched.setdefault(key, _Watched(version))
        if watched.version != version:
            watched.version = None
        watched.watchers += 1
        if not self.over and (self._looking is None or self._looking.done()):
            # In a context of its own: it outlives the request.
            self._looking = asyncio.create_task(self._look(), context=Context())
        try:
            yield Watch(self, watched, version)
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                del self._watched[key]

    def end(self) -> None:
        """Let everybody go, at once and from now on."""
        self.over = True
        if self._looking is not None:
            self._looking.cancel()
        for watched in self._watched.values():
            watched.changed.set()

    async def _look(self) -> None:
        while self._watched:
            await asyncio.sleep(LOOK_SECONDS)
            keys = list(self._watched)
            for first in range(0, len(keys), MOST_AT_ONCE):
                try:
                    await self._look_at(keys[first : first + MOST_AT_ONCE])
                except Exception as error:  # noqa: BLE001 - they wait on, and hear it later
                    log.warning("watching_is_interrupted", error=type(error).__name__)

    async def _look_at(self, keys: Sequence[Key]) -> None:
        rows = await self._database.fetch(SQL.versions, *map(list, zip(*keys, strict=True)))
        for row in rows:
            watched = self._watched.get((row["merchant_id"], row["payment_id"]))
            version = _version(
                row["state"], row["refunded_minor"], row["attempt_id"], row["attempt_state"]
            )
            if watched is not None and watched.version != version:
                watched.version = version
                watched.changed.set()
                watched.changed = asyncio.Event()
