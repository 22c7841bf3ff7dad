"""The numbers by which the other side recognises a repetition stay the same, and stay apart."""

from collections.abc import Callable

from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import (
    Trial,
    agreement_trials,
    authorization_trials,
    capture_trials,
    charge_trial,
    implemented,
    payment_trial,
    products,
    refund_trials,
    return_trials,
    sharing_trials,
    transfer_trials,
)
from qiao.channels.conformance.vocabulary import NotApplicable, Status, Verb, require
from qiao.channels.conformance.wires import understood
from qiao.channels.interface import Capability, Channel

Ask = Callable[[int], Trial]


def _payments(harness: ConformanceHarness) -> list[Ask]:
    def ask(product: str) -> Ask:
        return lambda count: payment_trial(
            harness,
            next(p for p in products(harness) if p == product),
            harness.money(),
            count=count,
        )

    return [ask(product) for product in products(harness)]


def _outgoing(harness: ConformanceHarness) -> list[Ask]:
    amount = harness.money()
    asks: list[Ask] = []
    if implemented(harness.channel, Capability.TRANSFERS):
        asks.append(lambda count: transfer_trials(harness, amount, count=count)[0])
    if implemented(harness.channel, Capability.PROFIT_SHARING):
        asks.append(lambda count: sharing_trials(harness, amount, count=count)[0])
    if implemented(harness.channel, Capability.SHARE_RETURNS):
        asks.append(lambda count: return_trials(harness, amount, count=count)[0])
    return asks


def _refunds(harness: ConformanceHarness) -> list[Ask]:
    return [lambda count: refund_trials(harness, harness.money(), count=count)[0]]


def _captures(harness: ConformanceHarness) -> list[Ask]:
    amount = harness.money()
    if not implemented(harness.channel, Capability.SEPARATE_CAPTURE):
        return []
    return [
        lambda count: capture_trials(harness, amount, count=count)[0],
        lambda count: authorization_trials(harness, amount, count=count)[-1],
    ]


def _charges(harness: ConformanceHarness) -> list[Ask]:
    amount = harness.money()
    if not implemented(harness.channel, Capability.AGREEMENTS):
        return []

    def about(place: int) -> Ask:
        return lambda count: agreement_trials(harness, amount, count=count)[place]

    signing = range(len(harness.channel.manifest.agreement_products))
    return [
        lambda count: charge_trial(harness, amount, count=count),
        *(about(place) for place in (*signing, -1)),
    ]


def _numbers(
    harness: ConformanceHarness, trial: Trial, channel: Channel, *, later_seconds: int = 0
) -> set[tuple[str, str]]:
    """What carries an effect, by the channel's name of it and our number on the wire."""
    told = trial.told(Status.PENDING)
    if trial.situation.verb in (Verb.CAPTURE, Verb.VOID, Verb.END_AGREEMENT):
        told = trial.situation
    result = trial.run(harness, told, channel=channel, later_seconds=later_seconds)
    require(result.error is None, f"came out as {result}")
    seen = [told for told in understood(harness, result) if told.effect]
    require(seen, "nothing that was sent has an effect")
    return {(told.operation, told.reference) for told in seen if told.reference is not None}


def _require_stable(
    harness: ConformanceHarness, asks: list[Ask], *, later_seconds: int = 90_000
) -> None:
    """``later_seconds`` is when the last repetition is sent: more than a day, unless it expires."""
    if not asks:
        raise NotApplicable("the channel has no such verb")
    with cases() as tried:
        for ask in asks:
            trial = ask(1)
            with tried.case(trial.title):
                channel = harness.open()
                first = _numbers(harness, trial, channel)
                require(first, "carries no number by which a repetition is recognised")
                for again, seconds in (
                    (channel, 1),
                    (channel, 61),
                    (harness.open(), later_seconds),
                ):
                    same = _numbers(harness, trial, again, later_seconds=seconds)
                    require(same == first, "carries another number when it is sent again")


@promise("a payment that is sent again carries the same number")
def check_payment_numbers_are_stable(harness: ConformanceHarness) -> None:
    _require_stable(harness, _payments(harness), later_seconds=900)


@promise("a refund that is sent again carries the same number, so that it happens once")
def check_refund_numbers_are_stable(harness: ConformanceHarness) -> None:
    _require_stable(harness, _refunds(harness))


@promise("a transfer, a sharing or its return that is sent again carries the same number")
def check_transfer_numbers_are_stable(harness: ConformanceHarness) -> None:
    _require_stable(harness, _outgoing(harness))


@promise("a capture, or a void, that is sent again carries the same number")
def check_capture_numbers_are_stable(harness: ConformanceHarness) -> None:
    _require_stable(harness, _captures(harness))


@promise("an agreement, or a charge by one, that is sent again carries the same number")
def check_charge_numbers_are_stable(harness: ConformanceHarness) -> None:
    _require_stable(harness, _charges(harness))


@promise("two payments, refunds, captures, charges or transfers never share a number")
def check_numbers_are_kept_apart(harness: ConformanceHarness) -> None:
    with cases() as tried:
        asks = (_payments, _refunds, _captures, _charges, _outgoing)
        for ask in (ask for of_kind in asks for ask in of_kind(harness)):
            with tried.case(ask(1).title):
                one, other = (_numbers(harness, ask(count), harness.channel) for count in (1, 2))
                require(not one & other, "two of them carry the same number")
