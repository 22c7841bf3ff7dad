"""How each verb is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

from qiao.channels.conformance.driving import Run, run
from qiao.channels.conformance.expected import EXPECTED
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.vocabulary import Forgery, NotApplicable, Situation, Status, Verb
from qiao.channels.disputes import DisputeQuery, DisputeReply, DisputeSpan
from qiao.channels.interface import (
    CAPABILITY_PROTOCOLS,
    Agreements,
    Capability,
    Channel,
    CodeReversal,
    PayerIdentity,
    ProfitSharing,
    SeparateCapture,
    ShareReceivers,
    ShareReturns,
    Statements,
    Transfers,
)
from qiao.channels.requests import (
    AgreementQuery,
    AgreementRequest,
    AuthorizationQuery,
    CaptureQuery,
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    ProfitSharingQuery,
    RefundQuery,
    ShareReturnQuery,
    StatementRequest,
    TransferQuery,
)
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.ids import IdKind
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementOutcome,
    PaymentOutcome,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One verb, asked in one way. ``situation`` is the other side's, in the verb's first status."""

    title: str
    situation: Situation
    start: Callable[[Channel, Context], Operation[Any]]

    @property
    def statuses(self) -> Sequence[Status]:
        """The statuses that the verb must know. Only a scanned code is paid while it is asked."""
        known = EXPECTED[self.situation.verb]
        at_once = self.situation.product in (None, Product.CODE)
        return [s for s in known if at_once or s is not Status.SUCCEEDED]

    def told(self, status: Status) -> Situation:
        return replace(self.situation, status=status)

    def run(
        self,
        harness: ConformanceHarness,
        situation: Situation,
        *,
        channel: Channel | None = None,
        respond: Callable[[int, HttpRequest], HttpResponse] | None = None,
        later_seconds: int = 0,
    ) -> Run:
        """The operation against the harness's counterpart, or against ``respond``."""
        context = harness.context(later_seconds=later_seconds)
        return run(
            lambda: self.start(channel or harness.channel, context),
            respond or (lambda _, request: harness.answer(request, situation)),
        )

    def asked(self, harness: ConformanceHarness, situation: Situation) -> Run:
        """A genuine run that asks something; NotApplicable for one that asks nothing."""
        genuine = self.run(harness, situation)
        if not genuine.requests and genuine.error is None:
            raise NotApplicable("it asks nothing of the channel")
        return genuine

    def forged_at(
        self, harness: ConformanceHarness, situation: Situation, index: int, forgery: Forgery
    ) -> Run:
        """The operation whose ``index``-th answer is forged, the others genuine."""
        forged = replace(situation, forgery=forgery)
        return self.run(
            harness,
            situation,
            respond=lambda i, r: harness.answer(r, forged if i == index else situation),
        )


def implemented(channel: Channel, capability: Capability) -> bool:
    """Whether the channel both declares the capability and has all its verbs."""
    verbs = CAPABILITY_PROTOCOLS[capability]
    return capability in channel.manifest.capabilities and all(
        callable(getattr(channel, verb, None)) for verb in verbs
    )


def trials(harness: ConformanceHarness, *, amount: Money | None = None) -> list[Trial]:
    """Every verb that the channel has, a payment once for each product."""
    amount = amount or harness.money()
    return [
        *(payment_trial(harness, product, amount) for product in products(harness)),
        *_payment_verbs(harness, amount),
        *refund_trials(harness, amount),
        *_optional_trials(harness, amount),
    ]


def products(harness: ConformanceHarness) -> list[Product]:
    """The products that the account declares, in an order of their own."""
    return sorted(harness.channel.manifest.products)


def situation(
    harness: ConformanceHarness, verb: Verb, status: Status, reference: str, amount: Money
) -> Situation:
    """The other side's view of an operation of ours about ``amount``."""
    return Situation(
        verb=verb,
        status=status,
        reference=reference,
        amount=amount,
        payment_reference=harness.number(IdKind.ATTEMPT),
        payment_amount=amount,
    )


def payment_trial(
    harness: ConformanceHarness, product: Product, amount: Money, *, count: int = 1
) -> Trial:
    """Ask for our ``count``-th payment."""
    number = harness.number(IdKind.ATTEMPT, count)
    request = harness.payment_request(product, number, amount)
    told = situation(harness, Verb.CREATE, Status.PENDING, number, amount)
    return Trial(
        title=f"create {product}",
        situation=replace(told, payment_reference=number, product=product),
        start=lambda channel, context: channel.create(request, context),
    )


def refund_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Give ``amount`` of a payment of twice as much (within limits) back, and ask about it."""
    number = harness.number(IdKind.REFUND, count)
    paid = Money(min(2 * amount.minor, harness.channel.manifest.max_minor), amount.currency)
    told = replace(
        situation(harness, Verb.REFUND, Status.SUCCEEDED, number, amount), payment_amount=paid
    )
    request = harness.refund_request(number, told.payment_reference, paid, amount)
    query = RefundQuery(reference=number, payment_reference=told.payment_reference, amount=amount)
    return [
        Trial(title="refund", situation=told, start=lambda c, x: c.refund(request, x)),
        Trial(
            title="query_refund",
            situation=replace(told, verb=Verb.QUERY_REFUND),
            start=lambda channel, context: channel.query_refund(query, context),
        ),
    ]


def _payment_verbs(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    number = harness.number(IdKind.ATTEMPT)
    query = PaymentQuery(reference=number, amount=amount)
    told = situation(harness, Verb.QUERY, Status.SUCCEEDED, number, amount)
    closing = replace(told, verb=Verb.CLOSE, status=Status.CLOSED)
    result = [
        Trial(title="query", situation=told, start=lambda c, x: c.query(query, x)),
        Trial(title="close", situation=closing, start=lambda c, x: c.close(query, x)),
    ]
    if implemented(harness.channel, Capability.CODE_REVERSAL):
        reversing = replace(closing, verb=Verb.REVERSE, product=Product.CODE)
        result.append(
            Trial(
                title="reverse",
                situation=reversing,
                start=lambda c, x: cast("CodeReversal", c).reverse(query, x),
            )
        )
    return result


def _optional_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    channel = harness.channel
    result: list[Trial] = []
    if implemented(channel, Capability.SEPARATE_CAPTURE):
        result += authorization_trials(harness, amount)
        result += capture_trials(harness, amount)
    if implemented(channel, Capability.AGREEMENTS):
        result += agreement_trials(harness, amount)
        result.append(charge_trial(harness, amount))
    if implemented(channel, Capability.TRANSFERS):
        result += transfer_trials(harness, amount)
    if implemented(channel, Capability.PROFIT_SHARING):
        result += sharing_trials(harness, amount)
    if implemented(channel, Capability.SHARE_RETURNS):
        result += return_trials(harness, amount)
    if implemented(channel, Capability.SHARE_RECEIVERS):
        result += receiver_trials(harness, amount)
    if implemented(channel, Capability.DISPUTES):
        result += dispute_trials(harness, amount)
    number = harness.number(IdKind.ATTEMPT)
    if implemented(channel, Capability.PAYER_IDENTITY):
        told = situation(harness, Verb.IDENTIFY, Status.SUCCEEDED, number, amount)
        result.append(
            Trial(
                title="identify",
                situation=told,
                start=lambda c, x: cast("PayerIdentity", c).identify("code-0001", x),
            )
        )
    if implemented(channel, Capability.STATEMENTS):
        told = situation(harness, Verb.DOWNLOAD_STATEMENT, Status.SUCCEEDED, number, amount)
        day = StatementRequest(day=(harness.now - timedelta(days=1)).date())
        result.append(
            Trial(
                title="download_statement",
                situation=told,
                start=lambda c, x: cast("Statements", c).download_statement(day, x),
            )
        )
    return result


def authorization_trials(
    harness: ConformanceHarness, amount: Money, *, count: int = 1
) -> list[Trial]:
    """Have ``amount`` held, once for each product, ask about it, and let it go."""
    result = []
    for product in sorted(harness.channel.manifest.authorization_products):
        trial = payment_trial(harness, product, amount, count=count)
        request = harness.payment_request(product, trial.situation.reference, amount)
        result.append(
            Trial(
                title=f"authorize {product}",
                situation=replace(trial.situation, verb=Verb.AUTHORIZE),
                start=partial(_authorize, request),
            )
        )
    number = harness.number(IdKind.ATTEMPT, count)
    query = AuthorizationQuery(reference=number, amount=amount)
    told = situation(harness, Verb.QUERY_AUTHORIZATION, Status.SUCCEEDED, number, amount)
    told = replace(told, payment_reference=number)
    return [
        *result,
        Trial(
            title="query_authorization",
            situation=told,
            start=lambda c, x: cast("SeparateCapture", c).query_authorization(query, x),
        ),
        Trial(
            title="void",
            situation=replace(told, verb=Verb.VOID, status=Status.CLOSED),
            start=lambda c, x: cast("SeparateCapture", c).void(query, x),
        ),
    ]


def _authorize(
    request: PaymentRequest, channel: Channel, context: Context
) -> Operation[PaymentOutcome]:
    return cast("SeparateCapture", channel).authorize(request, context)


def capture_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Take ``amount`` of an authorization of twice as much (within limits), and ask about it."""
    number = harness.number(IdKind.CAPTURE, count)
    held = Money(min(2 * amount.minor, harness.channel.manifest.max_minor), amount.currency)
    told = replace(
        situation(harness, Verb.CAPTURE, Status.SUCCEEDED, number, amount), payment_amount=held
    )
    authorization = AuthorizationQuery(
        reference=told.payment_reference,
        amount=held,
        channel_reference="2026011510002001000000000001",
    )
    request = harness.capture_request(number, authorization, amount)
    query = CaptureQuery(reference=number, amount=amount, authorization=authorization)
    return [
        Trial(
            title="capture",
            situation=told,
            start=lambda c, x: cast("SeparateCapture", c).capture(request, x),
        ),
        Trial(
            title="query_capture",
            situation=replace(told, verb=Verb.QUERY_CAPTURE),
            start=lambda c, x: cast("SeparateCapture", c).query_capture(query, x),
        ),
    ]


def agreement_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Have an agreement of at most ``amount`` a period signed, ask about it, and end it."""
    number = harness.number(IdKind.CAPTURE, 1000 + count)
    query = AgreementQuery(reference=number, plan=harness.plan)
    told = situation(harness, Verb.QUERY_AGREEMENT, Status.SUCCEEDED, number, amount)
    result = []
    for product in sorted(harness.channel.manifest.agreement_products):
        request = harness.agreement_request(product, number, amount)
        result.append(
            Trial(
                title=f"sign {product}",
                situation=replace(told, verb=Verb.SIGN, status=Status.PENDING, product=product),
                start=partial(_sign, request),
            )
        )
    return [
        *result,
        Trial(
            title="query_agreement",
            situation=told,
            start=lambda c, x: cast("Agreements", c).query_agreement(query, x),
        ),
        Trial(
            title="end_agreement",
            situation=replace(told, verb=Verb.END_AGREEMENT, status=Status.CLOSED),
            start=lambda c, x: cast("Agreements", c).end_agreement(query, x),
        ),
    ]


def _sign(
    request: AgreementRequest, channel: Channel, context: Context
) -> Operation[AgreementOutcome]:
    return cast("Agreements", channel).sign(request, context)


def charge_trial(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> Trial:
    """Charge ``amount`` by an agreement."""
    number = harness.number(IdKind.ATTEMPT, count)
    request = harness.agreement_charge(number, amount)
    told = situation(harness, Verb.CHARGE, Status.SUCCEEDED, number, amount)
    return Trial(
        title="charge",
        situation=replace(told, payment_reference=number),
        start=lambda c, x: cast("Agreements", c).charge(request, x),
    )


def transfer_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Pay ``amount`` out, and ask about it."""
    number = harness.number(IdKind.REFUND, 1000 + count)
    told = situation(harness, Verb.TRANSFER, Status.SUCCEEDED, number, amount)
    request = harness.transfer_request(number, amount)
    query = TransferQuery(reference=number, amount=amount)
    return [
        Trial(
            title="transfer",
            situation=told,
            start=lambda c, x: cast("Transfers", c).transfer(request, x),
        ),
        Trial(
            title="query_transfer",
            situation=replace(told, verb=Verb.QUERY_TRANSFER),
            start=lambda c, x: cast("Transfers", c).query_transfer(query, x),
        ),
    ]


def sharing_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Give ``amount`` of a payment to a receiver, and ask about it."""
    number = harness.number(IdKind.REFUND, 2000 + count)
    told = situation(harness, Verb.SHARE_PROFIT, Status.SUCCEEDED, number, amount)
    request = harness.profit_sharing_request(number, told.payment_reference, amount)
    query = ProfitSharingQuery(
        reference=number,
        payment_reference=request.payment_reference,
        payment_channel_reference=request.payment_channel_reference,
        amount=amount,
        shares=request.shares,
    )
    return [
        Trial(
            title="share_profit",
            situation=told,
            start=lambda c, x: cast("ProfitSharing", c).share_profit(request, x),
        ),
        Trial(
            title="query_profit_sharing",
            situation=replace(told, verb=Verb.QUERY_PROFIT_SHARING),
            start=lambda c, x: cast("ProfitSharing", c).query_profit_sharing(query, x),
        ),
    ]


def return_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Have a receiver give ``amount`` of its share back, and ask about it."""
    number = harness.number(IdKind.REFUND, 3000 + count)
    told = situation(harness, Verb.RETURN_SHARE, Status.SUCCEEDED, number, amount)
    request = harness.share_return_request(number, told.payment_reference, amount)
    query = ShareReturnQuery(
        reference=number,
        amount=amount,
        sharing_reference=request.sharing_reference,
        payment_reference=request.payment_reference,
        payment_channel_reference=request.payment_channel_reference,
        share=request.share,
    )
    return [
        Trial(
            title="return_share",
            situation=told,
            start=lambda c, x: cast("ShareReturns", c).return_share(request, x),
        ),
        Trial(
            title="query_share_return",
            situation=replace(told, verb=Verb.QUERY_SHARE_RETURN),
            start=lambda c, x: cast("ShareReturns", c).query_share_return(query, x),
        ),
    ]


def receiver_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    """Bind a receiver of shares, and unbind it: ``amount`` is of no matter to the other side."""
    request = harness.receiver_request(harness.number(IdKind.SHARE_RECEIVER))
    told = situation(harness, Verb.BIND_RECEIVER, Status.SUCCEEDED, request.reference, amount)
    return [
        Trial(
            title="bind_receiver",
            situation=told,
            start=lambda c, x: cast("ShareReceivers", c).bind_receiver(request, x),
        ),
        Trial(
            title="unbind_receiver",
            situation=replace(told, verb=Verb.UNBIND_RECEIVER),
            start=lambda c, x: cast("ShareReceivers", c).unbind_receiver(request, x),
        ),
    ]


def dispute_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    """List the disputes of a day, ask about one, reply to it and end it."""
    number = harness.dispute_number
    told = situation(harness, Verb.QUERY_DISPUTE, Status.SUCCEEDED, number, amount)
    query, reply = DisputeQuery(number=number), DisputeReply(number=number, text="We are sorry.")
    span = DisputeSpan(since=harness.now - timedelta(days=1), until=harness.now)
    asks: dict[Verb, Callable[[Any, Context], Operation[Any]]] = {
        Verb.LIST_DISPUTES: lambda c, x: c.list_disputes(span, x),
        Verb.QUERY_DISPUTE: lambda c, x: c.query_dispute(query, x),
        Verb.REPLY_TO_DISPUTE: lambda c, x: c.reply_to_dispute(reply, x),
        Verb.FINISH_DISPUTE: lambda c, x: c.finish_dispute(reply, x),
    }
    return [
        Trial(title=verb, situation=replace(told, verb=verb), start=start)
        for verb, start in asks.items()
    ]
