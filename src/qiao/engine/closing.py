"""Close a payment: no attempt may bring money any more before it is closed."""

from qiao.domain.ids import IdKind
from qiao.domain.states import BLOCKING_ATTEMPTS, PAYMENT, PaymentEvent, PaymentState, sources
from qiao.engine.attempts import UNSETTLED, ask, close_on_channel
from qiao.engine.audit import record_for
from qiao.engine.payments import attempts_of, payment_now, show
from qiao.engine.records import Payment, read
from qiao.engine.runtime import Engine, Scope
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements
from qiao.telemetry import metrics
from qiao.telemetry.tracing import traced

SQL = load_statements("payments")
CLOSABLE = sorted(sources(PAYMENT, PaymentEvent.CLOSE))
BLOCKING = sorted(BLOCKING_ATTEMPTS)


@traced("close")
async def close(engine: Engine, scope: Scope, payment_id: str) -> Payment:
    """Close it, now or as soon as its attempts are known to be dead; again changes nothing.

    From here on no attempt starts. A payment whose money came first is given back as paid.
    """
    payment = await show(engine, scope, payment_id)
    if payment.state not in CLOSABLE:
        return payment
    if payment.close_requested_at is None:
        async with engine.database.transaction() as queries:
            await queries.execute(SQL.request_close, scope.merchant_id, payment_id)
            await record_for(engine, queries, scope, "payment.close_asked", payment_id)
    payment = await try_to_close(engine, payment)
    if payment.state in CLOSABLE:
        await enqueue(
            engine.database,
            merchant_id=scope.merchant_id,
            kind="close_payment",
            subject_id=payment_id,
        )
        engine.wake()
    return payment


async def try_to_close(engine: Engine, payment: Payment) -> Payment:
    """Close what can be closed now; the payment as it is afterwards."""
    await engine.database.execute(SQL.request_close, payment.merchant_id, payment.payment_id)
    attempts = await attempts_of(engine, payment)
    for attempt in attempts:
        now = attempt
        if now.state == "sending":
            now = await ask(engine, now)
        if now.state in UNSETTLED and now.state != "sending":
            await close_on_channel(engine, now)
    row = await engine.database.fetch_row(
        SQL.close_payment,
        payment.merchant_id,
        payment.payment_id,
        CLOSABLE,
        BLOCKING,
        engine.new_id(IdKind.EVENT),
    )
    if row is not None:
        last = (attempts[-1].channel, attempts[-1].product) if attempts else (metrics.NONE,) * 2
        metrics.count(metrics.PAYMENTS, "closed", *last)
        return read(Payment, row)
    return await payment_now(engine, payment.merchant_id, payment.payment_id)


def is_over(payment: Payment) -> bool:
    """Whether there is nothing left to close."""
    return payment.state in (PaymentState.PAID, PaymentState.CLOSED, PaymentState.REJECTED)
