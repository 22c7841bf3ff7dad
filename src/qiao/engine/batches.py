"""Batches of transfers: all of their lines are taken, or none; each then goes its own way."""

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, parse_id
from qiao.domain.money import Money
from qiao.domain.states import TransferState
from qiao.engine.errors import Conflict, Missing
from qiao.engine.payments import check_number, replayed
from qiao.engine.records import Transfer, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.transfer_work import work
from qiao.engine.transfers import (
    TransferOrder,
    actor_of,
    approve,
    check_limits,
    first_state,
    known_transfer,
    prepared,
    put,
    reject,
)
from qiao.store.sql import load_statements

SQL = load_statements("transfers")
MAX_LINES: Final = 500
AT_ONCE: Final = 8
"""How many transfers of a batch are sent side by side."""
COLUMNS: Final = ("number", "channel", "amount", "currency", "payee", "description")
OPTIONAL_COLUMNS: Final = ("payee_name", "scene")


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a batch itself."""

    merchant_id: str
    batch_id: str
    live: bool
    number: str
    requested_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch with its transfers, in the order in which they were given."""

    row: BatchRow
    transfers: Sequence[Transfer]


def read_csv(text: str) -> list[TransferOrder]:
    """The lines of a CSV file, whose first line names its columns; amounts in minor units.

    Raises InvalidInput naming the line.
    """
    lines = csv.DictReader(text.splitlines(), strict=True)
    try:
        names = tuple(lines.fieldnames or ())
        _check_columns(names)
        return [_csv_line(number, line) for number, line in enumerate(lines, 2)]
    except csv.Error:
        raise InvalidInput(
            f"line {lines.line_num} is not CSV", field="csv", remedy="write it as RFC 4180 says"
        ) from None


def _check_columns(names: tuple[str, ...]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in (*COLUMNS, *OPTIONAL_COLUMNS)]
    if missing or unknown or len(set(names)) < len(names):
        wrong = f"without {missing[0]}" if missing else "a column is not known, or twice there"
        raise InvalidInput(
            f"the columns are wrong: {wrong}",
            field="csv",
            remedy=f"name them: {', '.join(COLUMNS)}; and, if wanted, payee_name, scene",
        )


def _csv_line(number: int, line: dict[str, str | None]) -> TransferOrder:
    where = f"csv line {number}"
    if None in line or None in line.values():
        raise InvalidInput(
            "has too few or too many fields", field=where, remedy="fill every column once"
        )
    text = {name: value or "" for name, value in line.items()}
    if not (text["amount"].isascii() and text["amount"].isdigit()):
        raise InvalidInput(
            "the amount is not a whole number",
            field=where,
            remedy="give whole minor units (fen, cents), without a decimal point",
        )
    try:
        return TransferOrder(
            number=text["number"],
            channel=text["channel"],
            amount=Money(int(text["amount"]), text["currency"]),
            payee=text["payee"],
            payee_name=text.get("payee_name") or None,
            description=text["description"],
            scene=text.get("scene") or None,
        )
    except InvalidInput as error:
        raise _at(where, error) from None


async def request_batch(
    engine: Engine,
    scope: Scope,
    number: str,
    orders: Sequence[TransferOrder],
    *,
    key: IdempotencyKey | None = None,
) -> Batch:
    """Ask for all of them, under the merchant's number of the batch. None when one is refused.

    The threshold for a second person counts the whole batch. The same number with the same lines
    gives the batch that is there. Raises InvalidInput naming the line, and Conflict.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        return await show_batch(engine, scope, known)
    _check(number, orders)
    found = await _known(engine, scope, number, orders)
    if found is not None:
        return found
    accounts = []
    for index, order in enumerate(orders):
        try:
            if await known_transfer(engine, scope, order) is not None:
                raise _taken()
            accounts.append(await prepared(engine, scope, order))
        except InvalidInput as error:
            raise _at(f"transfers.{index}", error) from None
    batch_id = engine.new_id(IdKind.TRANSFER_BATCH)
    total = Money(sum(one.amount.minor for one in orders), orders[0].amount.currency)
    try:
        async with engine.database.transaction() as queries:
            await queries.fetch_value(SQL.lock_transfers, scope.merchant_id)
            policy = await check_limits(engine, queries, scope, orders)
            state = first_state(policy, scope, total)
            values = (scope.merchant_id, batch_id, scope.live, number, actor_of(scope))
            await queries.fetch_row(SQL.put_batch, *values, engine.now())
            if key is not None:
                bound = (key.key, key.body_digest, batch_id)
                await queries.execute(SQL.key_of_batch, scope.merchant_id, scope.live, *bound)
            for line, (order, account) in enumerate(zip(orders, accounts, strict=True), 1):
                place = (batch_id, line)
                await put(engine, queries, scope, order, account, state, line=place)
    except asyncpg.UniqueViolationError:  # the same number or key, at the same time
        return await request_batch(engine, scope, number, orders, key=key)
    return await _worked(engine, scope, batch_id)


def _check(number: str, orders: Sequence[TransferOrder]) -> None:
    check_number(number, "a batch's number")
    if not 1 <= len(orders) <= MAX_LINES:
        raise InvalidInput(
            "no transfers, or too many", field="transfers", remedy=f"give 1 to {MAX_LINES}"
        )
    if len({one.number for one in orders}) < len(orders):
        raise InvalidInput(
            "two transfers have the same number",
            field="transfers",
            remedy="give every transfer a number of its own",
        )
    if len({one.amount.currency for one in orders}) > 1:
        raise InvalidInput(
            "they are in several currencies",
            field="transfers",
            remedy="make a batch for each currency",
        )


async def _known(
    engine: Engine, scope: Scope, number: str, orders: Sequence[TransferOrder]
) -> Batch | None:
    row = await engine.database.fetch_row(
        SQL.batch_of_number, scope.merchant_id, scope.live, number
    )
    if row is None:
        return None
    batch = await show_batch(engine, scope, row["batch_id"])
    if [one.number for one in batch.transfers] != [one.number for one in orders]:
        raise Conflict(
            "the number is known with other transfers",
            code="batch_exists_with_different_content",
            field="number",
            remedy="take a new number for another batch",
        )
    for order in orders:
        await known_transfer(engine, scope, order)
    return batch


async def show_batch(engine: Engine, scope: Scope, batch_id: str) -> Batch:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.TRANSFER_BATCH, batch_id, field="batch_id")
    row = await engine.database.fetch_row(SQL.batch_of_id, scope.merchant_id, scope.live, batch_id)
    if row is None:
        raise Missing(
            "no such batch", field="batch_id", remedy="look at the id, and at the key's mode"
        )
    rows = await engine.database.fetch(SQL.transfers_of_batch, scope.merchant_id, batch_id)
    return Batch(row=read(BatchRow, row), transfers=[read(Transfer, one) for one in rows])


async def approve_batch(engine: Engine, scope: Scope, batch_id: str) -> Batch:
    """Let every transfer of it go that waits; see :func:`.transfers.approve`."""
    batch = await show_batch(engine, scope, batch_id)
    for one in _waiting(batch):
        await approve(engine, scope, one.transfer_id)
    return await show_batch(engine, scope, batch_id)


async def reject_batch(
    engine: Engine, scope: Scope, batch_id: str, *, reason: str | None = None
) -> Batch:
    """Let every transfer of it that waits come to nothing; see :func:`.transfers.reject`."""
    batch = await show_batch(engine, scope, batch_id)
    for one in _waiting(batch):
        await reject(engine, scope, one.transfer_id, reason=reason)
    return await show_batch(engine, scope, batch_id)


def _waiting(batch: Batch) -> list[Transfer]:
    return [one for one in batch.transfers if one.state is TransferState.REQUESTED]


async def _worked(engine: Engine, scope: Scope, batch_id: str) -> Batch:
    batch = await show_batch(engine, scope, batch_id)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(transfer: Transfer) -> None:
        async with gate:
            await work(engine, transfer)

    await asyncio.gather(*(one(transfer) for transfer in batch.transfers))
    return await show_batch(engine, scope, batch_id)


def _taken() -> Conflict:
    return Conflict(
        "a transfer of this number is there already",
        code="transfer_exists",
        field="number",
        remedy="give every transfer a number of its own",
    )


def _at(where: str, error: InvalidInput) -> InvalidInput:
    """The same refusal, of one line. A Conflict stays one."""
    told = error.args[0]
    if isinstance(error, Conflict):
        field = f"{where}.{error.field}"
        return Conflict(told, code=error.code, field=field, remedy=error.remedy)
    return InvalidInput(told, field=f"{where}.{error.field}", remedy=error.remedy)
