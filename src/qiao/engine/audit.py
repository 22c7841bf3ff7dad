"""Who did what, when and from where: append-only, each row bound to the one before by its digest.

A row's digest is SHA-256 over the digest before it, the chain's name, the sequence and the content,
so that whoever changes, removes or moves a row must change every later one, and the head, too. It
is written in the transaction of the change: there is neither without the other. Contents name
fields and never hold their values.

Who may write to the database as its owner could forge a whole chain anew. So ``check`` gives every
chain's head: kept elsewhere, they prove later that what was there then still is.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from qiao.domain.errors import InvalidInput
from qiao.engine.actors import SYSTEM, Actor
from qiao.store.database import Queries
from qiao.store.sql import load_statements

if TYPE_CHECKING:  # accounts write here, and the runtime holds accounts
    from qiao.engine.runtime import Engine, Scope

SQL = load_statements("audit")
GENESIS: Final = bytes(32)
GUARDS: Final = frozenset({"audit_is_append_only", "audit_is_not_emptied"})
SERVER: Final = "server"
"""The chain of what belongs to no merchant."""
PLATFORM: Final = "platform"
"""Stands where a merchant's id does in what is set for all who have nothing of their own."""
PART: Final = 1000


class Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one row says. ``fields`` are the names of what changed."""

    at: datetime
    actor_kind: str
    actor_id: str
    action: str
    origin: str | None = None
    subject_id: str | None = None
    live: bool | None = None
    fields: list[str] = []


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A row: its place in the merchant's chain, its content, and its digest in hex."""

    sequence: int
    content: Content
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first row of a chain that is not as it was written; ``sequence`` is None for a guard."""

    chain: str
    sequence: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a chain ends."""

    chain: str
    sequence: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found: nothing broken, if all is well."""

    entries: int
    heads: Sequence[Head]
    broken: Sequence[Broken]


async def record(
    queries: Queries,
    action: str,
    *,
    at: datetime,
    chain: str,
    actor: Actor = SYSTEM,
    subject_id: str | None = None,
    live: bool | None = None,
    fields: Sequence[str] = (),
) -> None:
    """Write a row, in the transaction of ``queries``. The last thing it does before it commits:
    from here on nobody else writes to this chain."""
    content = Content(
        at=at.astimezone(UTC),
        actor_kind=actor.kind,
        actor_id=actor.id,
        action=action,
        origin=actor.origin,
        subject_id=subject_id,
        live=live,
        fields=sorted(fields),
    )
    await queries.fetch_value(SQL.write, chain, msgspec.json.encode(content).decode())


async def record_for(
    engine: "Engine",
    queries: Queries,
    scope: "Scope",
    action: str,
    subject_id: str | None = None,
    *,
    fields: Sequence[str] = (),
) -> None:
    """``record`` of what was done in a scope, by its actor."""
    await record(
        queries,
        action,
        at=engine.now(),
        chain=SERVER if scope.merchant_id == PLATFORM else scope.merchant_id,
        actor=scope.actor,
        subject_id=subject_id,
        live=scope.live,
        fields=fields,
    )


async def list_entries(
    queries: Queries,
    chain: str,
    *,
    live: bool | None = None,
    before: int | None = None,
    limit: int = 20,
) -> list[AuditEntry]:
    """The newest first; ``live`` leaves out what happened in the other mode."""
    if before is not None and not 0 < before < 2**63:
        raise InvalidInput(
            "not a cursor", field="before", remedy="give the sequence of the page's last entry"
        )
    rows = await queries.fetch(SQL.entries, chain, live, before, limit)
    return [
        AuditEntry(
            sequence=row["sequence"],
            content=msgspec.json.decode(row["content"], type=Content),
            digest=row["digest"].hex(),
        )
        for row in rows
    ]


async def check(queries: Queries) -> Verdict:
    """Compute every chain again; the first broken row of each that is broken."""
    entries, heads = 0, []
    guards = {row["tgname"] for row in await queries.fetch(SQL.guards)}
    broken = [
        Broken(chain="all", sequence=None, reason=f"the guard {guard} is not there or off")
        for guard in sorted(GUARDS - guards)
    ]
    for row in await queries.fetch(SQL.chains):
        chain = row["merchant_id"]
        last, digest, found = await _follow(queries, chain)
        entries += last
        if found is None:
            found = _ends_wrongly(chain, last, digest, row)
        if found is not None:
            broken.append(found)
        heads.append(Head(chain=chain, sequence=last, digest=digest.hex()))
    return Verdict(entries=entries, heads=heads, broken=broken)


async def _follow(queries: Queries, chain: str) -> tuple[int, bytes, Broken | None]:
    """The last good row, its digest, and the row after it if that is broken."""
    last, digest = 0, GENESIS
    async for row in _rows(queries, chain):
        sequence = row["sequence"]
        reason = None
        if sequence != last + 1:
            sequence, reason = last + 1, "it is missing"
        elif row["previous"] != digest:
            reason = "it does not follow the row before it: one of them was changed or moved"
        elif row["digest"] != digest_of(chain, sequence, row["content"], digest):
            reason = "its content is not what was written"
        if reason is not None:
            return last, digest, Broken(chain=chain, sequence=sequence, reason=reason)
        last, digest = sequence, row["digest"]
    return last, digest, None


def _ends_wrongly(chain: str, last: int, digest: bytes, head: asyncpg.Record) -> Broken | None:
    if head["sequence"] == last and head["digest"] == digest:
        return None
    if head["sequence"] is not None and head["sequence"] > last:
        return Broken(chain=chain, sequence=last + 1, reason="it is missing at the end")
    return Broken(chain=chain, sequence=last, reason="the chain's head is not its last row")


def digest_of(chain: str, sequence: int, content: str, previous: bytes) -> bytes:
    """A row's digest, as the database computes it when the row is written."""
    return hashlib.sha256(previous + f"{chain}\n{sequence}\n{content}".encode()).digest()


async def _rows(queries: Queries, chain: str) -> AsyncIterator[asyncpg.Record]:
    last = 0
    while rows := await queries.fetch(SQL.part_of_chain, chain, last, PART):
        for row in rows:
            yield row
        last = rows[-1]["sequence"]


def plain(entry: AuditEntry) -> dict[str, Any]:
    """The entry as programs read it."""
    return {
        "sequence": entry.sequence,
        **msgspec.to_builtins(entry.content),
        "digest": entry.digest,
    }
