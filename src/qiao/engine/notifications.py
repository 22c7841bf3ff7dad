"""What channels tell us unasked: proven first, then settled, then acknowledged.

Fails closed: a message that is not authentic, or not about anything of the account it came to,
changes nothing and is refused in the channel's own words, so that the channel tells it again.
"""

import structlog

from qiao.channels.interface import (
    AgreementNotification,
    DisputeNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
    RefundNotification,
)
from qiao.channels.wire import HttpMessage, HttpReply
from qiao.domain.errors import NotificationRejected
from qiao.domain.outcomes import Refunded, Succeeded
from qiao.engine.accounts import Account
from qiao.engine.agreement_work import agreement_of_reference, settle_agreement
from qiao.engine.attempts import attempt_of_id
from qiao.engine.captures import capture_of_reference, settle_capture
from qiao.engine.errors import Missing
from qiao.engine.records import Attempt, Refund, read
from qiao.engine.refunds import settle_refund
from qiao.engine.runtime import Engine
from qiao.engine.settlement import settle, settle_at_once
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements
from qiao.telemetry import metrics
from qiao.telemetry.tracing import link_to, traced

PAYMENTS = load_statements("payments")
REFUNDS = load_statements("refunds")
log = structlog.get_logger(__name__)
NOBODY = HttpReply(status=404, body=b"no such account")


@traced("notification")
async def receive(
    engine: Engine, merchant_id: str, account_id: str, message: HttpMessage
) -> HttpReply:
    """Settle what ``message`` says, and answer in the channel's own words.

    StoreUnavailable passes through: what is not stored is not acknowledged.
    """
    try:
        account = await engine.accounts.of_id(merchant_id, account_id)
    except Missing:
        metrics.count(metrics.NOTIFICATIONS, metrics.NONE, "no_account")
        return NOBODY
    result, refusal = "failed", "not_authentic"
    try:
        notification = account.channel.authenticate(message, engine.context)
        refusal = "not_ours"
        await _settle(engine, account, notification)
        result = "accepted"
    except NotificationRejected as error:
        result = refusal
        log.warning(
            "notification_rejected",
            merchant_id=merchant_id,
            account_id=account_id,
            channel=account.channel_id,
            reason=str(error),
        )
        return account.channel.acknowledge(accepted=False)
    finally:
        metrics.count(metrics.NOTIFICATIONS, account.channel_id, result)
    return account.channel.acknowledge(accepted=True)


async def _settle(engine: Engine, account: Account, notification: Notification) -> None:
    match notification:
        case PaymentNotification():
            await _settle_payment(engine, account, notification)
        case RefundNotification():
            await _settle_refund(engine, account, notification)
        case AgreementNotification():
            await _settle_agreement(engine, account, notification)
        case DisputeNotification():
            await enqueue(
                engine.database,
                merchant_id=account.merchant_id,
                kind="look_at_dispute",
                subject_id=f"{account.account_id}:{notification.number}",
            )
            await _note(engine, account, notification.id, "dispute", notification.number)
            engine.wake()
        case OtherNotification():
            await _note(engine, account, notification.id, notification.kind, None)


async def _settle_payment(
    engine: Engine, account: Account, notification: PaymentNotification
) -> None:
    outcome, reference = notification.outcome, notification.reference
    if isinstance(outcome, Succeeded) and await settle_at_once(
        engine,
        account.merchant_id,
        reference,
        outcome,
        told_by=(account.account_id, notification.id),
    ):
        engine.wake()
        return
    row = await engine.database.fetch_row(
        PAYMENTS.attempt_of_reference, account.merchant_id, reference
    )
    if row is None:
        await _settle_capture(engine, account, notification)
        return
    if row["account_id"] != account.account_id:
        raise _foreign()
    attempt = read(Attempt, row)
    link_to(attempt.traceparent)
    if isinstance(outcome, Succeeded) and outcome.amount != attempt.amount:
        raise NotificationRejected("it is about another amount than was asked for")
    await settle(engine, attempt, outcome)
    await _note(engine, account, notification.id, "payment", reference)


async def _settle_capture(
    engine: Engine, account: Account, notification: PaymentNotification
) -> None:
    """A payment's number that is no attempt's may be the number of a capture."""
    outcome, reference = notification.outcome, notification.reference
    capture = await capture_of_reference(engine, account.merchant_id, reference)
    if capture is None:
        raise _foreign()
    holding = await attempt_of_id(engine, capture.merchant_id, capture.attempt_id)
    if holding.account_id != account.account_id:
        raise _foreign()
    if isinstance(outcome, Succeeded) and outcome.amount != capture.amount:
        raise NotificationRejected("it is about another amount than was asked for")
    await settle_capture(engine, capture, outcome)
    await _note(engine, account, notification.id, "capture", reference)


def _foreign() -> NotificationRejected:
    return NotificationRejected("it is about a payment that this account does not have")


async def _settle_refund(
    engine: Engine, account: Account, notification: RefundNotification
) -> None:
    row = await engine.database.fetch_row(
        REFUNDS.refund_of_reference, account.merchant_id, notification.reference
    )
    if row is None:
        raise NotificationRejected("it is about a refund that this account does not have")
    refund = read(Refund, row)
    attempt = await attempt_of_id(engine, refund.merchant_id, refund.attempt_id)
    link_to(attempt.traceparent)
    theirs = (account.account_id, notification.payment_reference)
    if theirs != (attempt.account_id, attempt.taken_under):
        raise NotificationRejected("it is about a refund of another payment")
    outcome = notification.outcome
    if isinstance(outcome, Refunded) and outcome.amount != refund.amount:
        raise NotificationRejected("it is about another amount than was asked for")
    await settle_refund(engine, refund, outcome, channel=account.channel_id)
    await _note(engine, account, notification.id, "refund", notification.reference)


async def _settle_agreement(
    engine: Engine, account: Account, notification: AgreementNotification
) -> None:
    agreement = await agreement_of_reference(engine, account.merchant_id, notification.reference)
    if agreement is None or agreement.account_id != account.account_id:
        raise NotificationRejected("it is about an agreement that this account does not have")
    await settle_agreement(engine, agreement, notification.outcome)
    await _note(engine, account, notification.id, "agreement", notification.reference)


async def _note(
    engine: Engine, account: Account, notification_id: str, kind: str, reference: str | None
) -> None:
    await engine.database.execute(
        PAYMENTS.note_notification,
        account.merchant_id,
        account.account_id,
        notification_id,
        kind,
        reference,
    )
