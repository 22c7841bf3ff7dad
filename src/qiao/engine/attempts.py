"""Attempt a payment on a channel, and ask about it until its outcome is known.

The attempt is committed as *sending* before the first byte goes out, together with the job that
asks about it: a process that dies here loses nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from qiao.channels.requests import PaymentRequest, Product
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.domain.ids import IdKind, order_number
from qiao.domain.outcomes import Declined, NotFound, NotSent, PaymentOutcome, Pending, Unknown
from qiao.domain.states import AttemptState, PaymentState
from qiao.engine import holds
from qiao.engine.accounts import Account
from qiao.engine.calls import Verb, call
from qiao.engine.errors import Conflict
from qiao.engine.failover import fail_over, is_dead_by_the_accounts_fault, last_in_place_of
from qiao.engine.organisations import check_taking
from qiao.engine.payment_limits import limit_exceeded
from qiao.engine.payments import NewPayment, Order, attempts_of, replayed, show
from qiao.engine.pricing import document
from qiao.engine.records import Attempt, Payment, read
from qiao.engine.routing.choosing import choose
from qiao.engine.routing.health import want_measuring
from qiao.engine.routing.wanted import ANY_CHANNEL, Wanted
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.engine.sending import primed
from qiao.engine.settlement import NEVER_HEARD_OF, close_attempt, not_sent, settle
from qiao.store.outbox import enqueue
from qiao.store.sql import load_statements
from qiao.telemetry.tracing import traced, traceparent

SQL = load_statements("payments")
OPEN: Final = [PaymentState.OPEN]
"""An attempt starts only where no money is held yet, and none has come."""
STARTS: Final = 2
"""How often to try to start an attempt: an account that is held may have changed meanwhile."""
LEASE: Final = timedelta(seconds=30)
"""How long a sending may take; after that whoever asks takes it for lost, and asks the channel."""
SETTLING_WINDOW: Final = timedelta(minutes=10)
"""How long a channel may take to know a number that it was sent."""
CODE_WINDOW: Final = timedelta(seconds=60)
"""How long a customer may take over a code payment before it is taken back."""
CODE_PACE_SECONDS: Final = 3.0
LATE_PACE_SECONDS: Final = 3600.0
EARLY: Final = timedelta(days=1)
EARLY_PACE_SECONDS: Final = 600.0
"""The slowest for a day: what a channel that was away for hours left open is settled in minutes."""
GIVEN_UP: Final = "given up: the channel did not know it"
UNATTENDED: Final = frozenset({Product.CODE, Product.AGREEMENT})
"""Products whose money may come without a further act of the customer."""
UNSETTLED: Final = frozenset({AttemptState.SENDING, AttemptState.PENDING, AttemptState.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How the customer wants to pay; ``payer`` and ``auth_code`` as in PaymentRequest.

    ``channel`` may be ``auto``: the routing rules decide. ``country``, ``device`` and
    ``preference`` (a channel) are for them only.
    """

    channel: str
    product: Product
    payer: str | None = field(default=None, repr=False)
    auth_code: str | None = field(default=None, repr=False)
    client_ip: str | None = field(default=None, repr=False)
    return_url: str | None = None
    country: str | None = None
    device: str | None = None
    preference: str | None = None
    account_id: str | None = None
    """The account whose app told the payer's id; no other one will do."""

    def wanted(
        self, order: Payment | Order, subject: str, at: datetime, *, app_id: str | None
    ) -> Wanted:
        """What routing rules are asked about, for the payment whose id is ``subject``."""
        return Wanted(
            subject=subject,
            amount=order.amount,
            product=self.product,
            channel=self.channel,
            at=at,
            methods=tuple(order.methods),
            metadata=order.metadata,
            country=self.country,
            device=self.device,
            preference=self.preference,
            code_prefix=self.auth_code[:2] if self.auth_code else None,
            app_id=app_id,
            capture=order.capture,
            profit_sharing=order.profit_sharing,
            account_id=self.account_id,
        )


@traced("attempt")
async def attempt(
    engine: Engine,
    scope: Scope,
    payment_id: str,
    method: Method,
    *,
    key: IdempotencyKey | None = None,
) -> Attempt:
    """Ask the channel for the payment; give back the attempt with what came of it.

    The same method again gives the attempt that still waits. Raises Missing, InvalidInput,
    NoRoute, and Conflict when the payment is not open, an earlier attempt is not proven dead, who
    is paid is suspended, or a limit would be passed.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        return await _answered_before(engine, scope, payment_id, known)
    payment = await show(engine, scope, payment_id)
    _check_open(engine, payment, method)
    for earlier in reversed(await attempts_of(engine, payment)):
        if earlier.state not in UNSETTLED:
            continue
        if _same(earlier, method):
            return await _resend(engine, payment, earlier, method)
        await _give_up(engine, earlier)
    for _ in range(STARTS):
        if (started := await _start(engine, scope, payment, method, key)) is not None:
            return await or_another(engine, scope, payment, method, started)
        engine.accounts.forget(scope.merchant_id)
    await check_taking(engine, scope, payment.app_id)
    raise _not_open()


async def _answered_before(
    engine: Engine, scope: Scope, payment_id: str, attempt_id: str
) -> Attempt:
    """What the request came to that made this attempt: another may have replaced it."""
    known = await attempt_of_id(engine, scope.merchant_id, attempt_id)
    if not is_dead_by_the_accounts_fault(known):
        return known
    payment = await show(engine, scope, payment_id)
    return last_in_place_of(attempt_id, await attempts_of(engine, payment)) or known


async def or_another(
    engine: Engine, scope: Scope, payment: Payment, method: Method, first: Attempt
) -> Attempt:
    """``first``, or what came of trying other accounts in its place."""

    async def start(dead: Attempt, tried: frozenset[str]) -> Attempt | None:
        return await _start(engine, scope, payment, method, None, dead=dead, tried=tried)

    return await fail_over(engine, scope, first, start)


async def _start(
    engine: Engine,
    scope: Scope,
    payment: Payment,
    method: Method,
    key: IdempotencyKey | None,
    *,
    dead: Attempt | None = None,
    tried: frozenset[str] = frozenset(),
) -> Attempt | None:
    """A new attempt; None when the payment is not open, or the account not what it was.

    It takes the place of ``dead``, on none of the accounts ``tried``.
    """
    wanted = method.wanted(payment, payment.payment_id, engine.now(), app_id=payment.app_id)
    choice = await choose(engine, scope, wanted, tried=tried)
    account = choice.account
    price = await price_of(engine, scope, account, method.product, payment.currency, payment.app_id)
    attempt_id = engine.new_id(IdKind.ATTEMPT)
    reference = order_number(attempt_id)
    operation = creation(engine, account, payment, method, reference)
    try:
        row = await engine.database.fetch_row(
            SQL.start_attempt,
            scope.merchant_id,
            payment.payment_id,
            attempt_id,
            account.account_id,
            account.channel_id,
            method.product,
            reference,
            LEASE,
            OPEN,
            key.key if key else None,
            key.body_digest if key else None,
            engine.now(),
            account.version,
            traceparent(),
            choice.document,
            dead.attempt_id if dead else None,
            document(price),
            document(choice.cost),
        )
    except asyncpg.UniqueViolationError:
        operation.close()
        raise _in_progress() from None
    except asyncpg.PostgresError as error:
        operation.close()
        if (refused := limit_exceeded(error)) is not None:
            raise refused from None
        raise
    if row is None:
        operation.close()
        return None
    return await send(engine, account, read(Attempt, row), operation)


async def price_of(
    engine: Engine,
    scope: Scope,
    account: Account,
    product: Product,
    currency: str,
    app_id: str | None,
) -> Fee | None:
    """What the operator charges for an attempt that starts now; None when nothing."""
    return await engine.prices.fee(
        scope.merchant_id,
        live=scope.live,
        app_id=app_id,
        channel=account.channel_id,
        product=product,
        currency=currency,
    )


async def cost_of(
    engine: Engine, scope: Scope, account: Account, product: Product, currency: str
) -> Fee | None:
    """What the account takes, where a fee line of the routing rules tells it."""
    known = await engine.routing.of(scope.merchant_id, live=scope.live)
    return known.rules.fee(account.called, product, currency)


async def send(
    engine: Engine,
    account: Account,
    started: Attempt,
    operation: Operation[PaymentOutcome],
    *,
    verb: Verb = "create",
) -> Attempt:
    """Let the operation of an attempt go out, and settle what comes of it."""
    outcome = await call(engine, account, verb, operation)
    if isinstance(outcome, NotSent):
        now = await not_sent(engine, started, outcome.reason)
    else:
        now = await settle(engine, started, outcome)
    if now is None:
        now = await attempt_of_id(engine, started.merchant_id, started.attempt_id)
    await want_measuring(engine, started, trouble=isinstance(outcome, NotSent | Unknown))
    return await _hurried(engine, now)


async def _resend(engine: Engine, payment: Payment, earlier: Attempt, method: Method) -> Attempt:
    """The earlier attempt; when its answer was lost, what the channel says to it told again.

    Channels know an order by its number: told twice it is the same order. The customer got
    nothing of the first telling, so this is what brings the payment on.
    """
    shown = earlier.action is not None and earlier.action["type"] != "await_customer"
    if earlier.state is AttemptState.SENDING or shown:
        return earlier
    account = await engine.accounts.of_id(earlier.merchant_id, earlier.account_id)
    operation = creation(engine, account, payment, method, earlier.reference)
    outcome = await call(engine, account, "create", operation)
    now = None
    if not isinstance(outcome, Declined):  # "known already" is no proof that it was not paid
        now = await settle(engine, earlier, outcome)
    return now or await attempt_of_id(engine, earlier.merchant_id, earlier.attempt_id)


async def _hurried(engine: Engine, attempt: Attempt) -> Attempt:
    """Ask sooner than the lease says, where somebody is waiting at a till or an answer was lost."""
    waits = attempt.product is Product.CODE and attempt.state is AttemptState.PENDING
    if waits or attempt.state is AttemptState.UNKNOWN:
        await enqueue(
            engine.database,
            merchant_id=attempt.merchant_id,
            kind="query_attempt",
            subject_id=attempt.attempt_id,
            run_at=engine.now() + timedelta(seconds=CODE_PACE_SECONDS),
        )
        engine.wake()
    return attempt


def creation(
    engine: Engine,
    account: Account,
    order: Payment | NewPayment,
    method: Method,
    reference: str,
) -> Operation[PaymentOutcome]:
    """The channel's operation, run up to its first request. Raises InvalidInput."""
    manifest = account.channel.manifest
    if order.profit_sharing and not account.shares:
        raise InvalidInput(
            f"{manifest.id} shares no payments",
            field="method.channel",
            remedy="choose a channel with profit sharing, see: qiao channels; "
            "or accept an order without profit_sharing",
        )
    request = PaymentRequest(
        reference=reference,
        amount=order.amount,
        product=method.product,
        description=order.description,
        notify_url=engine.notify_url(account.merchant_id, account.account_id),
        expires_at=order.expires_at,
        return_url=method.return_url,
        payer=method.payer,
        auth_code=method.auth_code,
        client_ip=method.client_ip,
        profit_sharing=order.profit_sharing,
    )
    return primed(holds.asking(engine, account, request, order.capture))


async def attempt_of_id(engine: Engine, merchant_id: str, attempt_id: str) -> Attempt:
    """The attempt as it is now."""
    row = await engine.database.fetch_row(SQL.attempt_of_id, merchant_id, attempt_id)
    if row is None:
        raise LookupError(attempt_id)
    return read(Attempt, row)


async def ask(engine: Engine, attempt: Attempt) -> Attempt:
    """Ask the channel about an attempt that is not settled, and settle what it says."""
    now = engine.now()
    if attempt.state is AttemptState.SENDING and now < attempt.sent_at + LEASE:
        return attempt  # somebody waits for its answer
    if attempt.state is AttemptState.SENDING:
        await settle(engine, attempt, Unknown(reason=NEVER_HEARD_OF))
        attempt = await attempt_of_id(engine, attempt.merchant_id, attempt.attempt_id)
    account = await engine.accounts.of_id(attempt.merchant_id, attempt.account_id)
    late = now > attempt.sent_at + CODE_WINDOW and attempt.product is Product.CODE
    verb: Verb = "query"
    operation = None
    if late and attempt.state is not AttemptState.AUTHORIZED:
        verb, operation = "reverse", holds.take_back(engine, account, attempt)
    if operation is None:
        verb, operation = "query", holds.query(engine, account, attempt)
    outcome = await call(engine, account, verb, operation)
    if isinstance(outcome, Pending) and _given_up(attempt):
        outcome = await call(engine, account, "close", holds.end(engine, account, attempt))
    if isinstance(outcome, NotFound):
        if _never_will_be_known(attempt, engine):
            await close_attempt(engine, attempt, GIVEN_UP)
    else:
        await settle(engine, attempt, outcome)
    return await attempt_of_id(engine, attempt.merchant_id, attempt.attempt_id)


async def close_on_channel(engine: Engine, attempt: Attempt) -> Attempt:
    """Have the channel close an attempt that is not settled; settles what it says.

    A channel may not know a number whose QR the customer was shown and has not used (Alipay), or
    whose answer was lost; then it has nothing to close. The attempt is given up, and asked about
    until the order has expired: should its money come after all, that is surplus and goes back.
    A code payment, or a charge by an agreement, is not given up so easily: it takes no further act
    of the customer.
    """
    account = await engine.accounts.of_id(attempt.merchant_id, attempt.account_id)
    outcome = await call(engine, account, "close", holds.end(engine, account, attempt))
    if isinstance(outcome, NotFound):
        if attempt.product not in UNATTENDED or _never_will_be_known(attempt, engine):
            await close_attempt(engine, attempt, GIVEN_UP)
    else:
        await settle(engine, attempt, outcome)
    return await attempt_of_id(engine, attempt.merchant_id, attempt.attempt_id)


def watch_seconds(attempt: Attempt, now: datetime) -> float | None:
    """In how long to ask the channel again, less and less often; None when nothing is to ask."""
    age = (now - attempt.sent_at).total_seconds()
    if attempt.state in UNSETTLED:
        at_till = attempt.product is Product.CODE and age < CODE_WINDOW.total_seconds()
        return CODE_PACE_SECONDS if at_till else slowest(age, max(age / 4, 2.0))
    if _given_up(attempt) and now < attempt.expires_at + SETTLING_WINDOW:
        return slowest(age, max(age / 4, 60.0))
    return None


def slowest(age_seconds: float, pace_seconds: float) -> float:
    """The pace, or the slowest at which anything of that age is asked about, in seconds."""
    early = age_seconds < EARLY.total_seconds()
    return min(pace_seconds, EARLY_PACE_SECONDS if early else LATE_PACE_SECONDS)


def _given_up(attempt: Attempt) -> bool:
    return attempt.state is AttemptState.CLOSED and attempt.reason == GIVEN_UP


def _never_will_be_known(attempt: Attempt, engine: Engine) -> bool:
    """Whether a number that the channel does not know can bring no money any more.

    A lost sending gave the customer nothing to pay with: it is dead once the channel has had its
    time. What the customer was shown may be paid until the order expires at the channel.
    """
    shown = attempt.state is AttemptState.PENDING
    since = attempt.expires_at if shown else attempt.sent_at
    return engine.now() > since + SETTLING_WINDOW


async def _give_up(engine: Engine, earlier: Attempt) -> None:
    """Clear the way for another attempt. Raises Conflict when the earlier may still bring money."""
    if earlier.state is AttemptState.SENDING:
        earlier = await ask(engine, earlier)
    if earlier.state in UNSETTLED:
        earlier = await close_on_channel(engine, earlier)
    if earlier.state in UNSETTLED:
        raise _in_progress()


def _same(earlier: Attempt, method: Method) -> bool:
    channel = earlier.channel if method.channel == ANY_CHANNEL else method.channel
    interactive = method.auth_code is None
    return interactive and (earlier.channel, earlier.product) == (channel, method.product)


def _check_open(engine: Engine, payment: Payment, method: Method) -> None:
    if payment.methods and method.channel not in (*payment.methods, ANY_CHANNEL):
        raise InvalidInput(
            f"the order does not admit {method.channel!r}",
            field="method.channel",
            remedy=f"choose one of: {', '.join(payment.methods)}",
        )
    expired = payment.expires_at <= engine.now()
    if payment.state not in OPEN or expired or payment.close_requested_at is not None:
        raise _not_open()


def _not_open() -> Conflict:
    return Conflict(
        "the payment is not open: it is paid, closed, expired or being closed",
        code="payment_not_open",
        field="payment_id",
        remedy="accept a new order for another payment",
    )


def _in_progress() -> Conflict:
    return Conflict(
        "an earlier attempt may still bring money",
        code="attempt_in_progress",
        field="payment_id",
        remedy="wait until its outcome is known; it is being asked about",
    )
