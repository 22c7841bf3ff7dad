"""Transfers out: asked for under a merchant's limits, and let go by a second person.

Who asked may not approve. Only below the merchant's threshold is no second person needed; without a
policy one always is for real money, and none for test money.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import asyncpg

from qiao.channels.interface import Capability
from qiao.channels.requests import TransferRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.money import Money
from qiao.domain.states import TRANSFER, TransferEvent, TransferState, sources
from qiao.engine.accounts import Account
from qiao.engine.actors import SYSTEM
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import check_number, check_page, check_texts, replayed
from qiao.engine.records import Transfer, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.transfer_work import LEASE, payee_of, seal_payee, sending, work
from qiao.store.database import Queries
from qiao.store.sql import load_statements

SQL = load_statements("transfers")
APPROVABLE: Final = sorted(sources(TRANSFER, TransferEvent.APPROVE))
REJECTABLE: Final = sorted(sources(TRANSFER, TransferEvent.REJECT))
MAX_TEXT: Final = 128
MAX_REASON: Final = 200
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOrder:
    """What a merchant wants to pay out; ``number`` is the merchant's own, once for ever.

    ``payee``, ``payee_name`` and ``scene`` as in TransferRequest.
    """

    number: str
    channel: str
    amount: Money
    payee: str = field(repr=False)
    description: str
    payee_name: str | None = field(default=None, repr=False)
    scene: str | None = None

    def __post_init__(self) -> None:
        check_number(self.number, "a transfer's number")
        if self.amount.minor <= 0:
            raise InvalidInput(
                "nothing to transfer", field="amount", remedy="give a whole number above zero"
            )
        texts = {
            "payee": self.payee,
            "payee_name": self.payee_name,
            "description": self.description,
            "scene": self.scene,
        }
        check_texts(texts, MAX_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one merchant may pay out in one currency; minor units, and None for no limit.

    Above ``check_above_minor`` a second person must approve; None: always.
    """

    check_above_minor: int | None = None
    max_minor: int | None = None
    daily_max_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedTransfer:
    """The transfer; ``created`` is False when its number was already known."""

    transfer: Transfer
    created: bool


async def put_policy(engine: Engine, scope: Scope, currency: str, policy: Policy) -> None:
    """Set the merchant's limits in a currency. Raises InvalidInput for one that cannot be."""
    for name in ("check_above_minor", "max_minor", "daily_max_minor"):
        limit = getattr(policy, name)
        if limit is not None and limit < (0 if name == "check_above_minor" else 1):
            raise InvalidInput(
                "not a limit", field=name.removesuffix("_minor"), remedy="give an amount above zero"
            )
    await engine.database.execute(
        SQL.put_policy,
        scope.merchant_id,
        scope.live,
        currency,
        policy.check_above_minor,
        policy.max_minor,
        policy.daily_max_minor,
    )


async def request_transfer(
    engine: Engine, scope: Scope, order: TransferOrder, *, key: IdempotencyKey | None = None
) -> RequestedTransfer:
    """Ask for a transfer; one that needs no second person is sent at once.

    The same number with the same content gives the transfer that is there. Raises InvalidInput, and
    Conflict for another content or an amount beyond the merchant's limits.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        return RequestedTransfer(transfer=await show_transfer(engine, scope, known), created=False)
    found = await known_transfer(engine, scope, order)
    if found is not None:
        return RequestedTransfer(transfer=found, created=False)
    account = await prepared(engine, scope, order)
    try:
        async with engine.database.transaction() as queries:
            await queries.fetch_value(SQL.lock_transfers, scope.merchant_id)
            policy = await check_limits(engine, queries, scope, [order])
            state = first_state(policy, scope, order.amount)
            transfer = await put(engine, queries, scope, order, account, state, key=key)
    except asyncpg.UniqueViolationError:  # the same number or key, at the same time
        return await request_transfer(engine, scope, order, key=key)
    return RequestedTransfer(transfer=await work(engine, transfer), created=True)


async def known_transfer(engine: Engine, scope: Scope, order: TransferOrder) -> Transfer | None:
    """The transfer of that number. Raises Conflict when it is another one."""
    row = await engine.database.fetch_row(
        SQL.transfer_of_number, scope.merchant_id, scope.live, order.number
    )
    if row is None:
        return None
    known = read(Transfer, row)
    content = (known.channel, known.amount, known.description, known.scene)
    payee = await payee_of(engine, scope.merchant_id, known.transfer_id)
    if (*content, payee) != (
        *(order.channel, order.amount, order.description, order.scene),
        (order.payee, order.payee_name),
    ):
        raise Conflict(
            "the number is known with another content",
            code="transfer_exists_with_different_content",
            field="number",
            remedy="take a new number for another transfer",
        )
    return known


async def prepared(engine: Engine, scope: Scope, order: TransferOrder) -> Account:
    """The account that can do it, once its channel has looked at the order. Raises InvalidInput."""
    account = await _account(engine, scope, order)
    request = TransferRequest(
        reference=order_number(engine.new_id(IdKind.TRANSFER)),
        amount=order.amount,
        payee=order.payee,
        payee_name=order.payee_name,
        description=order.description,
        scene=order.scene,
        notify_url=engine.notify_url(scope.merchant_id, account.account_id),
    )
    sending(engine, account, request).close()  # it is looked at, and does not leave
    return account


async def _account(engine: Engine, scope: Scope, order: TransferOrder) -> Account:
    for account in await engine.accounts.usable(scope.merchant_id, live=scope.live):
        manifest = account.channel.manifest
        pays = Capability.TRANSFERS in manifest.capabilities
        if account.channel_id == order.channel and pays:
            if order.amount.currency in manifest.currencies:
                return account
            raise InvalidInput(
                f"{order.channel} pays nothing out in {order.amount.currency}",
                field="currency",
                remedy=f"it does in: {', '.join(sorted(manifest.currencies))}",
            )
    mode = "live" if scope.live else "test"
    raise InvalidInput(
        f"there is no {mode} account that pays out through {order.channel!r}",
        field="channel",
        remedy="add an account at a channel with transfers; see: qiao channels",
    )


async def check_limits(
    engine: Engine, queries: Queries, scope: Scope, orders: Sequence[TransferOrder]
) -> Policy | None:
    """The merchant's policy; orders are in one currency. Raises Conflict beyond its limits."""
    currency = orders[0].amount.currency
    row = await queries.fetch_row(SQL.policy, scope.merchant_id, scope.live, currency)
    if row is None:
        return None
    policy = Policy(**dict(row.items()))
    most = max(one.amount.minor for one in orders)
    if policy.max_minor is not None and most > policy.max_minor:
        raise _exceeds(f"more than {Money(policy.max_minor, currency)} in one transfer")
    if policy.daily_max_minor is not None:
        since = engine.now() - DAY
        spent = await queries.fetch_value(SQL.spent, scope.merchant_id, scope.live, currency, since)
        wanted = sum(one.amount.minor for one in orders)
        if spent + wanted > policy.daily_max_minor:
            limit = Money(policy.daily_max_minor, currency)
            raise _exceeds(f"more than {limit} in 24 hours, with what was asked for before")
    return policy


def first_state(policy: Policy | None, scope: Scope, total: Money) -> TransferState:
    """Whether ``total``, of one transfer or of a whole batch, waits for a second person."""
    if policy is None:
        waits = scope.live
    else:
        above = policy.check_above_minor
        waits = above is None or total.minor > above
    return TransferState.REQUESTED if waits else TransferState.APPROVED


async def put(
    engine: Engine,
    queries: Queries,
    scope: Scope,
    order: TransferOrder,
    account: Account,
    state: TransferState,
    *,
    line: tuple[str, int] | None = None,
    key: IdempotencyKey | None = None,
) -> Transfer:
    """Write the transfer down, in the caller's transaction; ``line``: of which batch, and where."""
    batch_id, batch_line = line or (None, None)
    transfer_id = engine.new_id(IdKind.TRANSFER)
    row = await queries.fetch_row(
        SQL.request_transfer,
        scope.merchant_id,
        transfer_id,
        scope.live,
        batch_id,
        order.number,
        account.account_id,
        order.channel,
        order_number(transfer_id),
        order.amount.minor,
        order.amount.currency,
        seal_payee(engine, order.payee, order.payee_name),
        order.description,
        order.scene,
        state,
        actor_of(scope),
        engine.new_id(IdKind.EVENT),
        key.key if key else None,
        key.body_digest if key else None,
        engine.now(),
        LEASE,
        batch_line,
    )
    assert row is not None  # noqa: S101 - an INSERT … RETURNING without a condition
    return read(Transfer, row)


def actor_of(scope: Scope) -> str:
    """Who asks. Raises Conflict when it is not known: then nobody could check it."""
    if scope.actor is SYSTEM:
        raise Conflict(
            "it is not known who asks",
            code="actor_unknown",
            field="Authorization",
            remedy="ask with an API key, or name the operator",
        )
    return scope.actor.id


async def approve(engine: Engine, scope: Scope, transfer_id: str) -> Transfer:
    """Let a transfer go, and send it. By the same person again changes nothing.

    Raises Missing, and Conflict for the one who asked for it, or when it does not wait any more.
    """
    actor = actor_of(scope)
    transfer = await show_transfer(engine, scope, transfer_id)
    if transfer.requested_by == actor:
        raise Conflict(
            "whoever asked for a transfer may not approve it",
            code="second_person_needed",
            field="Authorization",
            remedy="let another person approve it, with another API key",
        )
    row = await engine.database.fetch_row(
        SQL.approve_transfer,
        scope.merchant_id,
        scope.live,
        transfer_id,
        actor,
        APPROVABLE,
        engine.now(),
        engine.new_id(IdKind.EVENT),
        LEASE,
    )
    if row is None:
        now = await show_transfer(engine, scope, transfer_id)
        if now.decided_by == actor and now.state is not TransferState.REJECTED:
            return now
        raise _decided(now)
    return await work(engine, read(Transfer, row))


async def reject(
    engine: Engine, scope: Scope, transfer_id: str, *, reason: str | None = None
) -> Transfer:
    """Let it come to nothing; whoever asked for it may do so too. Again changes nothing.

    Raises Missing, InvalidInput, and Conflict when it was approved.
    """
    actor = actor_of(scope)
    if reason is not None and not (1 <= len(reason) <= MAX_REASON and reason.isprintable()):
        raise InvalidInput(
            "not a reason", field="reason", remedy=f"give 1 to {MAX_REASON} printable characters"
        )
    await show_transfer(engine, scope, transfer_id)
    row = await engine.database.fetch_row(
        SQL.reject_transfer,
        scope.merchant_id,
        scope.live,
        transfer_id,
        actor,
        REJECTABLE,
        engine.now(),
        engine.new_id(IdKind.EVENT),
        reason,
    )
    engine.wake()
    if row is not None:
        return read(Transfer, row)
    now = await show_transfer(engine, scope, transfer_id)
    if now.state is TransferState.REJECTED:
        return now
    raise _decided(now)


async def show_transfer(engine: Engine, scope: Scope, transfer_id: str) -> Transfer:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.TRANSFER, transfer_id, field="transfer_id")
    row = await engine.database.fetch_row(
        SQL.transfer_of_id, scope.merchant_id, scope.live, transfer_id
    )
    if row is None:
        raise Missing(
            "no such transfer", field="transfer_id", remedy="look at the id, and at the key's mode"
        )
    return read(Transfer, row)


async def list_transfers(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: TransferState | None = None,
    limit: int = 20,
) -> list[Transfer]:
    """The newest first; ``before`` is the id that ended the page before."""
    check_page(limit, before, IdKind.TRANSFER)
    rows = await engine.database.fetch(
        SQL.transfers, scope.merchant_id, scope.live, before, state, limit
    )
    return [read(Transfer, row) for row in rows]


def _exceeds(message: str) -> Conflict:
    return Conflict(
        message,
        code="transfer_exceeds_limit",
        field="amount",
        remedy="transfer less, or have the operator raise the limit: qiao merchant transfers",
    )


def _decided(transfer: Transfer) -> Conflict:
    return Conflict(
        f"the transfer does not wait any more: it is {transfer.state}",
        code="transfer_not_waiting",
        field="transfer_id",
        remedy="look at it again; ask for a new one under a new number if need be",
    )
