"""Try another account when the first attempt is provably dead and the customer saw nothing of it.

Dead is what never was sent, and what the channel declined through the account's own fault. What is
unknown is not dead: it blocks every other attempt until it is known. A decline that is about the
customer is told to the customer.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.states import AttemptState
from qiao.engine.records import Attempt
from qiao.engine.routing.declines import ACCOUNTS_FAULT
from qiao.engine.runtime import Engine, Scope

BOUND_TO_AN_ACCOUNT: Final = frozenset({Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT})
"""Products whose payer's id one account's app gave out, and no other account understands."""


def is_dead_by_the_accounts_fault(attempt: Attempt) -> bool:
    """Whether no money can come of it, and another account may do better."""
    if attempt.state is AttemptState.NOT_SENT:
        return True
    return attempt.state is AttemptState.DECLINED and attempt.code in ACCOUNTS_FAULT


async def fail_over(
    engine: Engine,
    scope: Scope,
    first: Attempt,
    start: Callable[[Attempt, frozenset[str]], Awaitable[Attempt | None]],
) -> Attempt:
    """The attempt that stands in the end: ``first``, or the last of those that replaced it.

    ``start`` begins an attempt that replaces a dead one, on none of the accounts tried before;
    None when the payment is not open any more.
    """
    now, tried = first, frozenset({first.account_id})
    while is_dead_by_the_accounts_fault(now) and now.product not in BOUND_TO_AN_ACCOUNT:
        known = await engine.routing.of(scope.merchant_id, live=scope.live)
        if len(tried) >= known.rules.rules.attempts:
            break
        try:
            another = await start(now, tried)
        except InvalidInput:  # there is no other account, or somebody else has begun an attempt
            break
        if another is None:
            break
        now, tried = another, tried | {another.account_id}
    return now


def last_in_place_of(attempt_id: str, attempts: list[Attempt]) -> Attempt | None:
    """The attempt of an id, or the last of those that took its place."""
    found = next((one for one in attempts if one.attempt_id == attempt_id), None)
    successors = {one.replaces: one for one in attempts if one.replaces}
    while found is not None and found.attempt_id in successors:
        found = successors[found.attempt_id]
    return found
