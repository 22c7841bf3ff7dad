"""What other rules would have done with past payments. Reads, and changes nothing.

Only the first attempt of each payment is asked about: what came after depended on it. Health is
left out, for it was another one then; statistics are those of now.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import RANDOM_BYTES, IdKind, new_id
from qiao.domain.money import Money
from qiao.engine.accounts import Account
from qiao.engine.records import CaptureMode
from qiao.engine.routing.books import check_accounts
from qiao.engine.routing.choosing import choose_among, fits
from qiao.engine.routing.health import measure
from qiao.engine.routing.rules import CompiledRules, Rules
from qiao.engine.routing.state import SQL, Known
from qiao.engine.routing.wanted import Wanted
from qiao.engine.runtime import Engine, Scope

PAGE: Final = 200
"""Small, so that between pages others have their turn."""
MAX_ATTEMPTS: Final = 50_000
MAX_SPAN: Final = timedelta(days=31)
REFUSED: Final = "refused"
"""Where payments are counted that the draft would have turned away."""


class Share(msgspec.Struct, kw_only=True):
    """What one account takes, in one currency; amounts and cost of what was paid."""

    account: str
    name: str
    currency: str
    attempts: int = 0
    paid: int = 0
    amount_minor: int = 0
    cost_minor: int = 0


@dataclass(kw_only=True)
class Comparison:
    """As it was, and as it would have been; ``moved`` attempts would have gone elsewhere.

    ``whole`` is False when there were more attempts than are looked at: the oldest were.
    """

    attempts: int = 0
    moved: int = 0
    whole: bool = True
    then: dict[tuple[str, str], Share] = field(default_factory=dict)
    now: dict[tuple[str, str], Share] = field(default_factory=dict)


async def dry_run(
    engine: Engine, scope: Scope, rules: Rules, *, since: datetime, until: datetime
) -> Comparison:
    """Apply ``rules`` to the attempts between two times. Raises InvalidInput."""
    if not timedelta() < until - since <= MAX_SPAN:
        raise InvalidInput(
            "not a span of time that is looked at",
            field="since",
            remedy=f"give a time before until, {MAX_SPAN.days} days at most",
        )
    accounts = await engine.accounts.enabled(scope.merchant_id, live=scope.live)
    check_accounts(rules, accounts)
    draft = _Draft(engine, accounts, await _known(engine, scope, rules))
    async for row in _past(engine, scope, since, until):
        if draft.comparison.attempts == MAX_ATTEMPTS:
            draft.comparison.whole = False
            break
        draft.apply(row)
    return draft.comparison


class _Draft:
    def __init__(self, engine: Engine, accounts: list[Account], known: Known) -> None:
        self._engine = engine
        self._accounts = accounts
        self._by_id = {one.account_id: one for one in accounts}
        self._known = known
        self.comparison = Comparison()

    def apply(self, row: Any) -> None:
        comparison = self.comparison
        comparison.attempts += 1
        wanted = _wanted(row)
        chosen = self._choose(wanted)
        new = REFUSED if chosen is None else chosen.account_id
        comparison.moved += new != row["account_id"]
        self._count(comparison.then, row["account_id"], wanted, paid=bool(row["captured_minor"]))
        self._count(comparison.now, new, wanted, paid=bool(row["captured_minor"]))

    def _choose(self, wanted: Wanted) -> Account | None:
        able = [
            one
            for one in self._accounts
            if one.app_id in (None, wanted.app_id) and fits(one, wanted)
        ]
        if not able:
            return None
        try:
            choice = choose_among(
                able,
                self._known,
                wanted,
                tried=frozenset(),
                now=wanted.at,
                random_bytes=self._engine.random,
            )
        except InvalidInput:
            return None
        return choice.account

    def _count(
        self, shares: dict[tuple[str, str], Share], account_id: str, wanted: Wanted, *, paid: bool
    ) -> None:
        account, amount = self._by_id.get(account_id), wanted.amount
        name = account_id if account is None else account.name
        new = Share(account=account_id, name=name, currency=amount.currency)
        share = shares.setdefault((account_id, amount.currency), new)
        share.attempts += 1
        if not paid:
            return
        share.paid += 1
        share.amount_minor += amount.minor
        if account is not None:
            fee = self._known.rules.fee(account.called, wanted.product, amount.currency)
            share.cost_minor += 0 if fee is None else fee.of(amount.minor)


async def _known(engine: Engine, scope: Scope, rules: Rules) -> Known:
    compiled = CompiledRules(rules)
    if compiled.measured:
        await measure(engine, scope.merchant_id)
        engine.routing.forget(scope.merchant_id)
    now = await engine.routing.of(scope.merchant_id, live=scope.live)
    return Known(rules=compiled, saved=None, health={}, statistics=now.statistics)


async def _past(
    engine: Engine, scope: Scope, since: datetime, until: datetime
) -> AsyncIterator[Any]:
    after, end = _id_at(since), _id_at(until)
    while True:
        rows = await engine.database.fetch(
            SQL.past_attempts, scope.merchant_id, scope.live, after, end, PAGE
        )
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        after = rows[-1]["attempt_id"]


def _wanted(row: Any) -> Wanted:
    """As it was asked for then; before routing was, the channel it went to was asked for."""
    asked = (row["routing"] or {}).get("asked", {})
    return Wanted(
        subject=row["payment_id"],
        amount=Money(row["amount_minor"], row["currency"]),
        product=Product(row["product"]),
        channel=asked.get("channel", row["channel"]),
        at=row["sent_at"],
        methods=tuple(row["methods"]),
        metadata=row["metadata"],
        country=asked.get("country"),
        device=asked.get("device"),
        preference=asked.get("preference"),
        code_prefix=asked.get("code_prefix"),
        app_id=row["app_id"],
        capture=CaptureMode(row["capture"]),
    )


def _id_at(moment: datetime) -> str:
    return new_id(IdKind.ATTEMPT, now=moment, random=bytes(RANDOM_BYTES))
