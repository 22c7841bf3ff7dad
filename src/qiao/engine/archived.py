"""What is in an archive and no longer in the database: where it ends, and how that is told."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from qiao.domain.ids import IdKind, first_id
from qiao.engine.errors import Archived
from qiao.store.database import Queries
from qiao.store.partitions import EMPTY_TIME
from qiao.store.sql import load_statements

SQL = load_statements("ledger")
BEING_ARCHIVED: Final = "QA001"
"""The SQLSTATE of refuse_archived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where the archive ends: the last archived period, and the moment and the id after it."""

    period: str
    until: datetime
    until_id: str
    manifest: str

    def error(self, field: str, remedy: str) -> Archived:
        """Names the archive by its period and its manifest's SHA-256, as who runs the server
        finds it with ``qiao db partitions``."""
        return Archived(
            f"what is older than {self.until.isoformat()} is in the archive: its last period is"
            f" {self.period}, its manifest {self.manifest[:16]}",
            field=field,
            remedy=remedy,
        )


async def archive_end(queries: Queries) -> End | None:
    """None while nothing is archived.

    It only grows. So whoever has read something asks afterwards, and refuses what is before it:
    then no archiving meanwhile can have taken half of what was read.
    """
    row = await queries.fetch_row(SQL.archived_until)
    if row is None:
        return None
    return End(
        period=row["period"],
        until=row["until"],
        until_id=row["until_id"],
        manifest=row["manifest_sha256"].hex(),
    )


async def refuse_times_before(queries: Queries, moment: datetime, *, field: str) -> None:
    """Raises Archived."""
    end = await archive_end(queries)
    if end is not None and moment < end.until:
        raise end.error(field, f"give {end.until.isoformat()} or later")


async def refuse_events_before(queries: Queries, event_id: str, *, field: str) -> None:
    """Raises Archived."""
    end = await archive_end(queries)
    if end is not None and event_id < end.until_id:
        raise end.error(field, f"give {end.until_id}{EMPTY_TIME} or a later id")


async def refuse_payments_before(queries: Queries, payment_id: str, *, field: str) -> None:
    """For a payment of which nothing is left here but the payment. Raises Archived."""
    end = await archive_end(queries)
    if end is not None and payment_id < first_id(IdKind.PAYMENT, end.until):
        raise end.error(field, "ask who runs the server; the payment itself is still here")
