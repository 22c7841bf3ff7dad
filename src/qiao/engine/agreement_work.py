"""Have an agreement signed and ended at its channel, ask about it, and settle what is said.

All of it may be told twice and out of order. Signing and ending have one number for ever, so that
asking a channel again does no harm; what has ended stays ended.
"""

from datetime import timedelta
from typing import Any, Final, assert_never, cast

from qiao.channels.interface import Agreements
from qiao.channels.requests import AgreementQuery, AgreementRequest, ChargeRule
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    AgreementRefused,
    NotFound,
    NotSent,
    Unknown,
)
from qiao.domain.states import AGREEMENT, AgreementEvent, AgreementState, sources
from qiao.engine.accounts import Account
from qiao.engine.attempts import SETTLING_WINDOW
from qiao.engine.calls import call
from qiao.engine.records import Agreement, read
from qiao.engine.runtime import Engine
from qiao.engine.sending import primed
from qiao.engine.settlement import action_document
from qiao.store.database import Queries
from qiao.store.sql import load_statements

SQL = load_statements("agreements")
LEASE: Final = timedelta(seconds=30)
ENDABLE: Final = sorted(sources(AGREEMENT, AgreementEvent.END))
SIGNABLE: Final = sorted(sources(AGREEMENT, AgreementEvent.SIGN))
OVER: Final = frozenset({AgreementState.ENDED, AgreementState.REFUSED, AgreementState.EXPIRED})


def signing(
    engine: Engine, account: Account, request: AgreementRequest
) -> Operation[AgreementOutcome]:
    """The channel's operation, run up to its first request. Raises InvalidInput."""
    return primed(agreeing(account).sign(request, engine.context))


async def sign(engine: Engine, agreement: Agreement) -> Agreement:
    """Ask the channel for the signature, unless it is known what the customer must do."""
    waits = agreement.state is AgreementState.PENDING and agreement.end_requested_at is None
    if not waits or agreement.action is not None:
        return agreement
    account = await engine.accounts.of_id(agreement.merchant_id, agreement.account_id)
    request = AgreementRequest(
        reference=agreement.reference,
        product=agreement.product,
        rule=ChargeRule(
            max_amount=agreement.max_amount,
            unit=agreement.period_unit,
            count=agreement.period_count,
            first_on=agreement.first_charge_on,
        ),
        display_name=await name_of(engine, agreement),
        notify_url=engine.notify_url(agreement.merchant_id, agreement.account_id),
        plan=agreement.plan,
        return_url=agreement.return_url,
    )
    outcome = await call(engine, account, "sign", signing(engine, account, request))
    return await settle_agreement(engine, agreement, outcome)


async def name_of(engine: Engine, agreement: Agreement) -> str:
    """What the merchant calls the customer: personal data."""
    sealed = await engine.database.fetch_value(
        SQL.name_of, agreement.merchant_id, agreement.agreement_id
    )
    return engine.seal.open(sealed).decode()


async def work(engine: Engine, agreement: Agreement) -> Agreement:
    """Do the next thing for an agreement: end it where that was asked for, or ask about it."""
    if agreement.state in OVER:
        return agreement
    account = await engine.accounts.of_id(agreement.merchant_id, agreement.account_id)
    query = AgreementQuery(
        reference=agreement.reference,
        plan=agreement.plan,
        channel_reference=agreement.channel_reference,
    )
    if agreement.end_requested_at is None:
        operation = agreeing(account).query_agreement(query, engine.context)
        outcome = await call(engine, account, "query_agreement", operation)
    else:
        operation = agreeing(account).end_agreement(query, engine.context)
        outcome = await call(engine, account, "end_agreement", operation)
    unsigned = isinstance(outcome, NotFound | AgreementPending)
    late = engine.now() > agreement.expires_at + SETTLING_WINDOW
    if unsigned and late and agreement.state is AgreementState.PENDING:
        return await _never_signed(engine, agreement)
    return await settle_agreement(engine, agreement, outcome)


async def _never_signed(engine: Engine, agreement: Agreement) -> Agreement:
    """The customer had their time. Should they sign after all, the channel tells."""
    ended = agreement.end_requested_at is not None
    event = AgreementEvent.END if ended else AgreementEvent.EXPIRE
    return await _over(engine, agreement, event)


async def settle_agreement(
    engine: Engine, agreement: Agreement, outcome: AgreementOutcome
) -> Agreement:
    """Make what the channel said of an agreement true in the books; again changes nothing."""
    match outcome:
        case AgreementActive():
            await engine.database.fetch_row(
                SQL.settle_signed,
                agreement.merchant_id,
                agreement.agreement_id,
                SIGNABLE,
                outcome.channel_reference,
                outcome.signed_at,
                engine.now(),
                outcome.valid_until,
                engine.new_id(IdKind.EVENT),
            )
        case AgreementEnded():
            return await _over(engine, agreement, AgreementEvent.END, outcome)
        case AgreementRefused():
            return await _over(engine, agreement, AgreementEvent.REFUSE, outcome)
        case AgreementPending():
            if outcome.action is not None:
                await engine.database.fetch_row(
                    SQL.show_action,
                    agreement.merchant_id,
                    agreement.agreement_id,
                    action_document(outcome.action),
                )
        case NotFound() | NotSent() | Unknown():
            pass
        case _:
            assert_never(outcome)
    engine.wake()
    return await agreement_now(engine, agreement.merchant_id, agreement.agreement_id)


async def _over(
    engine: Engine,
    agreement: Agreement,
    event: AgreementEvent,
    outcome: AgreementEnded | AgreementRefused | None = None,
) -> Agreement:
    states = sorted(sources(AGREEMENT, event))
    refused = outcome if isinstance(outcome, AgreementRefused) else None
    await engine.database.fetch_row(
        SQL.settle_over,
        agreement.merchant_id,
        agreement.agreement_id,
        states,
        AGREEMENT[AgreementState(states[0]), event],
        refused.code if refused else None,
        refused.channel_code if refused else None,
        refused.channel_message if refused else None,
        outcome.ended_at if isinstance(outcome, AgreementEnded) else None,
        engine.now(),
        engine.new_id(IdKind.EVENT),
    )
    engine.wake()
    return await agreement_now(engine, agreement.merchant_id, agreement.agreement_id)


async def ask_to_end(engine: Engine, queries: Queries, agreement: Agreement) -> None:
    """Nothing is charged by it any more; the channel is told by a job."""
    await queries.fetch_row(
        SQL.ask_to_end, agreement.merchant_id, agreement.agreement_id, ENDABLE, engine.now()
    )


async def agreement_now(engine: Engine, merchant_id: str, agreement_id: str) -> Agreement:
    """The agreement as it is now."""
    row = await engine.database.fetch_row(SQL.agreement_of_any_mode, merchant_id, agreement_id)
    if row is None:
        raise LookupError(agreement_id)
    return read(Agreement, row)


async def agreement_of_reference(
    engine: Engine, merchant_id: str, reference: str
) -> Agreement | None:
    """By the number under which the channel knows it."""
    row = await engine.database.fetch_row(SQL.agreement_of_reference, merchant_id, reference)
    return None if row is None else read(Agreement, row)


async def note_anomaly(
    engine: Engine, agreement: Agreement, kind: str, detail: dict[str, Any]
) -> None:
    """Keep for the operator what may not happen and did."""
    await engine.database.execute(
        SQL.note_anomaly,
        agreement.merchant_id,
        engine.new_id(IdKind.EVENT),
        f"agreement_{kind}",
        {"agreement_id": agreement.agreement_id, **detail},
    )


def agreeing(account: Account) -> Agreements:
    """The account's channel, whose manifest promises agreements. Raises InvalidInput if not."""
    if not hasattr(account.channel, "sign"):
        raise InvalidInput(
            "the account's channel has no agreements any more",
            field="agreement_id",
            remedy="look at the account's settings",
        )
    return cast("Agreements", account.channel)
