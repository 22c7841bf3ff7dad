"""Returns of shares (分账回退): a receiver gives its part back, so that it can be refunded."""

from functools import partial
from typing import cast

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
from qiao.engine.payments import check_texts, once
from qiao.engine.records import read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.engine.share_records import PartState, ProfitShare, SharePart, ShareReturn
from qiao.engine.share_work import RETURNS, SQL, parts_of, return_request, wire_shares
from qiao.engine.shares import MAX_DESCRIPTION, missing, not_shareable, show_share


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
    return await once(
        engine,
        scope,
        key,
        show=partial(show_return, engine, scope),
        make=partial(_return, engine, scope, share_id, line, amount_minor, description, key),
    )


async def _return(
    engine: Engine,
    scope: Scope,
    share_id: str,
    line: int,
    amount_minor: int | None,
    description: str,
    key: IdempotencyKey | None,
) -> ShareReturn:
    shared = await show_share(engine, scope, share_id)
    part = await _part(engine, shared, line)
    check_texts({"description": description}, MAX_DESCRIPTION)
    if amount_minor is not None and amount_minor <= 0:
        raise InvalidInput(
            "nothing to return", field="amount", remedy="give a whole number above zero"
        )
    left = part.amount_minor - part.returned_minor - part.returning_minor
    wanted = left if amount_minor is None else amount_minor
    if not 0 < wanted <= left or part.state is not PartState.SUCCEEDED:
        raise _exceeds(part, shared)
    attempt = await attempt_of_id(engine, scope.merchant_id, shared.attempt_id)
    account = await engine.accounts.of_id(scope.merchant_id, attempt.account_id)
    return_id = engine.new_id(IdKind.SHARE_RETURN)
    told = [(part.receiver_id, part.amount_minor, part.description)]
    [wire] = await wire_shares(engine, scope.merchant_id, told, shared.currency)
    amount = Money(wanted, shared.currency)
    number = order_number(return_id)
    request = return_request(number, amount, shared, attempt, wire, description)
    _let_look(engine, account, request)
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(
            SQL.request_return,
            scope.merchant_id,
            share_id,
            line,
            return_id,
            number,
            wanted,
            description,
            engine.new_id(IdKind.EVENT),
            scope.live,
            key.key if key else None,
            key.body_digest if key else None,
            LEASE,
            engine.now(),
        )
        if row is not None:
            await record_for(engine, queries, scope, "profit_share.return_asked", return_id)
    if row is None:
        raise _exceeds(await _part(engine, shared, line), shared)
    return await RETURNS.work(engine, read(ShareReturn, row))


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
