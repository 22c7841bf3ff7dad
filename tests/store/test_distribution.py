"""The real, migrated schema can be distributed by merchant, and what would break that is named."""

import pytest

from qiao.store.database import Database
from qiao.store.distribution import LOCAL, REFERENCE, NotDistributable, read_distribution
from qiao.store.partitions import TABLES


async def test_every_table_has_its_place(database: Database) -> None:
    found = await read_distribution(database)
    rows = await database.fetch(
        "SELECT relname AS table_name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"  # which go with their table
    )
    tables = {row["table_name"] for row in rows}
    placed = [*found.reference, *found.distributed, *LOCAL]
    assert set(placed) == tables
    assert len(placed) == len(tables)
    assert set(found.reference) == set(REFERENCE)
    assert {"payment", "event", "ledger_entry", "job"} <= set(found.distributed)
    partitioned = await database.fetch("SELECT relname FROM pg_class WHERE relkind = 'p'")
    assert {row["relname"] for row in partitioned} == set(TABLES)


async def test_what_is_referred_to_comes_first(database: Database) -> None:
    statements = (await read_distribution(database)).statements()
    place = {text.split("'")[1]: number for number, text in enumerate(statements) if "'" in text}
    assert place["merchant"] < place["api_key"] < place["payment"]
    assert place["payment"] < place["attempt"] < place["refund"]
    assert place["event"] < place["webhook_delivery"]
    assert place["event"] < place["ledger_entry"]
    distributed = [text for text in statements if "create_distributed_table" in text]
    first = distributed[0].split("'")[1]
    assert "colocate_with => 'none'" in distributed[0]
    assert all(f"'merchant_id', colocate_with => '{first}'" in text for text in distributed[1:])


@pytest.mark.parametrize(
    ("migration", "obstacle"),
    [
        (
            "CREATE TABLE voucher (voucher_id text PRIMARY KEY, merchant_id text)",
            "the primary key of voucher does not begin with merchant_id",
        ),
        (
            "CREATE TABLE voucher (voucher_id text, merchant_id text,"
            " PRIMARY KEY (voucher_id, merchant_id))",
            "the primary key of voucher does not begin with merchant_id",
        ),
        (
            "CREATE TABLE voucher (merchant_id text)",
            "the primary key of voucher does not begin with merchant_id",
        ),
        (
            "ALTER TABLE payment ADD UNIQUE (cashier_token)",
            "the unique index payment_cashier_token_key of payment does not contain merchant_id",
        ),
        (
            "CREATE UNIQUE INDEX shouted ON payment (upper(merchant_id), payment_id)",
            "the unique index shouted of payment does not contain merchant_id",
        ),
        (
            "ALTER TABLE webhook_delivery ADD CONSTRAINT crossed FOREIGN KEY"
            " (event_id, merchant_id) REFERENCES event (merchant_id, event_id)",
            "the foreign key crossed of webhook_delivery to event does not join merchant_id",
        ),
        (
            "ALTER TABLE merchant ADD latest text,"
            " ADD CONSTRAINT latest FOREIGN KEY (merchant_id, latest) REFERENCES payment",
            "the foreign key latest of merchant to payment is a reference table's",
        ),
    ],
)
async def test_a_migration_that_breaks_it_is_named(
    database: Database, migration: str, obstacle: str
) -> None:
    await database.execute(migration)
    with pytest.raises(NotDistributable) as refused:
        await read_distribution(database)
    assert str(refused.value).split("; ")[0] == obstacle


async def test_a_new_table_is_distributed_without_being_listed(database: Database) -> None:
    await database.execute(
        "CREATE TABLE voucher (merchant_id text, voucher_id text, payment_id text,"
        " PRIMARY KEY (merchant_id, voucher_id),"
        " FOREIGN KEY (merchant_id, payment_id) REFERENCES payment)"
    )
    found = (await read_distribution(database)).distributed
    assert found.index("voucher") > found.index("payment")
