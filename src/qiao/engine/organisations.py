"""Who is paid: organisations own merchants, and a merchant has apps (shops, tills, mini programs).

Each is active or suspended. Where one is suspended nothing below it takes new payments: no order
is accepted and no attempt starts, which the statements that do so check themselves. Refunds,
queries, notifications and webhooks go on, because what was begun must come to an end.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

import asyncpg
import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.engine.actors import SYSTEM, Actor
from qiao.engine.audit import record
from qiao.engine.errors import Conflict, Missing
from qiao.engine.records import Row, read
from qiao.engine.runtime import Engine, Scope
from qiao.store.sql import load_statements

SQL = load_statements("organisations")
MAX_NAME: Final = 64
Kind: TypeAlias = Literal["organisation", "merchant", "app"]
KINDS: Final[tuple[Kind, ...]] = ("organisation", "merchant", "app")


class Status(StrEnum):
    """Whether new payments are taken."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


VERBS: Final = {Status.ACTIVE: "resumed", Status.SUSPENDED: "suspended"}


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """A company that owns merchants."""

    organisation_id: str
    name: str
    status: Status
    created_at: datetime


class Merchant(msgspec.Struct, frozen=True, kw_only=True):
    """Who is paid; customers see the name."""

    merchant_id: str
    organisation_id: str | None
    name: str
    status: Status
    created_at: datetime


class App(msgspec.Struct, frozen=True, kw_only=True):
    """Where a merchant is paid."""

    merchant_id: str
    app_id: str
    name: str
    status: Status
    created_at: datetime


def check_name(name: str) -> str:
    """Raises InvalidInput."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput(
            "not a name", field="name", remedy=f"give 1 to {MAX_NAME} printable characters"
        )
    return name


async def add_organisation(engine: Engine, name: str, *, actor: Actor = SYSTEM) -> Organisation:
    """A new organisation. Raises InvalidInput."""
    organisation_id = engine.new_id(IdKind.ORGANISATION)
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(SQL.add_organisation, organisation_id, check_name(name))
        await record(
            queries,
            "organisation.added",
            at=engine.now(),
            chain=organisation_id,
            actor=actor,
            subject_id=organisation_id,
        )
    return _found(row, Organisation, "organisation")


async def add_app(engine: Engine, merchant_id: str, name: str, *, actor: Actor = SYSTEM) -> App:
    """A new app of the merchant. Raises Missing, InvalidInput."""
    app_id = engine.new_id(IdKind.APP)
    check_name(name)
    await show_merchant(engine, merchant_id)
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(SQL.add_app, merchant_id, app_id, name)
        await record(
            queries,
            "app.added",
            at=engine.now(),
            chain=merchant_id,
            actor=actor,
            subject_id=app_id,
        )
    return _found(row, App, "app")


async def organisations(engine: Engine) -> list[Organisation]:
    """Every one, the oldest first."""
    return [read(Organisation, row) for row in await engine.database.fetch(SQL.organisations)]


async def merchants(engine: Engine, *, organisation_id: str | None = None) -> list[Merchant]:
    """Every one, or those of an organisation; the oldest first. Raises Missing."""
    if organisation_id is not None:
        await show_organisation(engine, organisation_id)
    rows = await engine.database.fetch(SQL.merchants, organisation_id)
    return [read(Merchant, row) for row in rows]


async def apps(engine: Engine, merchant_id: str) -> list[App]:
    """The merchant's, the oldest first. Raises Missing."""
    await show_merchant(engine, merchant_id)
    return [read(App, row) for row in await engine.database.fetch(SQL.apps, merchant_id)]


async def show_organisation(engine: Engine, organisation_id: str) -> Organisation:
    """Raises InvalidId, Missing."""
    parse_id(IdKind.ORGANISATION, organisation_id, field="organisation_id")
    row = await engine.database.fetch_row(SQL.organisation, organisation_id)
    return _found(row, Organisation, "organisation")


async def show_merchant(engine: Engine, merchant_id: str) -> Merchant:
    """Raises InvalidId, Missing."""
    parse_id(IdKind.MERCHANT, merchant_id, field="merchant_id")
    return _found(await engine.database.fetch_row(SQL.merchant, merchant_id), Merchant, "merchant")


async def show_app(engine: Engine, merchant_id: str, app_id: str) -> App:
    """Raises InvalidId, Missing."""
    parse_id(IdKind.APP, app_id, field="app_id")
    return _found(await engine.database.fetch_row(SQL.app, merchant_id, app_id), App, "app")


async def change_organisation(
    engine: Engine,
    organisation_id: str,
    *,
    name: str | None = None,
    status: Status | None = None,
    actor: Actor = SYSTEM,
) -> Organisation:
    """Rename, suspend or resume it; what is not given stays. Raises InvalidInput, Missing."""
    await show_organisation(engine, organisation_id)
    values = (organisation_id, _name(name), status)
    row = await _change(
        engine, SQL.change_organisation, values, "organisation", organisation_id, actor
    )
    return read(Organisation, row)


async def change_merchant(
    engine: Engine,
    merchant_id: str,
    *,
    name: str | None = None,
    status: Status | None = None,
    organisation_id: str | None = None,
    actor: Actor = SYSTEM,
) -> Merchant:
    """As ``change_organisation``; ``organisation_id`` hands it to that organisation."""
    await show_merchant(engine, merchant_id)
    if organisation_id is not None:
        await show_organisation(engine, organisation_id)
    values = (merchant_id, _name(name), status, organisation_id)
    row = await _change(engine, SQL.change_merchant, values, "merchant", merchant_id, actor)
    return read(Merchant, row)


async def change_app(
    engine: Engine,
    merchant_id: str,
    app_id: str,
    *,
    name: str | None = None,
    status: Status | None = None,
    actor: Actor = SYSTEM,
) -> App:
    """As ``change_organisation``."""
    await show_app(engine, merchant_id, app_id)
    values = (merchant_id, app_id, _name(name), status)
    row = await _change(engine, SQL.change_app, values, "app", app_id, actor)
    return read(App, row)


async def _change(
    engine: Engine,
    statement: str,
    values: tuple[object, ...],
    kind: Kind,
    subject_id: str,
    actor: Actor,
) -> asyncpg.Record:
    """The row as it is now; what changed stands in the audit log, and nothing where nothing did."""
    async with engine.database.transaction() as queries:
        row = await queries.fetch_row(statement, *values)
        assert row is not None  # noqa: S101 - it is never deleted
        fields = [name for name in ("name", "status", "organisation_id") if row.get(f"new_{name}")]
        if fields:
            verb = VERBS[Status(row["status"])] if "status" in fields else "changed"
            await record(
                queries,
                f"{kind}.{verb}",
                at=engine.now(),
                chain=subject_id if kind == "organisation" else row["merchant_id"],
                actor=actor,
                subject_id=subject_id,
                fields=fields,
            )
    return row


async def check_taking(engine: Engine, scope: Scope, app_id: str | None) -> None:
    """Raises Conflict that names who is suspended; nothing where new payments are taken."""
    row = await engine.database.fetch_row(SQL.statuses, scope.merchant_id, app_id)
    if row is None:
        raise LookupError(scope.merchant_id)
    for kind in KINDS:
        if row[kind] == Status.SUSPENDED:
            raise Conflict(
                f"the {kind} is suspended: it takes no new payments",
                code=f"{kind}_suspended",
                field="merchant_id" if kind != "app" else "app_id",
                remedy="ask who runs this server; refunds and queries still work",
            )


def _name(name: str | None) -> str | None:
    return None if name is None else check_name(name)


def _found(row: asyncpg.Record | None, kind: type[Row], word: Kind) -> Row:
    if row is None:
        raise Missing(f"no such {word}", field=f"{word}_id", remedy=f"list them: qiao {word} list")
    return read(kind, row)
