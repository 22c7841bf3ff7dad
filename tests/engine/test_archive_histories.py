"""Whatever happened, and whenever its ids and its bookings were made: an archive changes no balance
and no statement from its end on, and the books are proven right before and after.
"""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.engine.actors import Actor
from qiao.engine.archive import archive_periods
from qiao.engine.archive_check import check_archive
from qiao.engine.closing import close
from qiao.engine.ledger import balances, prove, statement_of_account
from qiao.engine.notifications import receive
from qiao.engine.refunds import refund
from qiao.engine.transfers import TransferOrder, request_transfer
from qiao.store.database import Database, open_database
from qiao.store.partitions import MONTHS_AHEAD, month_after
from qiao.testing.bank import MANIFEST, Fault
from qiao.testing.vault import REFUSED_PAYEE
from qiao.testing.world import ACCOUNT_ID, World, make_world

ACCOUNTS = (
    f"channel_receivable:{ACCOUNT_ID}",
    "merchant_payable",
    "refunds_in_transit",
    "transfers_in_transit",
    "surplus",
)


@dataclass(frozen=True, kw_only=True)
class Happening:
    """What, in which month from this one, how far from its beginning, and how far the database's
    clock is ahead of the one that makes ids."""

    kind: str
    month: int
    offset: timedelta
    skew: timedelta
    minor: int

    @property
    def moment(self) -> datetime:
        return month_after(datetime.now(UTC), self.month) + self.offset


HAPPENINGS = st.builds(
    Happening,
    kind=st.sampled_from(
        ["pay", "pay", "refund", "lose_refund", "transfer", "transfer_in_vain", "surplus", "lapse"]
    ),
    month=st.integers(1, MONTHS_AHEAD),
    offset=st.sampled_from([timedelta(seconds=-1), timedelta(), timedelta(days=9)]),
    skew=st.sampled_from(
        [
            timedelta(),
            timedelta(),
            timedelta(milliseconds=5),
            timedelta(seconds=3),
            -timedelta(hours=1),
        ]
    ),
    minor=st.integers(1, MANIFEST.max_minor),
)


@asynccontextmanager
async def fresh(server: str, template: str) -> AsyncIterator[Database]:
    name = f"qiao_test_{secrets.token_hex(6)}"
    administrator = await asyncpg.connect(server)
    try:
        await administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = urlsplit(server)._replace(path=f"/{name}").geturl()
        async with open_database(url, min_size=2, max_size=4, patient=True) as database:
            await database.execute("CREATE TABLE moved (span interval)")
            await database.execute(
                "CREATE FUNCTION moved_now() RETURNS timestamptz LANGUAGE sql STABLE AS"
                " 'SELECT now() + coalesce((SELECT span FROM moved), interval ''0'')'"
            )
            for column in ("event ALTER created_at", "ledger_entry ALTER booked_at"):
                await database.execute(f"ALTER TABLE {column} SET DEFAULT moved_now()")
            yield database
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


async def let_happen(world: World, one: Happening, payments: list[str]) -> None:
    engine = world.engine
    world.clock.ahead = one.moment - datetime.now(UTC)
    await engine.database.execute("DELETE FROM moved")
    await engine.database.execute("INSERT INTO moved VALUES ($1)", world.clock.ahead + one.skew)
    match one.kind:
        case "pay":
            payments.append((await world.paid(one.minor)).payment_id)
        case "refund" | "lose_refund" if payments:
            world.transport.faults[:] = [Fault.ANSWER_LOST] if one.kind == "lose_refund" else []
            payment_id = payments[one.minor % len(payments)]
            with suppress(InvalidInput):  # more than is left of it
                await refund(engine, world.scope, payment_id, amount_minor=1 + one.minor % 7)
        case "transfer" | "transfer_in_vain":
            scope = replace(world.scope, actor=Actor(kind="operator", id="key_maker"))
            world.orders += 1
            order = TransferOrder(
                number=f"t-{world.orders}",
                channel="bank",
                amount=Money(one.minor, "CNY"),
                payee="anna" if one.kind == "transfer" else REFUSED_PAYEE,
                description="wages",
            )
            await request_transfer(engine, scope, order)
        case "surplus":
            payment = await world.accept(one.minor)
            tried = await world.attempt(payment)
            await close(engine, world.scope, payment.payment_id)
            world.bank.pay(tried.reference)
            notice = world.bank.payment_notice(tried.reference)
            await receive(engine, world.scope.merchant_id, world.account_id, notice)
        case _:
            await world.accept(one.minor)
    world.transport.faults[:] = []


async def seen(world: World, moments: list[datetime]) -> list[Any]:
    """Every balance at these moments and now, and every statement from the first of them on."""
    engine, scope = world.engine, world.scope
    statement = partial(
        statement_of_account, since=moments[0], until=moments[-1] + timedelta(days=999)
    )
    return [
        await balances(engine, scope),
        *[await balances(engine, scope, at=moment) for moment in moments],
        *[await statement(engine, scope, one, currency="CNY", limit=100) for one in ACCOUNTS],
    ]


async def live(server: str, template: str, history: list[Happening], cuts: list[int]) -> None:
    async with fresh(server, template) as database:
        world = await make_world(database)
        payments: list[str] = []
        for one in sorted(history, key=lambda one: one.moment):
            await let_happen(world, one, payments)
        await world.work_until_quiet(hours=8)
        assert not (await prove(database)).mistakes
        with tempfile.TemporaryDirectory() as folder:
            for cut in sorted(cuts):
                end = month_after(datetime.now(UTC), cut)
                # From the end on, at its very moment and about it.
                moments = [end + timedelta(milliseconds=one) for one in (0, 3, 1500, 4000)]
                moments += [month_after(end, 1), month_after(end, 3)]
                before, proof = await seen(world, moments), await prove(database)
                await archive_periods(
                    database,
                    before=end,
                    folder=Path(folder),
                    now=end + timedelta(days=400),
                    actor=Actor(kind="command", id="test"),
                )
                after = await prove(database)
                assert not after.mistakes
                assert (after.trial_balance, after.entries) == (proof.trial_balance, proof.entries)
                assert await seen(world, moments) == before
                assert not any(one.mistakes for one in await check_archive(database, Path(folder)))
                lower = await database.fetch_value("SELECT max(until_id) FROM archived_period")
                older = "SELECT count(*) FROM event WHERE event_id < $1"
                assert await database.fetch_value(older, lower) == 0


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    history=st.lists(HAPPENINGS, min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, MONTHS_AHEAD), min_size=1, max_size=2, unique=True),
)
def test_an_archive_changes_nothing_that_is_after_it(
    postgres_server: str, postgres_template: str, history: list[Happening], cuts: list[int]
) -> None:
    asyncio.run(live(postgres_server, postgres_template, history, cuts))
