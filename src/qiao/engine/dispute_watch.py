"""Looks for disputes every so often, at every account whose channel tells of them.

What a notification told is looked at by a job; this finds what no notification told.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

import structlog

from qiao.channels.disputes import DisputeSpan
from qiao.channels.interface import Capability
from qiao.domain.errors import QiaoError
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import Account
from qiao.engine.calls import call
from qiao.engine.disputes import SQL, disputing, keep, look
from qiao.engine.runtime import Engine

FIRST_SECONDS: Final = 60.0
EVERY_SECONDS: Final = 900.0
BACK: Final = timedelta(days=29)
"""How far to look back: channels list 30 days at most."""
log = structlog.get_logger(__name__)


async def watch_account(engine: Engine, account: Account) -> None:
    """List what is new at one account, and ask about what is open and not in the list."""
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


async def watch(engine: Engine) -> None:
    """Every account once; one that cannot be opened or asked holds up no other."""
    channels = [
        channel_id
        for channel_id, kind in engine.accounts.channels.items()
        if Capability.DISPUTES in kind.manifest.capabilities
    ]
    for row in await engine.database.fetch(SQL.watched_accounts, channels):
        try:
            account = await engine.accounts.of_id(row["merchant_id"], row["account_id"])
            if Capability.DISPUTES in account.channel.manifest.capabilities:
                await watch_account(engine, account)
        except Exception as error:  # noqa: BLE001 - whatever one account raises, the others go on
            # What it says may be about a customer: its name is enough here.
            log.warning(
                "disputes_not_watched", account_id=row["account_id"], error=type(error).__name__
            )


@asynccontextmanager
async def watching(engine: Engine) -> AsyncIterator[None]:
    """Watch every so often while the block runs; what several processes see is kept once."""
    task = asyncio.create_task(_keep_watching(engine))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_watching(engine: Engine) -> None:
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        with suppress(QiaoError):  # a database that is away comes back
            await watch(engine)
        await asyncio.sleep(EVERY_SECONDS)
