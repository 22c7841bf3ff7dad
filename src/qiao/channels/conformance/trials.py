"""How each verb is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from qiao.channels.conformance.driving import Run, run
from qiao.channels.conformance.expected import EXPECTED
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.vocabulary import Forgery, NotApplicable, Situation, Status, Verb
from qiao.channels.disputes import DisputeQuery, DisputeReply, DisputeSpan
from qiao.channels.interface import CAPABILITY_PROTOCOLS, Capability, Channel
from qiao.channels.requests import (
    AgreementQuery,
    AuthorizationQuery,
    CaptureQuery,
    Context,
    PaymentQuery,
    Product,
    ProfitSharingQuery,
    RefundQuery,
    StatementRequest,
    TransferQuery,
)
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.ids import IdKind
from qiao.domain.money import Money

Start = Callable[[Any, Context], Operation[Any]]
"""A verb of a channel, asked: of any, because no one protocol has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One verb, asked in one way. ``situation`` is the other side's, in the verb's first status."""

    title: str
    situation: Situation
    start: Start

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


def _told(harness: ConformanceHarness, reference: str, amount: Money, **more: Any) -> Situation:
    """The same for :func:`_asking`, which fills in the verb; ``more`` are facts of their own."""
    told = situation(harness, Verb.QUERY, Status.SUCCEEDED, reference, amount)
    return replace(told, **more)


def _asking(told: Situation, asks: Mapping[Verb, Start]) -> list[Trial]:
    """A trial of each verb, in the status that its table of expectations begins with."""
    return [
        Trial(
            title=f"{verb} {told.product}" if told.product else verb,
            situation=replace(told, verb=verb, status=next(iter(EXPECTED[verb]))),
            start=start,
        )
        for verb, start in asks.items()
    ]


def payment_trial(
    harness: ConformanceHarness, product: Product, amount: Money, *, count: int = 1
) -> Trial:
    """Ask for our ``count``-th payment."""
    return _by_product(harness, product, amount, count, Verb.CREATE)


def _by_product(
    harness: ConformanceHarness, product: Product, amount: Money, count: int, verb: Verb
) -> Trial:
    number = harness.number(IdKind.ATTEMPT, count)
    request = harness.payment_request(product, number, amount)
    told = _told(harness, number, amount, payment_reference=number, product=product)
    [trial] = _asking(told, {verb: lambda c, x: getattr(c, verb)(request, x)})
    return trial


def refund_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Give ``amount`` of a payment of twice as much (within limits) back, and ask about it."""
    number = harness.number(IdKind.REFUND, count)
    paid = _twice(harness, amount)
    told = _told(harness, number, amount, payment_amount=paid)
    request = harness.refund_request(number, told.payment_reference, paid, amount)
    query = RefundQuery(reference=number, payment_reference=told.payment_reference, amount=amount)
    return _asking(
        told,
        {
            Verb.REFUND: lambda c, x: c.refund(request, x),
            Verb.QUERY_REFUND: lambda c, x: c.query_refund(query, x),
        },
    )


def _twice(harness: ConformanceHarness, amount: Money) -> Money:
    return Money(min(2 * amount.minor, harness.channel.manifest.max_minor), amount.currency)


def _payment_verbs(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    number = harness.number(IdKind.ATTEMPT)
    query = PaymentQuery(reference=number, amount=amount)
    told = _told(harness, number, amount)
    result = _asking(
        told,
        {
            Verb.QUERY: lambda c, x: c.query(query, x),
            Verb.CLOSE: lambda c, x: c.close(query, x),
        },
    )
    if implemented(harness.channel, Capability.CODE_REVERSAL):
        [reversing] = _asking(told, {Verb.REVERSE: lambda c, x: c.reverse(query, x)})
        scanned = replace(reversing.situation, product=Product.CODE)
        result.append(replace(reversing, situation=scanned))
    return result


def _optional_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    by_capability: dict[Capability, Callable[[], list[Trial]]] = {
        Capability.SEPARATE_CAPTURE: lambda: [
            *authorization_trials(harness, amount),
            *capture_trials(harness, amount),
        ],
        Capability.AGREEMENTS: lambda: [
            *agreement_trials(harness, amount),
            charge_trial(harness, amount),
        ],
        Capability.TRANSFERS: lambda: transfer_trials(harness, amount),
        Capability.PROFIT_SHARING: lambda: sharing_trials(harness, amount),
        Capability.SHARE_RETURNS: lambda: return_trials(harness, amount),
        Capability.SHARE_RECEIVERS: lambda: _receiver_trials(harness, amount),
        Capability.DISPUTES: lambda: _dispute_trials(harness, amount),
        Capability.PAYER_IDENTITY: lambda: _payer_trials(harness, amount),
        Capability.STATEMENTS: lambda: _statement_trials(harness, amount),
    }
    return [
        trial
        for capability, of_it in by_capability.items()
        if implemented(harness.channel, capability)
        for trial in of_it()
    ]


def authorization_trials(
    harness: ConformanceHarness, amount: Money, *, count: int = 1
) -> list[Trial]:
    """Have ``amount`` held, once for each product, ask about it, and let it go."""
    products = sorted(harness.channel.manifest.authorization_products)
    number = harness.number(IdKind.ATTEMPT, count)
    query = AuthorizationQuery(reference=number, amount=amount)
    return [
        *(_by_product(harness, product, amount, count, Verb.AUTHORIZE) for product in products),
        *_asking(
            _told(harness, number, amount, payment_reference=number),
            {
                Verb.QUERY_AUTHORIZATION: lambda c, x: c.query_authorization(query, x),
                Verb.VOID: lambda c, x: c.void(query, x),
            },
        ),
    ]


def capture_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Take ``amount`` of an authorization of twice as much (within limits), and ask about it."""
    number = harness.number(IdKind.CAPTURE, count)
    held = _twice(harness, amount)
    told = _told(harness, number, amount, payment_amount=held)
    authorization = AuthorizationQuery(
        reference=told.payment_reference,
        amount=held,
        channel_reference="2026011510002001000000000001",
    )
    request = harness.capture_request(number, authorization, amount)
    query = CaptureQuery(reference=number, amount=amount, authorization=authorization)
    return _asking(
        told,
        {
            Verb.CAPTURE: lambda c, x: c.capture(request, x),
            Verb.QUERY_CAPTURE: lambda c, x: c.query_capture(query, x),
        },
    )


def agreement_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Have an agreement of at most ``amount`` a period signed, ask about it, and end it."""
    number = harness.number(IdKind.CAPTURE, 1000 + count)
    query = AgreementQuery(reference=number, plan=harness.plan)
    told = _told(harness, number, amount)

    def signing(product: Product) -> list[Trial]:
        request = harness.agreement_request(product, number, amount)
        asked = replace(told, product=product)
        return _asking(asked, {Verb.SIGN: lambda c, x: c.sign(request, x)})

    products = sorted(harness.channel.manifest.agreement_products)
    return [
        *(trial for product in products for trial in signing(product)),
        *_asking(
            told,
            {
                Verb.QUERY_AGREEMENT: lambda c, x: c.query_agreement(query, x),
                Verb.END_AGREEMENT: lambda c, x: c.end_agreement(query, x),
            },
        ),
    ]


def charge_trial(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> Trial:
    """Charge ``amount`` by an agreement."""
    number = harness.number(IdKind.ATTEMPT, count)
    request = harness.agreement_charge(number, amount)
    told = _told(harness, number, amount, payment_reference=number)
    [trial] = _asking(told, {Verb.CHARGE: lambda c, x: c.charge(request, x)})
    return trial


def transfer_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Pay ``amount`` out, and ask about it."""
    number = harness.number(IdKind.REFUND, 1000 + count)
    request = harness.transfer_request(number, amount)
    query = TransferQuery(reference=number, amount=amount)
    return _asking(
        _told(harness, number, amount),
        {
            Verb.TRANSFER: lambda c, x: c.transfer(request, x),
            Verb.QUERY_TRANSFER: lambda c, x: c.query_transfer(query, x),
        },
    )


def sharing_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Give ``amount`` of a payment to a receiver, and ask about it."""
    number = harness.number(IdKind.REFUND, 2000 + count)
    told = _told(harness, number, amount)
    request = harness.profit_sharing_request(number, told.payment_reference, amount)
    query = ProfitSharingQuery(
        reference=number,
        payment_reference=request.payment_reference,
        payment_channel_reference=request.payment_channel_reference,
        amount=amount,
        shares=request.shares,
    )
    return _asking(
        told,
        {
            Verb.SHARE_PROFIT: lambda c, x: c.share_profit(request, x),
            Verb.QUERY_PROFIT_SHARING: lambda c, x: c.query_profit_sharing(query, x),
        },
    )


def return_trials(harness: ConformanceHarness, amount: Money, *, count: int = 1) -> list[Trial]:
    """Have a receiver give ``amount`` of its share back, and ask about it."""
    number = harness.number(IdKind.REFUND, 3000 + count)
    told = _told(harness, number, amount)
    request = harness.share_return_request(number, told.payment_reference, amount)
    return _asking(
        told,
        {
            Verb.RETURN_SHARE: lambda c, x: c.return_share(request, x),
            Verb.QUERY_SHARE_RETURN: lambda c, x: c.query_share_return(request, x),
        },
    )


def _receiver_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    """Bind a receiver of shares, and unbind it: ``amount`` is of no matter to the other side."""
    request = harness.receiver_request(harness.number(IdKind.SHARE_RECEIVER))
    return _asking(
        _told(harness, request.reference, amount),
        {
            Verb.BIND_RECEIVER: lambda c, x: c.bind_receiver(request, x),
            Verb.UNBIND_RECEIVER: lambda c, x: c.unbind_receiver(request, x),
        },
    )


def _dispute_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    """List the disputes of a day, ask about one, reply to it and end it."""
    number = harness.dispute_number
    query, reply = DisputeQuery(number=number), DisputeReply(number=number, text="We are sorry.")
    span = DisputeSpan(since=harness.now - timedelta(days=1), until=harness.now)
    return _asking(
        _told(harness, number, amount),
        {
            Verb.LIST_DISPUTES: lambda c, x: c.list_disputes(span, x),
            Verb.QUERY_DISPUTE: lambda c, x: c.query_dispute(query, x),
            Verb.REPLY_TO_DISPUTE: lambda c, x: c.reply_to_dispute(reply, x),
            Verb.FINISH_DISPUTE: lambda c, x: c.finish_dispute(reply, x),
        },
    )


def _payer_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    told = _told(harness, harness.number(IdKind.ATTEMPT), amount)
    return _asking(told, {Verb.IDENTIFY: lambda c, x: c.identify("code-0001", x)})


def _statement_trials(harness: ConformanceHarness, amount: Money) -> list[Trial]:
    day = StatementRequest(day=(harness.now - timedelta(days=1)).date())
    told = _told(harness, harness.number(IdKind.ATTEMPT), amount)
    return _asking(told, {Verb.DOWNLOAD_STATEMENT: lambda c, x: c.download_statement(day, x)})
