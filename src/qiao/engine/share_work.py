"""Profit shares and their returns at the channel: how each is told, asked about and settled."""

import json
from collections.abc import Sequence
from typing import Any, Final, assert_never, cast

from qiao.channels.interface import ProfitSharing, ShareReturns
from qiao.channels.requests import (
    ProfitSharingQuery,
    ProfitSharingRequest,
    Share,
    ShareReturnQuery,
    ShareReturnRequest,
)
from qiao.domain.ids import IdKind
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    NotSent,
    PartlyShared,
    ShareResult,
    SharingOutcome,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
    Unknown,
)
from qiao.domain.states import SHARE, ShareEvent, ShareState, after, sources
from qiao.engine.attempts import attempt_of_id
from qiao.engine.calls import Verb
from qiao.engine.movements import Errand, Mover
from qiao.engine.records import Attempt, read
from qiao.engine.runtime import Engine
from qiao.engine.settlement import note_anomaly
from qiao.engine.share_records import ProfitShare, Receiver, SharePart, ShareReturn
from qiao.store.sql import load_statements

SQL = load_statements("profit_shares")


def seal_receiver(engine: Engine, receiver: str, name: str | None) -> bytes:
    """As ``receiver_of`` opens it."""
    return engine.seal.close(json.dumps([receiver, name]).encode())


def receiver_of(engine: Engine, sealed: bytes) -> tuple[str, str | None]:
    """The receiver's id at the channel, and its name: personal data."""
    receiver, name = json.loads(engine.seal.open(sealed))
    return receiver, name


async def parts_of(
    engine: Engine, merchant_id: str, shares: Sequence[ProfitShare]
) -> dict[str, list[SharePart]]:
    """The parts of each share by its id, in their order."""
    found: dict[str, list[SharePart]] = {one.share_id: [] for one in shares}
    for row in await engine.database.fetch(SQL.parts_of_shares, merchant_id, list(found)):
        part = read(SharePart, row)
        found[part.share_id].append(part)
    return found


async def wire_shares(
    engine: Engine, merchant_id: str, parts: Sequence[tuple[str, int, str]], currency: str
) -> tuple[Share, ...]:
    """Receiver's id, amount and description, as the channel is told them."""
    ids = [receiver_id for receiver_id, _, _ in parts]
    rows = await engine.database.fetch(SQL.receivers_of_ids, merchant_id, ids)
    known = {row["receiver_id"]: row for row in rows}
    return tuple(
        Share(
            receiver_type=read(Receiver, known[receiver_id]).receiver_type,
            receiver=receiver_of(engine, known[receiver_id]["sealed_receiver"])[0],
            amount=Money(amount_minor, currency),
            description=description,
        )
        for receiver_id, amount_minor, description in parts
    )


def sharing_request(
    reference: str, attempt: Attempt, shares: tuple[Share, ...], *, finish: bool
) -> ProfitSharingRequest:
    return ProfitSharingRequest(
        reference=reference,
        payment_reference=attempt.taken_under,
        payment_channel_reference=attempt.channel_reference or "",
        shares=shares,
        finish=finish,
    )


class ShareMovement:
    """A profit share, or the release of what is left."""

    name = "share"
    row = ProfitShare
    job = "work_profit_share"
    tell_verb: Verb = "share_profit"
    ask_verb: Verb = "query_profit_sharing"

    async def errand(self, engine: Engine, row: ProfitShare) -> Errand[SharingOutcome]:
        attempt = await attempt_of_id(engine, row.merchant_id, row.attempt_id)
        account = await engine.accounts.of_id(row.merchant_id, attempt.account_id)
        parts = (await parts_of(engine, row.merchant_id, [row]))[row.share_id]
        told = [(one.receiver_id, one.amount_minor, one.description) for one in parts]
        shares = await wire_shares(engine, row.merchant_id, told, row.currency)
        request = sharing_request(row.reference, attempt, shares, finish=row.finish)
        query = ProfitSharingQuery(
            reference=row.reference,
            payment_reference=request.payment_reference,
            payment_channel_reference=request.payment_channel_reference,
            amount=row.amount,
            shares=shares,
        )
        channel = cast("ProfitSharing", account.channel)
        return Errand(
            account=account,
            tell=lambda: channel.share_profit(request, engine.context),
            ask=lambda: channel.query_profit_sharing(query, engine.context),
        )

    async def settle(self, engine: Engine, row: ProfitShare, outcome: SharingOutcome) -> None:
        parts = (await parts_of(engine, row.merchant_id, [row]))[row.share_id]
        match outcome:
            case Transferred():
                if outcome.amount != row.amount:
                    await _note_amount(engine, row, outcome.amount)
                    return
                results = [ShareResult(arrived=True) for _ in parts]
                await _end(engine, row, ShareEvent.SUCCEED, parts, results, outcome)
            case PartlyShared():
                got = [p.amount_minor for p, r in zip(parts, outcome.results, strict=False)
                       if r.arrived]  # fmt: skip
                mixed = 0 < len(got) < len(parts) == len(outcome.results)
                if not mixed or outcome.amount != Money(sum(got), row.currency):
                    await _note_amount(engine, row, outcome.amount)
                    return
                results = list(outcome.results)
                await _end(engine, row, ShareEvent.SUCCEED_IN_PART, parts, results, outcome)
            case TransferRefused():
                results = [
                    ShareResult(
                        arrived=False,
                        channel_code=outcome.channel_code,
                        channel_message=outcome.channel_message,
                    )
                    for _ in parts
                ]
                await _end(engine, row, ShareEvent.FAIL, parts, results, outcome)
            case TransferPending() | NotFound() | NotSent() | Unknown():
                pass
            case _:
                assert_never(outcome)


async def _end(
    engine: Engine,
    row: ProfitShare,
    event: ShareEvent,
    parts: Sequence[SharePart],
    results: Sequence[ShareResult],
    outcome: Transferred | PartlyShared | TransferRefused,
) -> None:
    states = sorted(sources(SHARE, event))
    refused = outcome if isinstance(outcome, TransferRefused) else None
    arrived = None if isinstance(outcome, TransferRefused) else outcome
    told: list[dict[str, Any]] = [
        {
            "line": part.line,
            "arrived": result.arrived,
            "channel_code": result.channel_code or None,
            "channel_message": result.channel_message or None,
        }
        for part, result in zip(parts, results, strict=True)
    ]
    await engine.database.fetch_row(
        SQL.settle_share,
        row.merchant_id,
        row.share_id,
        states,
        after(SHARE, ShareState(states[0]), event),
        arrived.channel_reference if arrived else None,
        arrived.transferred_at if arrived else None,
        told,
        engine.new_id(IdKind.EVENT),
        refused.code if refused else None,
        refused.channel_code if refused else None,
        refused.channel_message if refused else None,
    )


async def _note_amount(engine: Engine, row: ProfitShare, amount: Money) -> None:
    """The channel's word does not fit: it stays reserved, and a person must look."""
    attempt = await attempt_of_id(engine, row.merchant_id, row.attempt_id)
    detail = {"share_id": row.share_id, "amount": amount.minor, "currency": amount.currency}
    await note_anomaly(engine, attempt, "share_other_amount", detail)


class ReturnMovement:
    """The return of one receiver's part, or of some of it."""

    name = "return"
    row = ShareReturn
    job = "work_share_return"
    tell_verb: Verb = "return_share"
    ask_verb: Verb = "query_share_return"

    async def errand(self, engine: Engine, row: ShareReturn) -> Errand[TransferOutcome]:
        share = await SHARES.now(engine, row.merchant_id, row.share_id)
        parts = (await parts_of(engine, row.merchant_id, [share]))[share.share_id]
        attempt = await attempt_of_id(engine, row.merchant_id, share.attempt_id)
        account = await engine.accounts.of_id(row.merchant_id, attempt.account_id)
        part = next(one for one in parts if one.line == row.line)
        told = [(part.receiver_id, part.amount_minor, part.description)]
        [wire] = await wire_shares(engine, row.merchant_id, told, row.currency)
        request = return_request(row.reference, row.amount, share, attempt, wire, row.description)
        query = ShareReturnQuery(
            reference=row.reference,
            amount=row.amount,
            sharing_reference=share.reference,
            payment_reference=request.payment_reference,
            payment_channel_reference=request.payment_channel_reference,
            share=wire,
        )
        channel = cast("ShareReturns", account.channel)
        return Errand(
            account=account,
            tell=lambda: channel.return_share(request, engine.context),
            ask=lambda: channel.query_share_return(query, engine.context),
        )

    async def settle(self, engine: Engine, row: ShareReturn, outcome: TransferOutcome) -> None:
        match outcome:
            case Transferred():
                if outcome.amount == row.amount:
                    await engine.database.fetch_row(
                        SQL.settle_returned,
                        row.merchant_id,
                        row.return_id,
                        sorted(sources(SHARE, ShareEvent.SUCCEED)),
                        outcome.channel_reference,
                        outcome.transferred_at,
                        engine.new_id(IdKind.EVENT),
                    )
                else:
                    share = await SHARES.now(engine, row.merchant_id, row.share_id)
                    await _note_amount(engine, share, outcome.amount)
            case TransferRefused():
                await engine.database.fetch_row(
                    SQL.settle_return_failed,
                    row.merchant_id,
                    row.return_id,
                    sorted(sources(SHARE, ShareEvent.FAIL)),
                    outcome.code,
                    outcome.channel_code,
                    outcome.channel_message,
                    engine.new_id(IdKind.EVENT),
                )
            case TransferPending() | NotFound() | NotSent() | Unknown():
                pass
            case _:
                assert_never(outcome)


def return_request(
    reference: str,
    amount: Money,
    share: ProfitShare,
    attempt: Attempt,
    part: Share,
    description: str,
) -> ShareReturnRequest:
    return ShareReturnRequest(
        reference=reference,
        amount=amount,
        sharing_reference=share.reference,
        payment_reference=attempt.taken_under,
        payment_channel_reference=attempt.channel_reference or "",
        share=part,
        description=description,
    )


SHARES: Final[Mover[ProfitShare, SharingOutcome]] = Mover(kind=ShareMovement(), sql=SQL)
RETURNS: Final[Mover[ShareReturn, TransferOutcome]] = Mover(kind=ReturnMovement(), sql=SQL)
