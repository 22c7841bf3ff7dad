"""One mechanism for what is asked of a channel once, and may be unknown.

It has one number for ever. It is committed as *sending* before its first byte goes out. While it is
unknown it keeps what it reserved, and is asked about; it is sent again only when the channel, after
its time, does not know the number: at worst it is told twice. A refusal of what was told before is
believed only when the channel has no such thing.

Refunds, captures and transfers say the same in their own words; they are older.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from qiao.channels.wire import Operation
from qiao.domain.outcomes import NotFound, NotSent, TransferPending, TransferRefused, Unknown
from qiao.domain.states import SHARE, ShareEvent, ShareState, after, sources
from qiao.engine.accounts import Account
from qiao.engine.attempts import SETTLING_WINDOW
from qiao.engine.calls import Verb, believed, call
from qiao.engine.records import read
from qiao.engine.runtime import Engine
from qiao.engine.sending import primed
from qiao.store.outbox import enqueue
from qiao.store.sql import Statements

LEASE: Final = timedelta(seconds=30)
"""How long a sending may take; after that whoever looks takes it for lost, and asks the channel."""
HURRY: Final = timedelta(seconds=3)
"""When to ask first about what the channel works on, or about a lost answer."""
FINAL: Final = frozenset({ShareState.SUCCEEDED, ShareState.PARTLY, ShareState.FAILED})


class Moved(Protocol):
    """A row that a movement works on."""

    @property
    def merchant_id(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> ShareState: ...
    @property
    def sent_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...


Row = TypeVar("Row", bound=Moved)
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand(Generic[Outcome]):
    """How the channel of one row is told, and asked."""

    account: Account
    tell: Callable[[], Operation[Outcome]]
    ask: Callable[[], Operation[Outcome]]


class Movement(Protocol[Row, Outcome]):
    """One kind of movement: ``name`` is that of its statements ``send_…``, ``move_…`` and
    ``…_of_any_mode``, which give a ``row``.
    """

    name: str
    row: type[Row]
    job: str
    tell_verb: Verb
    ask_verb: Verb

    async def errand(self, engine: Engine, row: Row) -> Errand[Outcome]: ...

    async def settle(self, engine: Engine, row: Row, outcome: Outcome | NotSent | Unknown) -> None:
        """Make an end that the channel told true in the books; again changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover(Generic[Row, Outcome]):
    """Drives one kind of movement."""

    kind: Movement[Row, Outcome]
    sql: Statements

    async def now(self, engine: Engine, merchant_id: str, row_id: str) -> Row:
        """The row as it is now."""
        statement = self.sql[f"{self.kind.name}_of_any_mode"]
        row = await engine.database.fetch_row(statement, merchant_id, row_id)
        if row is None:
            raise LookupError(row_id)
        return read(self.kind.row, row)

    async def work(self, engine: Engine, row: Row) -> Row:
        """Do the next thing: send it, or ask about it. Again does no harm."""
        if row.state in FINAL:
            return row
        if row.state is ShareState.REQUESTED:
            return await self._send(engine, row)
        sent_at = row.sent_at or row.created_at
        if row.state is ShareState.SENDING and engine.now() < sent_at + LEASE:
            return row  # somebody waits for its answer
        errand = await self.kind.errand(engine, row)
        outcome = await self._ask(engine, errand)
        if isinstance(outcome, NotFound) and row.state is not ShareState.PENDING:
            if row.state is ShareState.SENDING:
                await self._move(engine, row, ShareEvent.LOSE)
            if engine.now() > sent_at + SETTLING_WINDOW:
                return await self._send(engine, row)  # the same number: at worst it is told twice
            return await self.now(engine, row.merchant_id, row.id)
        return await self._settle(engine, row, outcome)

    async def _ask(self, engine: Engine, errand: Errand[Outcome]) -> Outcome | NotSent | Unknown:
        return await call(engine, errand.account, self.kind.ask_verb, errand.ask())

    async def _send(self, engine: Engine, row: Row) -> Row:
        errand = await self.kind.errand(engine, row)
        operation = primed(errand.tell())
        begun = await engine.database.fetch_row(
            self.sql[f"send_{self.kind.name}"],
            row.merchant_id,
            row.id,
            sorted(sources(SHARE, ShareEvent.SEND)),
            engine.now(),
        )
        if begun is None:
            operation.close()
            return await self.now(engine, row.merchant_id, row.id)
        outcome = await call(engine, errand.account, self.kind.tell_verb, operation)
        resent = row.state is not ShareState.REQUESTED
        if resent:
            ask = partial(self._ask, engine, errand)
            outcome = await believed(outcome, TransferRefused, ask)
        if isinstance(outcome, NotSent) and not resent:
            await self._move(engine, row, ShareEvent.FAIL_TO_SEND)
        elif isinstance(outcome, NotSent):  # an earlier sending of the number may have arrived
            await self._move(engine, row, ShareEvent.LOSE)
        else:
            return await self._hurried(engine, await self._settle(engine, row, outcome))
        return await self.now(engine, row.merchant_id, row.id)

    async def _hurried(self, engine: Engine, row: Row) -> Row:
        """No channel tells of its end by itself: ask sooner than the lease says."""
        if row.state in (ShareState.PENDING, ShareState.UNKNOWN):
            await enqueue(
                engine.database,
                merchant_id=row.merchant_id,
                kind=self.kind.job,
                subject_id=row.id,
                run_at=engine.now() + HURRY,
            )
            engine.wake()
        return row

    async def _settle(self, engine: Engine, row: Row, outcome: Any) -> Row:
        match outcome:
            case TransferPending():
                await self._move(engine, row, ShareEvent.WAIT, outcome.channel_reference)
            case Unknown():
                await self._move(engine, row, ShareEvent.LOSE)
            case NotFound() | NotSent():
                pass
            case _:
                await self.kind.settle(engine, row, outcome)
        engine.wake()
        return await self.now(engine, row.merchant_id, row.id)

    async def _move(
        self, engine: Engine, row: Row, event: ShareEvent, channel_reference: str | None = None
    ) -> None:
        states = sorted(sources(SHARE, event))
        await engine.database.execute(
            self.sql[f"move_{self.kind.name}"],
            row.merchant_id,
            row.id,
            after(SHARE, ShareState(states[0]), event),
            states,
            channel_reference,
        )
