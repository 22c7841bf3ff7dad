"""Charge a payment by an agreement: an attempt like any other, but for who asks for it.

It is committed as *sending* together with the job that asks about it, while the subscription and
its agreement are held: neither can end between the look at them and the charge. An earlier attempt
that may still bring money keeps it from starting, as it does everywhere.
"""

from typing import Final, cast

import asyncpg

from qiao.channels.interface import Agreements
from qiao.channels.requests import AgreementCharge, Product
from qiao.channels.wire import Operation
from qiao.domain.ids import IdKind, order_number
from qiao.domain.outcomes import PaymentOutcome
from qiao.domain.states import CHARGING_SUBSCRIPTIONS
from qiao.engine.accounts import Account
from qiao.engine.attempts import LEASE, OPEN, STARTS, cost_of, price_of, send
from qiao.engine.errors import Conflict
from qiao.engine.organisations import check_taking
from qiao.engine.payment_limits import limit_exceeded
from qiao.engine.pricing import document
from qiao.engine.records import Agreement, Attempt, Payment, Subscription, read
from qiao.engine.runtime import Engine, Scope
from qiao.engine.sending import primed
from qiao.store.sql import load_statements
from qiao.telemetry.tracing import traced, traceparent

PAYMENTS = load_statements("payments")
SQL = load_statements("subscriptions")
CHARGING: Final = sorted(CHARGING_SUBSCRIPTIONS)


@traced("charge")
async def charge(
    engine: Engine, subscription: Subscription, agreement: Agreement, payment: Payment
) -> Attempt | None:
    """Charge it once; the attempt with what came of it.

    None when nothing may be charged any more, or an earlier attempt may still bring money. Raises
    InvalidInput for what the channel would not take, and Conflict when the account cannot be used,
    who is paid is suspended, or a limit would be passed.
    """
    for _ in range(STARTS):
        account = await engine.accounts.of_id(agreement.merchant_id, agreement.account_id)
        attempt_id = engine.new_id(IdKind.ATTEMPT)
        operation = _operation(engine, account, agreement, payment, order_number(attempt_id))
        held, started = True, None
        try:
            held, started = await _start(engine, subscription, account, payment, attempt_id)
        except asyncpg.UniqueViolationError:
            return None
        except asyncpg.PostgresError as error:
            if (refused := limit_exceeded(error)) is not None:
                raise refused from None
            raise
        finally:
            if started is None:
                operation.close()
        if started is not None:
            return await send(engine, account, started, operation, verb="charge")
        if not held:
            return None
        engine.accounts.forget(agreement.merchant_id)
    scope = Scope(merchant_id=agreement.merchant_id, live=agreement.live)
    await check_taking(engine, scope, payment.app_id)
    raise Conflict(
        "the agreement's account is disabled, or the payment is not open",
        code="account_unavailable",
        field="agreement_id",
        remedy="enable the account: qiao account enable",
    )


async def _start(
    engine: Engine, subscription: Subscription, account: Account, payment: Payment, attempt_id: str
) -> tuple[bool, Attempt | None]:
    """Whether it may be charged, and the attempt; None when the account is not what it was."""
    scope = Scope(merchant_id=payment.merchant_id, live=payment.live)
    kind = (account, Product.AGREEMENT, payment.currency)
    price = await price_of(engine, scope, *kind, payment.app_id)
    cost = await cost_of(engine, scope, *kind)
    async with engine.database.transaction() as queries:
        held = await queries.fetch_value(
            SQL.hold_for_charge,
            subscription.merchant_id,
            subscription.subscription_id,
            CHARGING,
            payment.payment_id,
            engine.now(),
        )
        if held is None:
            return False, None
        row = await queries.fetch_row(
            PAYMENTS.start_attempt,
            payment.merchant_id,
            payment.payment_id,
            attempt_id,
            account.account_id,
            account.channel_id,
            Product.AGREEMENT,
            order_number(attempt_id),
            LEASE,
            OPEN,
            None,
            None,
            engine.now(),
            account.version,
            traceparent(),
            *(None, None),  # nothing chose the account but the agreement, and it replaces none
            document(price),
            document(cost),
        )
    return True, None if row is None else read(Attempt, row)


def _operation(
    engine: Engine, account: Account, agreement: Agreement, payment: Payment, reference: str
) -> Operation[PaymentOutcome]:
    """The channel's operation, run up to its first request. Raises InvalidInput."""
    request = AgreementCharge(
        reference=reference,
        amount=payment.amount,
        agreement_reference=agreement.channel_reference or "",
        description=payment.description,
        notify_url=engine.notify_url(account.merchant_id, account.account_id),
    )
    return primed(cast("Agreements", account.channel).charge(request, engine.context))
