"""Returns of shares (分账回退): a receiver gives its part back, so that it can be refunded."""

from typing import cast

import asyncpg

from qiao.channels.interface import Capability, ShareReturns
from qiao.channels.requests import ShareReturnRequest
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.money import Money
from qiao.engine.accounts import Account
from qiao.engine.attempts import attempt_of_id
from qiao.engine.audit import record_for
from qiao.engine.errors import Conflict
from qiao.engine.movements import LEASE
from qiao.engine.payments import replayed
from qiao.engine.records import read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.engine.share_records import PartState, ProfitShare, SharePart, ShareReturn
from qiao.engine.share_work import RETURNS, SQL, parts_of, return_request, wire_shares
from qiao.engine.shares import check_description, missing, not_shareable, show_share


async def return_share(
    engine: Engine,
    scope: Scope,
    share_id: str,
    line: int,
    *,
    amount_minor: int | None = None,
    description: str = "returned",
    key: IdempotencyKey | None = None,
) -> ShareReturn:
    """Have the receiver of one part give ``amount_minor`` back, or all that it still has.

    Raises Missing, InvalidInput, and Conflict when it did not arrive or less is left.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        return await show_return(engine, scope, known)
    shared = await show_share(engine, scope, share_id)
    part = await _part(engine, shared, line)
    check_description(description, "description")
    if amount_minor is not None and amount_minor <= 0:
        raise InvalidInput(
            "nothing to return", field="amount", remedy="give a whole number above zero"
        )
    left = part.amount_minor - part.returned_minor - part.returning_minor
    wanted = left if amount_minor is None else amount_minor
    if not 0 < wanted <= left or part.state is not PartState.SUCCEEDED:
        return await _made_at_once(engine, scope, key, _exceeds(part, shared))
    attempt = await attempt_of_id(engine, scope.merchant_id, shared.attempt_id)
    account = await engine.accounts.of_id(scope.merchant_id, attempt.account_id)
    return_id = engine.new_id(IdKind.SHARE_RETURN)
    told = [(part.receiver_id, part.amount_minor, part.description)]
    [wire] = await wire_shares(engine, scope.merchant_id, told, shared.currency)
    amount = Money(wanted, shared.currency)
    number = order_number(return_id)
    request = return_request(number, amount, shared, attempt, wire, description)
    _let_look(engine, account, request)
    made = await _reserve(engine, scope, shared, part, return_id, request, key)
    if made is None:
        return await _made_at_once(engine, scope, key, _exceeds(part, shared))
    return await RETURNS.work(engine, made)


async def _made_at_once(
    engine: Engine, scope: Scope, key: IdempotencyKey | None, refusal: Conflict
) -> ShareReturn:
    """What the same key has made meanwhile; otherwise raises the refusal."""
    known = await replayed(engine, scope, key) if key is not None else None
    if known is None:
        raise refusal
    return await show_return(engine, scope, known)


async def _reserve(
    engine: Engine,
    scope: Scope,
    shared: ProfitShare,
    part: SharePart,
    return_id: str,
    request: ShareReturnRequest,
    key: IdempotencyKey | None,
) -> ShareReturn | None:
    """None when the receiver has less by now; what the same key made, where another was first."""
    try:
        async with engine.database.transaction() as queries:
            row = await queries.fetch_row(
                SQL.request_return,
                scope.merchant_id,
                shared.share_id,
                part.line,
                return_id,
                request.reference,
                request.amount.minor,
                request.description,
                engine.new_id(IdKind.EVENT),
                scope.live,
                key.key if key else None,
                key.body_digest if key else None,
                LEASE,
                engine.now(),
            )
            if row is not None:
                await record_for(engine, queries, scope, "profit_share.return_asked", return_id)
    except asyncpg.UniqueViolationError:  # the same key, at the same time
        known = await replayed(engine, scope, key) if key is not None else None
        if known is None:
            raise
        return await show_return(engine, scope, known)
    return None if row is None else read(ShareReturn, row)


def _let_look(engine: Engine, account: Account, request: ShareReturnRequest) -> None:
    """Raises InvalidInput, and Conflict where the channel cannot do it."""
    if Capability.SHARE_RETURNS not in account.channel.manifest.capabilities:
        raise not_shareable(f"{account.channel_id} takes no share back")
    channel = cast("ShareReturns", account.channel)
    primed(channel.return_share(request, engine.context)).close()


def _exceeds(part: SharePart, shared: ProfitShare) -> Conflict:
    arrived = part.state is PartState.SUCCEEDED
    left = Money(part.amount_minor - part.returned_minor - part.returning_minor, shared.currency)
    return Conflict(
        f"the receiver has less of it: {left}"
        if arrived
        else f"the receiver has nothing to give back: its part is {part.state}",
        code="return_exceeds_share",
        field="amount",
        remedy="return at most what the receiver still has; returns on their way count",
    )


async def show_return(engine: Engine, scope: Scope, return_id: str) -> ShareReturn:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.SHARE_RETURN, return_id, field="return_id")
    row = await engine.database.fetch_row(
        SQL.return_of_id, scope.merchant_id, scope.live, return_id
    )
    if row is None:
        raise missing("return", "return_id")
    return read(ShareReturn, row)


async def _part(engine: Engine, shared: ProfitShare, line: int) -> SharePart:
    parts = (await parts_of(engine, shared.merchant_id, [shared]))[shared.share_id]
    for one in parts:
        if one.line == line:
            return one
    raise InvalidInput(
        "there is no such line", field="line", remedy=f"give 1 to {len(parts)}: see its shares"
    )
