"""Profit sharing (分账): a paid payment is divided between receivers, and parts of it come back.

What is shared is reserved in the same place as what is refunded, so that shares, refunds and both
on their way are never more than was taken. Whoever got a share keeps it until it is returned: only
then can it be refunded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from qiao.channels.interface import Capability, ProfitSharing
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.money import Money
from qiao.domain.states import AttemptState, ShareState
from qiao.engine.accounts import Account
from qiao.engine.attempts import attempt_of_id
from qiao.engine.audit import record_for
from qiao.engine.errors import Conflict, Missing
from qiao.engine.movements import LEASE
from qiao.engine.payments import attempts_of, check_page, check_texts, once, show
from qiao.engine.records import Attempt, Payment, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.engine.share_records import (
    ProfitShare,
    Receiver,
    ReceiverState,
    SharePart,
    ShareReturn,
)
from qiao.engine.share_work import (
    SHARES,
    SQL,
    parts_of,
    sharing_request,
    wire_shares,
)
from qiao.telemetry.tracing import traced

MAX_SHARES: Final = 50
"""WeChat Pay's limit (https://pay.weixin.qq.com/doc/v3/merchant/4012466848); others have theirs."""
MAX_DESCRIPTION: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLine:
    """What one receiver is to get, in the payment's currency."""

    receiver_id: str
    amount_minor: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPayment:
    """A share with its parts and what was returned of them, the oldest first."""

    share: ProfitShare
    parts: Sequence[SharePart]
    returns: Sequence[ShareReturn]


@traced("share")
async def share(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    lines: Sequence[ShareLine],
    *,
    finish: bool = False,
    key: IdempotencyKey | None = None,
) -> ProfitShare:
    """Divide some of a paid payment; with ``finish`` what is left is the merchant's for good.

    ``finish`` without lines only does that. Sent at once. Raises Missing, InvalidInput, and
    Conflict when the payment cannot be shared, is finished, or too little is left.
    """
    return await once(
        engine,
        scope,
        key,
        show=partial(show_share, engine, scope),
        make=partial(_share, engine, scope, payment_id, lines, finish, key),
    )


async def _share(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    lines: Sequence[ShareLine],
    finish: bool,
    key: IdempotencyKey | None,
) -> ProfitShare:
    payment = await show(engine, scope, payment_id)
    _check_lines(lines, finish=finish)
    paid = await _shareable(engine, payment)
    account = await engine.accounts.of_id(scope.merchant_id, paid.account_id)
    if Capability.PROFIT_SHARING not in account.channel.manifest.capabilities:
        raise not_shareable(f"{paid.channel} divides no payments")
    await _check_receivers(engine, scope, account, lines)
    share_id = engine.new_id(IdKind.PROFIT_SHARE)
    told = [(one.receiver_id, one.amount_minor, one.description) for one in lines]
    wire = await wire_shares(engine, scope.merchant_id, told, payment.currency)
    request = sharing_request(order_number(share_id), paid, wire, finish=finish)
    sharing = cast("ProfitSharing", account.channel).share_profit(request, engine.context)
    primed(sharing).close()  # the channel looks at it, and nothing leaves
    total = sum(one.amount_minor for one in lines)
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(
            SQL.request_share,
            scope.merchant_id,
            payment_id,
            share_id,
            order_number(share_id),
            total,
            finish,
            engine.new_id(IdKind.EVENT),
            scope.live,
            key.key if key else None,
            key.body_digest if key else None,
            LEASE,
            engine.now(),
            [
                {
                    "line": number,
                    "receiver_id": one.receiver_id,
                    "amount_minor": one.amount_minor,
                    "description": one.description,
                }
                for number, one in enumerate(lines, 1)
            ],
        )
        if row is not None:
            await record_for(engine, queries, scope, "profit_share.asked", share_id)
    if row is None:
        raise await _refusal(engine, paid)
    return await SHARES.work(engine, read(ProfitShare, row))


async def release(
    engine: Engine, scope: Scope, payment_id: str, *, key: IdempotencyKey | None = None
) -> ProfitShare:
    """Leave what is not shared to the merchant for good (解冻剩余资金). Raises as ``share``."""
    return await share(engine, scope, payment_id, [], finish=True, key=key)


async def show_share(engine: Engine, scope: Scope, share_id: str) -> ProfitShare:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.PROFIT_SHARE, share_id, field="profit_share_id")
    row = await engine.database.fetch_row(SQL.share_of_id, scope.merchant_id, scope.live, share_id)
    if row is None:
        raise missing("profit share", "profit_share_id")
    return read(ProfitShare, row)


async def show_in_full(engine: Engine, scope: Scope, share_id: str) -> SharedPayment:
    """With its parts and returns. Raises InvalidId, Missing."""
    found = await show_share(engine, scope, share_id)
    rows = await engine.database.fetch(SQL.returns_of_share, scope.merchant_id, share_id)
    return SharedPayment(
        share=found,
        parts=(await parts_of(engine, scope.merchant_id, [found]))[share_id],
        returns=[read(ShareReturn, row) for row in rows],
    )


async def list_shares(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: ShareState | None = None,
    payment_id: str | None = None,
    limit: int = 20,
) -> list[SharedPayment]:
    """The newest first, with their parts and without returns; ``before`` ended the page before."""
    check_page(limit, before, IdKind.PROFIT_SHARE)
    if payment_id is not None:
        parse_id(IdKind.PAYMENT, payment_id, field="payment_id")
    rows = await engine.database.fetch(
        SQL.shares, scope.merchant_id, scope.live, before, state, payment_id, limit
    )
    found = [read(ProfitShare, row) for row in rows]
    parts = await parts_of(engine, scope.merchant_id, found)
    return [SharedPayment(share=one, parts=parts[one.share_id], returns=[]) for one in found]


def _check_lines(lines: Sequence[ShareLine], *, finish: bool) -> None:
    if len(lines) > MAX_SHARES or not (lines or finish):
        raise InvalidInput(
            "nobody is to get anything" if not lines else "too many receivers",
            field="shares",
            remedy=f"give 1 to {MAX_SHARES} shares; to leave the rest, release it",
        )
    for number, one in enumerate(lines):
        if one.amount_minor <= 0:
            raise InvalidInput(
                "nothing to share",
                field=f"shares[{number}].amount",
                remedy="give a whole number above zero",
            )
        check_texts({f"shares[{number}].description": one.description}, MAX_DESCRIPTION)
    if len({one.receiver_id for one in lines}) < len(lines):
        raise InvalidInput(
            "a receiver is named twice", field="shares", remedy="give each receiver one amount"
        )


async def _shareable(engine: Engine, payment: Payment) -> Attempt:
    """The attempt whose money can be shared. Raises Conflict."""
    if not payment.profit_sharing:
        raise not_shareable("the order was not accepted with profit_sharing")
    for one in await attempts_of(engine, payment):
        if one.state is AttemptState.SUCCEEDED:
            return one
    raise Conflict(
        "there is nothing to share: the payment is not paid",
        code="payment_not_paid",
        field="payment_id",
        remedy="share it once it is paid",
    )


async def _check_receivers(
    engine: Engine, scope: Scope, account: Account, lines: Sequence[ShareLine]
) -> None:
    for number, one in enumerate(lines):
        field = f"shares[{number}].receiver_id"
        parse_id(IdKind.SHARE_RECEIVER, one.receiver_id, field=field)
    ids = [one.receiver_id for one in lines]
    rows = await engine.database.fetch(SQL.receivers_of_ids, scope.merchant_id, ids)
    known = {row["receiver_id"]: read(Receiver, row) for row in rows}
    for number, one in enumerate(lines):
        found = known.get(one.receiver_id)
        if found is None or (found.live, found.account_id) != (scope.live, account.account_id):
            raise InvalidInput(
                "no receiver of the account that was paid",
                field=f"shares[{number}].receiver_id",
                remedy="name one that is bound at the same channel account",
            )
        if found.state is not ReceiverState.BOUND:
            raise InvalidInput(
                f"the receiver is not bound: it is {found.state}",
                field=f"shares[{number}].receiver_id",
                remedy="bind it first",
            )


async def _refusal(engine: Engine, paid: Attempt) -> Conflict:
    now = await attempt_of_id(engine, paid.merchant_id, paid.attempt_id)
    if now.shares_closed:
        return Conflict(
            "what was left is the merchant's for good, or about to be",
            code="payment_shares_finished",
            field="payment_id",
            remedy="pay the receiver by a transfer",
        )
    left = Money(now.captured_minor - now.reserved_minor, now.currency)
    return Conflict(
        f"more than is left: {left}",
        code="share_exceeds_payment",
        field="shares",
        remedy="share at most what is left; refunds and shares on their way count",
    )


def not_shareable(message: str) -> Conflict:
    return Conflict(
        message,
        code="payment_not_shareable",
        field="payment_id",
        remedy="accept an order with profit_sharing, paid through a channel that has it: "
        "qiao channels",
    )


def missing(what: str, field: str) -> Missing:
    return Missing(f"no such {what}", field=field, remedy="look at the id, and at the key's mode")
