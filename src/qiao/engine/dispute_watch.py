"""Looks for disputes every so often, at every account whose channel tells of them.

What a notification told is looked at by a job; this finds what no notification told. A job of the
server wants one of each account, so that no account is asked by two processes, and one that cannot
be asked holds up no other.
"""

from datetime import timedelta
from typing import Final

from qiao.channels.disputes import DisputeSpan
from qiao.channels.interface import Capability
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.calls import call
from qiao.engine.disputes import SQL, disputing, keep, look
from qiao.engine.runtime import Engine

EVERY_SECONDS: Final = 900.0
BACK: Final = timedelta(days=29)
"""How far to look back: channels list 30 days at most."""


async def want_watching(engine: Engine) -> None:
    """Have every account looked at, whose channel may tell of disputes."""
    channels = [
        channel_id
        for channel_id, kind in engine.accounts.channels.items()
        if Capability.DISPUTES in kind.manifest.capabilities
    ]
    await engine.database.execute(SQL.want_watching, channels, engine.now())
    engine.wake()


async def watch_account(engine: Engine, account: Account) -> None:
    """List what is new at one account, and ask about what is open and not in the list."""
    if Capability.DISPUTES not in account.channel.manifest.capabilities:
        return
    now = engine.now()
    span = DisputeSpan(since=now - BACK, until=now)
    operation = disputing(account).list_disputes(span, engine.context)
    told = await call(engine, account, "list_disputes", operation)
    if isinstance(told, NotSent | Unknown):
        return  # the next time
    for one in told:
        await keep(engine, account, one)
    known = {one.number for one in told}
    rows = await engine.database.fetch(SQL.open_disputes, account.merchant_id, account.account_id)
    for row in rows:
        if row["number"] not in known:
            await look(engine, account, row["number"])
