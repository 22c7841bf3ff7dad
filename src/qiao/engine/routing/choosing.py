"""Choose the account of an attempt, and tell why it is this one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, Final

from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.engine.accounts import Account
from qiao.engine.bulkheads import RETRY_AFTER_SECONDS
from qiao.engine.errors import ChannelBusy, NoRoute
from qiao.engine.routing.rules import CompiledRow
from qiao.engine.routing.scores import UNMEASURED, Candidate, in_order
from qiao.engine.routing.state import Circuit, Known
from qiao.engine.routing.wanted import ANY_CHANNEL, Wanted
from qiao.engine.runtime import Engine, Scope

BUSY: Final = "too many wait for its channel, which is silent"
NO_MATCH: Final = "no row of the routing rules applies to this payment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The account, and as a document the version, the row and the candidates with their scores."""

    account: Account
    document: dict[str, Any] | None
    """None where there was nothing to choose: no rules, and one account."""
    cost: Fee | None = None
    """What the account takes, where a fee line tells it."""


async def choose(
    engine: Engine,
    scope: Scope,
    wanted: Wanted,
    *,
    tried: frozenset[str] = frozenset(),
    in_full: bool = False,
) -> Choice:
    """The account to try, none of those ``tried``; ``in_full`` explains also what needs it not.

    Raises InvalidInput naming what no account can or the rules forbid, and NoRoute when every
    account that could is out of order just now, which ChannelBusy is too.
    """
    able = await _able(engine, scope, wanted)
    known = await engine.routing.of(scope.merchant_id, live=scope.live)
    busy = frozenset(one.account_id for one in able if engine.bulkheads.full(one.channel_id))
    if len(able) == 1 and not (tried or in_full or busy) and _is_plain(able[0], known, wanted):
        return Choice(account=able[0], document=None)
    return choose_among(
        able, known, wanted, tried=tried, busy=busy, now=engine.now(), random_bytes=engine.random
    )


async def _able(engine: Engine, scope: Scope, wanted: Wanted) -> list[Account]:
    if wanted.channel != ANY_CHANNEL:
        found = await engine.accounts.able(
            scope.merchant_id,
            live=scope.live,
            channel=wanted.channel,
            product=wanted.product,
            currency=wanted.amount.currency,
            app_id=wanted.app_id,
        )
        # Accounts of one channel may differ. When none will do, the channel says what is wrong:
        # with the payer's id, say, which only an account that is gone could understand.
        bound = [one for one in found if one.account_id == wanted.account_id]
        return bound or [one for one in found if fits(one, wanted)] or found
    able = [
        one
        for one in await engine.accounts.usable(
            scope.merchant_id, live=scope.live, app_id=wanted.app_id
        )
        if fits(one, wanted)
    ]
    if not able:
        verb = "can hold an amount by" if wanted.holds else "offers"
        raise InvalidInput(
            f"no account {verb} {wanted.product} in {wanted.amount.currency} for this order",
            field="method.product",
            remedy="add an account that does, or choose another product",
        )
    return able


def fits(account: Account, wanted: Wanted) -> bool:
    """Whether the account's channel is asked for, or any, and can do what is wanted."""
    return (
        wanted.channel in (ANY_CHANNEL, account.channel_id)
        and (not wanted.methods or account.channel_id in wanted.methods)
        and account.can(wanted.product, wanted.amount.currency, hold=wanted.holds)
        and (not wanted.profit_sharing or account.shares)
    )


def choose_among(
    able: Sequence[Account],
    known: Known,
    wanted: Wanted,
    *,
    tried: frozenset[str],
    now: datetime,
    random_bytes: Callable[[int], bytes],
    busy: frozenset[str] = frozenset(),
) -> Choice:
    """What ``choose`` does once everything is known; the dry run asks it about the past."""
    rules = known.rules.rules
    row, listed = _row(able, known, wanted)
    if row is None and rules.otherwise == "refuse":
        raise InvalidInput(
            NO_MATCH,
            field="method.channel",
            remedy="choose another way to pay, or add a row: qiao route explain shows each",
        )
    candidates, rejected = [], {}
    weights = _weights(row, listed)
    for number, account in enumerate(listed):
        reason = _rejection(account, known, wanted, tried, busy, now)
        if reason is not None:
            rejected[account.account_id] = reason
            continue
        candidates.append(_candidate(account, known, wanted, weights[number], now))
    if not candidates:
        raise _no_route(listed, known, tried, now, waits=BUSY in rejected.values())
    strategy = (row and row.row.strategy) or rules.strategy
    ordered = in_order(
        candidates,
        strategy,
        subject=wanted.subject,
        amount_minor=wanted.amount.minor,
        random_bytes=random_bytes,
        explore_percent=rules.explore_percent,
    )
    chosen = {one.account.account_id for one in ordered}
    document = {
        "version": known.version,
        "rules_of": known.owner,
        "row": row.number if row else None,
        "row_name": (row.row.name or None) if row else None,
        "strategy": strategy.value,
        "asked": wanted.asked(),
        "candidates": [_told(one) for one in ordered]
        + [_told_rejected(one, rejected) for one in able if one.account_id not in chosen],
    }
    account = ordered[0].account
    cost = known.rules.fee(account.called, wanted.product, wanted.amount.currency)
    return Choice(account=account, document=document, cost=cost)


def _is_plain(account: Account, known: Known, wanted: Wanted) -> bool:
    """Nobody's rules, an account in good health, and nothing asked that is not found elsewhere."""
    return (
        known.saved is None
        and account.account_id not in known.health
        and wanted.channel == account.channel_id
        and not (wanted.country or wanted.device or wanted.preference or wanted.code_prefix)
        and account.takes(wanted.amount.minor)
    )


def mismatches(known: Known, wanted: Wanted) -> list[dict[str, Any]]:
    """Each row with the column that speaks against it, None where it matches."""
    inputs = wanted.inputs(known.rules.zone)
    return [
        {"row": one.number, "name": one.row.name or None, "mismatch": one.mismatch(inputs)}
        for one in known.rules.rows
    ]


def _row(
    able: Sequence[Account], known: Known, wanted: Wanted
) -> tuple[CompiledRow | None, Sequence[Account]]:
    """The first row that matches and lists an account that can do it; else all, by priority."""
    if not known.rules.rows:
        return None, able
    inputs = wanted.inputs(known.rules.zone)
    for row in known.rules.rows:
        if row.mismatch(inputs) is None and (listed := _listed(row, able)):
            return row, listed
    return None, able


def _listed(row: CompiledRow, able: Sequence[Account]) -> list[Account]:
    """The row's accounts that can do it, in the row's order, each once."""
    found: dict[str, Account] = {}
    for entry in row.row.accounts:
        for account in able:
            if entry in account.called:
                found.setdefault(account.account_id, account)
    return list(found.values())


def _weights(row: CompiledRow | None, listed: Sequence[Account]) -> list[int]:
    """An entry for a whole channel gives its weight to each of the channel's accounts."""
    if row is None or not row.row.weights:
        return [1] * len(listed)
    entries = list(zip(row.row.accounts, row.row.weights, strict=True))
    return [
        next(weight for entry, weight in entries if entry in account.called) for account in listed
    ]


def _rejection(
    account: Account,
    known: Known,
    wanted: Wanted,
    tried: frozenset[str],
    busy: frozenset[str],
    now: datetime,
) -> str | None:
    if account.account_id in busy:
        return BUSY
    if account.account_id in tried:
        return "tried in this request already"
    if not account.takes(wanted.amount.minor):
        return "the amount is outside the channel's limits"
    health = known.health.get(account.account_id)
    if health is not None and health.at(now) is Circuit.OPEN:
        return f"out of order: {health.reason}"
    return None


def _candidate(
    account: Account, known: Known, wanted: Wanted, weight: int, now: datetime
) -> Candidate:
    fee = known.rules.fee(account.called, wanted.product, wanted.amount.currency)
    health = known.health.get(account.account_id)
    return Candidate(
        account=account,
        weight=weight,
        cost_minor=None if fee is None else fee.of(wanted.amount.minor),
        statistics=known.statistics.get((account.account_id, wanted.product.value), UNMEASURED),
        on_probation=health is not None and health.at(now) is not Circuit.CLOSED,
    )


def _no_route(
    listed: Sequence[Account], known: Known, tried: frozenset[str], now: datetime, *, waits: bool
) -> InvalidInput:
    if waits:
        return ChannelBusy(retry_after_seconds=RETRY_AFTER_SECONDS)
    ends = [
        health.open_until
        for one in listed
        if one.account_id not in tried
        and (health := known.health.get(one.account_id)) is not None
        and health.open_until is not None
        and health.at(now) is Circuit.OPEN
    ]
    if ends:
        return NoRoute(retry_after_seconds=max(1, ceil((min(ends) - now).total_seconds())))
    return InvalidInput(
        "no account takes this amount",
        field="amount",
        remedy="see the limits of the channels: qiao channels",
    )


def _told_rejected(account: Account, rejected: dict[str, str]) -> dict[str, Any]:
    reason = rejected.get(account.account_id, "the row does not list it")
    return {"account": account.account_id, "channel": account.channel_id, "rejected": reason}


def _told(candidate: Candidate) -> dict[str, Any]:
    """A candidate with what spoke for it; what is not known is left out."""
    statistics, account = candidate.statistics, candidate.account
    told: dict[str, Any] = {"account": account.account_id, "channel": account.channel_id}
    if candidate.weight != 1:
        told["weight"] = candidate.weight
    if candidate.cost_minor is not None:
        told["cost"] = candidate.cost_minor
    if statistics.succeeded or statistics.failed:
        told["success_basis_points"] = statistics.success_basis_points
    if statistics.answers:
        told["latency_ms"] = statistics.latency_ms
    if candidate.on_probation:
        told["on_probation"] = True
    return told
