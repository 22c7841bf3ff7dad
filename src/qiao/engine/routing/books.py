"""Save a merchant's rules, and show what was saved: versions are only ever added."""

from collections.abc import Sequence

import msgspec

from qiao.domain.errors import InvalidInput
from qiao.engine.accounts import Account
from qiao.engine.audit import PLATFORM
from qiao.engine.routing.rules import Rules
from qiao.engine.routing.state import SQL, Saved
from qiao.engine.runtime import Engine, Scope
from qiao.engine.versions import save_version

MAX_PAGE = 100


async def save(
    engine: Engine, scope: Scope, rules: Rules, *, note: str = "", replaces: int | None = None
) -> Saved:
    """A new version, which counts from now on; ``rules`` have passed ``read_rules``.

    Raises InvalidInput for an account that is not there, Conflict when the newest version is not
    the one that this ``replaces``.
    """
    if scope.merchant_id == PLATFORM:
        _check_platform(rules)
    else:
        accounts = await engine.accounts.enabled(scope.merchant_id, live=scope.live)
        check_accounts(rules, accounts)
    try:
        return await save_version(
            engine,
            scope,
            Saved,
            SQL.put_routing,
            rules,
            name="rules",
            note=note,
            replaces=replaces,
        )
    finally:
        engine.routing.forget(scope.merchant_id)


async def versions(
    engine: Engine, scope: Scope, *, before: int | None = None, limit: int = 20
) -> list[Saved]:
    """The newest first; ``before`` is the version that ended the page before."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    rows = await engine.database.fetch(
        SQL.routing_versions, scope.merchant_id, scope.live, before, limit
    )
    return [msgspec.convert(dict(row.items()), Saved) for row in rows]


def check_accounts(rules: Rules, accounts: Sequence[Account]) -> None:
    """Raises InvalidInput for the first entry that is none of these accounts."""
    known = {name for account in accounts for name in account.called}
    remedy = f"choose from: {', '.join(sorted(known)) or 'none yet; add an account first'}"
    for number, row in enumerate(rules.rows):
        for entry in row.accounts:
            if entry not in known:
                raise InvalidInput(
                    f"row {number + 1}, column accounts: there is no enabled account {entry!r}",
                    field=f"rows[{number}].accounts",
                    remedy=remedy,
                )
    for number, fee in enumerate(rules.fees):
        if fee.account not in known:
            raise InvalidInput(
                f"fee {number + 1}: there is no enabled account {fee.account!r}",
                field=f"fees[{number}].account",
                remedy=remedy,
            )


def _check_platform(rules: Rules) -> None:
    """Merchants' accounts have names of their own: the platform may speak of channels only."""
    named = [
        *((f"rows[{n}].accounts", one) for n, row in enumerate(rules.rows) for one in row.accounts),
        *((f"fees[{n}].account", fee.account) for n, fee in enumerate(rules.fees)),
    ]
    for field, entry in named:
        if not entry.startswith("channel:"):
            raise InvalidInput(
                f"{entry!r} may be another account for each merchant",
                field=field,
                remedy="name a whole channel in the platform's rules, such as channel:wechat",
            )
    if rules.inherit:
        raise InvalidInput(
            "the platform has nobody to inherit from", field="inherit", remedy="leave it out"
        )
