"""The audit log: what is written with what, and that no tampering stays unnoticed."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from qiao.domain.errors import InvalidInput
from qiao.engine.actors import Actor
from qiao.engine.audit import check, list_entries, record
from qiao.engine.closing import close
from qiao.engine.errors import Conflict, Missing
from qiao.engine.merchants import ApiKeys, add_merchant, api_keys, issue_api_key, revoke_api_key
from qiao.engine.refunds import refund
from qiao.engine.runtime import Scope
from qiao.engine.webhooks import add_endpoint, remove_endpoint
from qiao.testing.world import SCOPE, World

WHO = Actor(kind="command", id="alice", origin="till-1")
MINE = Scope(merchant_id=SCOPE.merchant_id, live=False, actor=WHO)


async def actions(world: World) -> list[str]:
    found = await list_entries(world.engine.database, SCOPE.merchant_id, limit=100)
    return [one.content.action for one in reversed(found)]


async def test_every_change_is_written_with_who_did_it(world: World) -> None:
    engine = world.engine
    await issue_api_key(engine, MINE)
    [key] = await api_keys(engine, MINE.merchant_id)
    await revoke_api_key(engine, MINE.merchant_id, key.api_key_id, actor=WHO)
    await revoke_api_key(engine, MINE.merchant_id, key.api_key_id, actor=WHO)  # changes nothing
    endpoint, _ = await add_endpoint(engine, MINE, "https://shop.invalid/")
    await remove_endpoint(engine, MINE, endpoint.endpoint_id)
    paid, left = await world.paid(), await world.accept()
    given = await refund(engine, MINE, paid.payment_id, amount_minor=1)
    await close(engine, MINE, left.payment_id)
    await close(engine, MINE, left.payment_id)  # again changes nothing
    assert await actions(world) == [
        "merchant.added",
        "account.added",
        "api_key.issued",
        "api_key.revoked",
        "endpoint.added",
        "endpoint.removed",
        "refund.asked",
        "payment.close_asked",
    ]
    closed, refunded, *_ = await list_entries(engine.database, MINE.merchant_id)
    assert (closed.content.subject_id, refunded.content.subject_id) == (
        left.payment_id,
        given.refund_id,
    )
    told = closed.content
    assert (told.actor_kind, told.actor_id, told.origin, told.live) == (
        "command",
        "alice",
        "till-1",
        False,
    )
    verdict = await check(engine.database)
    assert (verdict.entries, list(verdict.broken)) == (8, [])


async def test_a_changed_account_names_fields_and_never_values(world: World) -> None:
    async def put(key: str, priority: int) -> None:
        await world.engine.accounts.put(
            merchant_id=SCOPE.merchant_id,
            account_id=world.account_id,
            live=False,
            channel="bank",
            name="bank",
            settings={"key": key},
            priority=priority,
            actor=WHO,
        )

    await put(world.bank.key, 0)  # as it is: nothing is written
    await put("another-key-of-the-bank", 0)
    await put("another-key-of-the-bank", 5)
    first, second, third = await list_entries(world.engine.database, SCOPE.merchant_id, limit=3)
    assert (first.content.action, first.content.fields) == ("account.changed", ["priority"])
    assert (second.content.action, second.content.fields) == ("account.changed", ["settings.key"])
    assert third.content.action == "account.added"
    rows = await world.engine.database.fetch("SELECT content FROM audit_entry")
    assert not any("another-key" in row["content"] for row in rows)


async def test_what_fails_leaves_no_row(world: World) -> None:
    payment = await world.paid(1000)
    before = await actions(world)
    with pytest.raises(Conflict):
        await refund(world.engine, MINE, payment.payment_id, amount_minor=1001)
    with pytest.raises(Missing):
        await revoke_api_key(world.engine, MINE.merchant_id, "key_00000000000000000000000000")
    with pytest.raises(InvalidInput):
        await add_endpoint(world.engine, MINE, "nowhere")
    assert await actions(world) == before


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    key = await issue_api_key(world.engine, MINE)
    [issued] = await api_keys(world.engine, MINE.merchant_id)
    known = await ApiKeys(world.engine).find(key)
    assert known is not None
    scope = known.scope
    assert scope == MINE
    assert scope.actor == Actor(kind="api_key", id=issued.api_key_id)
    await revoke_api_key(world.engine, MINE.merchant_id, issued.api_key_id)
    assert await ApiKeys(world.engine).find(key) is None


async def test_many_at_once_make_one_chain(world: World) -> None:
    async def write(number: int) -> None:
        async with world.engine.database.transaction() as queries:
            await record(
                queries,
                "test.done",
                at=world.engine.now(),
                chain=f"chain-{number % 2}",
                subject_id=str(number),
            )

    await asyncio.gather(*(write(number) for number in range(60)))
    verdict = await check(world.engine.database)
    assert list(verdict.broken) == []
    ends = {head.chain: head.sequence for head in verdict.heads}
    assert (ends["chain-0"], ends["chain-1"]) == (30, 30)


async def chain_of_ten(world: World) -> str:
    merchant = await add_merchant(world.engine, "Coffee house")
    scope = Scope(merchant_id=merchant, live=False)
    for _ in range(9):
        await issue_api_key(world.engine, scope)
    return merchant


Tamper = Callable[[asyncpg.Connection, str], Awaitable[object]]


def sql(*statements: str) -> Tamper:
    async def run(connection: asyncpg.Connection, chain: str) -> None:
        for statement in statements:
            await connection.execute(statement, chain)

    return run


WHERE = "WHERE merchant_id = $1 AND sequence"
TAMPERINGS: dict[str, tuple[Tamper, int, str]] = {
    "content changed": (
        sql(f"UPDATE audit_entry SET content = replace(content, 'issued', 'joked') {WHERE} = 4"),
        4,
        "content",
    ),
    "digest changed": (sql(f"UPDATE audit_entry SET digest = '\\x00' {WHERE} = 4"), 4, "content"),
    "content and digest changed": (
        sql(
            f"UPDATE audit_entry SET content = replace(content, 'issued', 'joked') {WHERE} = 4",
            "UPDATE audit_entry SET digest = sha256(previous || convert_to("
            f"merchant_id || E'\\n4\\n' || content, 'UTF8')) {WHERE} = 4",
        ),
        5,
        "follow",
    ),
    "row deleted": (sql(f"DELETE FROM audit_entry {WHERE} = 4"), 4, "missing"),
    "first row deleted": (sql(f"DELETE FROM audit_entry {WHERE} = 1"), 1, "missing"),
    "last rows deleted": (sql(f"DELETE FROM audit_entry {WHERE} > 8"), 9, "at the end"),
    "everything deleted": (sql(f"DELETE FROM audit_entry {WHERE} > 0"), 1, "at the end"),
    "row deleted, others moved up": (
        sql(
            f"DELETE FROM audit_entry {WHERE} = 4",
            f"UPDATE audit_entry SET sequence = sequence - 1 {WHERE} > 4 AND sequence < 6",
            f"UPDATE audit_entry SET sequence = sequence - 1 {WHERE} = 6",
        ),
        4,
        "follow",
    ),
    "two rows exchanged": (
        sql(
            f"UPDATE audit_entry SET sequence = 100 {WHERE} = 4",
            f"UPDATE audit_entry SET sequence = 4 {WHERE} = 5",
            f"UPDATE audit_entry SET sequence = 5 {WHERE} = 100",
        ),
        4,
        "follow",
    ),
    "two contents exchanged": (
        sql(
            "UPDATE audit_entry a SET content = b.content FROM audit_entry b "
            "WHERE a.merchant_id = $1 AND b.merchant_id = $1 AND a.sequence IN (4, 6) "
            "AND b.sequence = 10 - a.sequence"
        ),
        4,
        "content",
    ),
    "row added": (
        sql(
            "INSERT INTO audit_entry (merchant_id, sequence, content, previous, digest) "
            f"SELECT merchant_id, 11, content, digest, digest FROM audit_entry {WHERE} = 10"
        ),
        11,
        "content",
    ),
    "head lost": (sql("DELETE FROM audit_head WHERE merchant_id = $1"), 10, "head"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_tampering_is_found_and_the_row_is_named(
    world: World, postgres_url: str, name: str
) -> None:
    tamper, row, reason = TAMPERINGS[name]
    chain = await chain_of_ten(world)
    assert list((await check(world.engine.database)).broken) == []
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        await tamper(connection, chain)
        await connection.execute("ALTER TABLE audit_entry ENABLE TRIGGER USER")
    finally:
        await connection.close()
    [broken] = (await check(world.engine.database)).broken
    assert (broken.chain, broken.sequence) == (chain, row)
    assert reason in broken.reason


async def test_the_database_refuses_changes_and_a_missing_guard_is_told(
    world: World, postgres_url: str
) -> None:
    chain = await chain_of_ten(world)
    connection = await asyncpg.connect(postgres_url)
    try:
        for statement in (
            "UPDATE audit_entry SET content = '{}'",
            "DELETE FROM audit_entry",
            "TRUNCATE audit_entry",
        ):
            with pytest.raises(asyncpg.RaiseError, match="append-only"):
                await connection.execute(statement)
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
    finally:
        await connection.close()
    verdict = await check(world.engine.database)
    assert {one.chain for one in verdict.broken} == {"all"}
    assert len(verdict.broken) == 2
    assert chain in {head.chain for head in verdict.heads}
