"""Receivers of shares: bound to the merchant at the channel, and unbound, by a number of our own.

Binding moves no money and does no harm twice: when the channel's answer is lost, the receiver is
``unknown``, and whoever asks again finds out.
"""

from dataclasses import dataclass, field
from typing import Final, assert_never, cast

import asyncpg

from qiao.channels.interface import Capability, ShareReceivers
from qiao.channels.requests import ReceiverRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.outcomes import BindingOutcome, BindingRefused, Bound, NotSent, Unbound, Unknown
from qiao.engine.accounts import Account
from qiao.engine.audit import record_for
from qiao.engine.calls import Verb, call
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import check_number, check_page, check_texts
from qiao.engine.records import read
from qiao.engine.runtime import Engine, Scope
from qiao.engine.sending import primed
from qiao.engine.share_records import Receiver, ReceiverState
from qiao.engine.share_work import SQL, receiver_of, seal_receiver

MAX_TEXT: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverOrder:
    """Whom to bind; ``number`` is the merchant's own, once for ever. As in ReceiverRequest."""

    number: str
    channel: str
    receiver_type: str
    receiver: str = field(repr=False)
    name: str | None = field(default=None, repr=False)
    relation: str | None = None
    memo: str | None = None

    def __post_init__(self) -> None:
        check_number(self.number, "a receiver's number")
        texts = {
            "receiver_type": self.receiver_type,
            "receiver": self.receiver,
            "name": self.name,
            "relation": self.relation,
            "memo": self.memo,
        }
        check_texts(texts, MAX_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundReceiver:
    """The receiver; ``created`` is False when its number was already known."""

    receiver: Receiver
    created: bool


async def bind(engine: Engine, scope: Scope, order: ReceiverOrder) -> BoundReceiver:
    """Bind a receiver; the same number again asks the channel again, unless it is bound.

    Raises InvalidInput, and Conflict when the number is known with another content.
    """
    known = await _known(engine, scope, order)
    if known is not None:
        if known.state is not ReceiverState.BOUND:
            known = await _ask(engine, scope, known)
        return BoundReceiver(receiver=known, created=False)
    account = await _account(engine, scope, order)
    receiver_id = engine.new_id(IdKind.SHARE_RECEIVER)
    request = _request(receiver_id, order)
    primed(_binder(account).bind_receiver(request, engine.context)).close()
    try:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(
                SQL.put_receiver,
                scope.merchant_id,
                receiver_id,
                scope.live,
                order.number,
                account.account_id,
                order.channel,
                order.receiver_type,
                order.relation,
                order.memo,
                seal_receiver(engine, order.receiver, order.name),
            )
            await record_for(engine, queries, scope, "share_receiver.added", receiver_id)
    except asyncpg.UniqueViolationError:  # the same number, at the same time
        return await bind(engine, scope, order)
    assert row is not None  # noqa: S101 - an INSERT … RETURNING without a condition
    made = await _ask(engine, scope, read(Receiver, row), new=True)
    return BoundReceiver(receiver=made, created=True)


async def unbind(engine: Engine, scope: Scope, receiver_id: str) -> Receiver:
    """Let the receiver get no share any more; again changes nothing. Raises Missing."""
    known = await show_receiver(engine, scope, receiver_id)
    if known.state is ReceiverState.UNBOUND:
        return known
    return await _ask(engine, scope, known, unbinding=True)


async def show_receiver(engine: Engine, scope: Scope, receiver_id: str) -> Receiver:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.SHARE_RECEIVER, receiver_id, field="receiver_id")
    row = await engine.database.fetch_row(
        SQL.receiver_of_id, scope.merchant_id, scope.live, receiver_id
    )
    if row is None:
        raise Missing(
            "no such receiver", field="receiver_id", remedy="look at the id, and at the key's mode"
        )
    return read(Receiver, row)


async def who_it_is(engine: Engine, receiver: Receiver) -> tuple[str, str | None]:
    """The receiver's id at the channel, and its name: personal data, for who asks about it."""
    [row] = await engine.database.fetch(
        SQL.receivers_of_ids, receiver.merchant_id, [receiver.receiver_id]
    )
    return receiver_of(engine, row["sealed_receiver"])


async def list_receivers(
    engine: Engine, scope: Scope, *, before: str | None = None, limit: int = 20
) -> list[Receiver]:
    """The newest first; ``before`` is the id that ended the page before."""
    check_page(limit, before, IdKind.SHARE_RECEIVER)
    rows = await engine.database.fetch(SQL.receivers, scope.merchant_id, scope.live, before, limit)
    return [read(Receiver, row) for row in rows]


async def _known(engine: Engine, scope: Scope, order: ReceiverOrder) -> Receiver | None:
    row = await engine.database.fetch_row(
        SQL.receiver_of_number, scope.merchant_id, scope.live, order.number
    )
    if row is None:
        return None
    known = read(Receiver, row)
    told = (known.channel, known.receiver_type, known.relation, known.memo)
    who = receiver_of(engine, row["sealed_receiver"])
    if (*told, *who) != (
        *(order.channel, order.receiver_type, order.relation, order.memo),
        *(order.receiver, order.name),
    ):
        raise Conflict(
            "the number is known with another content",
            code="receiver_exists_with_different_content",
            field="number",
            remedy="take a new number for another receiver",
        )
    return known


async def _account(engine: Engine, scope: Scope, order: ReceiverOrder) -> Account:
    for account in await engine.accounts.usable(scope.merchant_id, live=scope.live):
        binds = Capability.SHARE_RECEIVERS in account.channel.manifest.capabilities
        if account.channel_id == order.channel and binds:
            return account
    mode = "live" if scope.live else "test"
    raise InvalidInput(
        f"there is no {mode} account that binds receivers at {order.channel!r}",
        field="channel",
        remedy="add an account at a channel with share receivers; see: qiao channels",
    )


async def _ask(
    engine: Engine, scope: Scope, known: Receiver, *, unbinding: bool = False, new: bool = False
) -> Receiver:
    """Ask the channel, in a turn of its own: an answer that a later one overtook says nothing."""
    account = await engine.accounts.of_id(known.merchant_id, known.account_id)
    receiver, name = await who_it_is(engine, known)
    request = ReceiverRequest(
        reference=order_number(engine.new_id(IdKind.SHARE_RECEIVER)),
        receiver_type=known.receiver_type,
        receiver=receiver,
        name=name,
        relation=known.relation,
        memo=known.memo,
    )
    channel = _binder(account)
    asking = channel.unbind_receiver if unbinding else channel.bind_receiver
    operation = primed(asking(request, engine.context))
    if not new:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(SQL.ask_receiver, known.merchant_id, known.receiver_id)
            action = "share_receiver.unbound" if unbinding else "share_receiver.bound_again"
            await record_for(engine, queries, scope, action, known.receiver_id)
        assert row is not None  # noqa: S101 - nothing removes a receiver
        known = read(Receiver, row)
    verb: Verb = "unbind_receiver" if unbinding else "bind_receiver"
    outcome = await call(engine, account, verb, operation)
    state, refused = _state(outcome)
    await engine.database.execute(
        SQL.settle_receiver,
        known.merchant_id,
        known.receiver_id,
        known.turn,
        state,
        refused.code if refused else None,
        refused.channel_code if refused else None,
        refused.channel_message if refused else None,
    )
    return await show_receiver(engine, scope, known.receiver_id)


def _state(outcome: BindingOutcome) -> tuple[ReceiverState, BindingRefused | None]:
    match outcome:
        case Bound():
            return ReceiverState.BOUND, None
        case Unbound():
            return ReceiverState.UNBOUND, None
        case BindingRefused():
            return ReceiverState.REFUSED, outcome
        case NotSent() | Unknown():
            return ReceiverState.UNKNOWN, None
        case _:
            assert_never(outcome)


def _request(receiver_id: str, order: ReceiverOrder) -> ReceiverRequest:
    return ReceiverRequest(
        reference=order_number(receiver_id),
        receiver_type=order.receiver_type,
        receiver=order.receiver,
        name=order.name,
        relation=order.relation,
        memo=order.memo,
    )


def _binder(account: Account) -> ShareReceivers:
    return cast("ShareReceivers", account.channel)
