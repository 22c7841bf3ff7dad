"""Distribution by merchant: the statements for Citus, read off the schema that is there.

Every table that grows carries the merchant's id first in its primary key, so that all rows of one
merchant lie together on one node, and a payment's transaction never leaves it. A few tables are
small, and whole on every node (REFERENCE). Citus enforces a unique constraint or a foreign key
only where its columns say on which node to look; a schema that breaks this is refused here.

https://docs.citusdata.com/en/stable/develop/reference_ddl.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Final

from qiao.domain.errors import QiaoError
from qiao.store.database import Queries
from qiao.store.sql import load_statements

SQL = load_statements("distribution")
COLUMN: Final = "merchant_id"
REFERENCE: Final = {
    "organisation": "a row for each organisation; merchants refer to it",
    "app": "a row for each app; keys, which are a reference table, refer to it",
    "merchant": "a row for each merchant; reference tables may only refer to their like",
    "api_key": "found by its digest before the merchant is known, so unique over all of them",
    "server_configuration": "a row for each kind of process of this server",
    "archived_period": "a row for each month in an archive, of all merchants together",
}
LOCAL: Final = {
    "alembic_version": "one row, of who migrates",
    "schema_compatibility": "one row, of who migrates and who starts",
}


class NotDistributable(QiaoError):
    """The schema cannot be distributed by merchant."""

    code = "not_distributable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Table names; a table comes after those that it refers to."""

    reference: Sequence[str]
    distributed: Sequence[str]

    def statements(self) -> list[str]:
        """SQL for the coordinator, once the schema is migrated and Citus is installed."""
        lines = [f"SELECT create_reference_table('{name}');" for name in self.reference]
        together = "none"
        for name in self.distributed:
            with_ = f"colocate_with => '{together}'"
            lines.append(f"SELECT create_distributed_table('{name}', '{COLUMN}', {with_});")
            together = self.distributed[0]
        # Our triggers write rows of the same merchant, which lie on the same node.
        return ["SET citus.enable_unsafe_triggers = on;", *lines]


async def read_distribution(queries: Queries) -> Distribution:
    """Of the schema in the database. Raises NotDistributable, which names every obstacle."""
    tables = {
        row["name"]: list(row["primary_key"])
        for row in await queries.fetch(SQL.tables)
        if row["name"] not in LOCAL
    }
    keys = await queries.fetch(SQL.foreign_keys)
    obstacles = [
        *_keys_that_begin_otherwise(tables),
        *_unique_without_merchant(await queries.fetch(SQL.unique_indexes)),
        *_references_without_merchant(keys),
    ]
    if obstacles:
        raise NotDistributable("; ".join(obstacles))
    # Sorted first, so that the same schema always gives the same statements.
    order = TopologicalSorter(dict.fromkeys(sorted(tables), ()))
    for key in keys:
        if key["table_name"] != key["target"]:
            order.add(key["table_name"], key["target"])
    ordered = list(order.static_order())
    return Distribution(
        reference=[name for name in ordered if name in REFERENCE],
        distributed=[name for name in ordered if name not in REFERENCE],
    )


def _keys_that_begin_otherwise(tables: dict[str, list[str]]) -> list[str]:
    return [
        f"the primary key of {name} does not begin with {COLUMN}"
        for name, key in tables.items()
        if name not in REFERENCE and key[:1] != [COLUMN]
    ]


def _unique_without_merchant(rows: Sequence[Any]) -> list[str]:
    return [
        f"the unique index {row['name']} of {row['table_name']} does not contain {COLUMN}"
        for row in rows
        if row["table_name"] not in REFERENCE
        and row["table_name"] not in LOCAL
        and COLUMN not in row["columns"]
    ]


def _references_without_merchant(rows: Sequence[Any]) -> list[str]:
    obstacles = []
    for row in rows:
        table, target = row["table_name"], row["target"]
        if target in REFERENCE or (table not in REFERENCE and _joins_merchants(row)):
            continue
        why = "is a reference table's" if table in REFERENCE else f"does not join {COLUMN}"
        obstacles.append(f"the foreign key {row['name']} of {table} to {target} {why}")
    return obstacles


def _joins_merchants(row: Any) -> bool:
    pairs = zip(row["columns"], row["target_columns"], strict=True)
    return (COLUMN, COLUMN) in pairs
