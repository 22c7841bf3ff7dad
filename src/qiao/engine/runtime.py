"""What every use case works with, and for whom it works."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from qiao.channels.requests import Context
from qiao.channels.wire import Operation
from qiao.crypto.sealing import Seal
from qiao.domain.ids import RANDOM_BYTES, IdKind, new_id
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Accounts
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.bulkheads import Bulkheads
from qiao.engine.pricing import Prices
from qiao.engine.routing.state import Routing
from qiao.store.database import Database

Result = TypeVar("Result")


class Transport(Protocol):
    """Runs a channel's operation; the only thing that says what a failure means."""

    async def run(self, operation: Operation[Result]) -> Result | NotSent | Unknown: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


class Wake:
    """Wakes the worker of this process, once there is one; those of others poll."""

    def __init__(self) -> None:
        self._wake: Callable[[], None] | None = None

    def call(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def __call__(self) -> None:
        if self._wake is not None:
            self._wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose data, and whether real money: every statement is limited to both. And who asks.

    ``app_id`` is the merchant's app that asks, where one does: what it makes is the app's.
    """

    merchant_id: str
    live: bool
    app_id: str | None = field(default=None, compare=False)
    actor: Actor = field(default=SYSTEM, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """The caller's key for one request, and the SHA-256 of what was asked under it."""

    key: str
    body_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """``public_url`` is where channels and customers reach us, without a slash at its end.

    ``now`` and ``random`` are the only clock and the only chance that use cases know.
    """

    database: Database
    transport: Transport
    accounts: Accounts
    seal: Seal
    public_url: str
    now: Callable[[], datetime] = utc_now
    random: Callable[[int], bytes] = secrets.token_bytes
    wake: Wake = field(default_factory=Wake)
    bulkheads: Bulkheads = field(default_factory=Bulkheads)
    context: Context = field(init=False)
    routing: Routing = field(init=False)
    prices: Prices = field(init=False)

    def __post_init__(self) -> None:
        context = Context(now=self.now, nonce=lambda: self.random(16).hex())
        object.__setattr__(self, "context", context)
        object.__setattr__(self, "routing", Routing(self.database))
        object.__setattr__(self, "prices", Prices(self.database))

    def new_id(self, kind: IdKind) -> str:
        return new_id(kind, now=self.now(), random=self.random(RANDOM_BYTES))

    def notify_url(self, merchant_id: str, account_id: str) -> str:
        """Where the channel of this account sends its notifications."""
        return f"{self.public_url}/notify/{merchant_id}/{account_id}"
