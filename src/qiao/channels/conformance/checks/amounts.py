"""The amount on the wire is the amount that was asked for, in every declared currency."""

from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import Trial, trials
from qiao.channels.conformance.vocabulary import NotApplicable, Verb, require
from qiao.channels.conformance.wires import understood
from qiao.domain.money import Money

_MOVING = (
    *(Verb.CREATE, Verb.AUTHORIZE, Verb.CAPTURE, Verb.REFUND),
    *(Verb.CHARGE, Verb.TRANSFER, Verb.SHARE_PROFIT, Verb.RETURN_SHARE),
)


@promise("each currency's amounts arrive exactly, whatever its decimals")
def check_amounts_arrive_exactly(harness: ConformanceHarness) -> None:
    manifest = harness.channel.manifest
    samples = {manifest.min_minor, manifest.max_minor, 1, 7, 10, 100, 1000, 12345, 100_000_001}
    minors = sorted(m for m in samples if manifest.min_minor <= m <= manifest.max_minor)
    with cases() as tried:
        for currency in sorted(manifest.currencies):
            for minor in minors:
                amount = Money(minor, currency)
                for trial in trials(harness, amount=amount):
                    if trial.situation.verb in _MOVING:
                        with tried.case(f"{trial.title} of {amount}"):
                            _require_on_wire(harness, trial, amount)


def _require_on_wire(harness: ConformanceHarness, trial: Trial, amount: Money) -> None:
    result = trial.run(harness, trial.situation)
    require(result.error is None, f"came out as {result}")
    amounts = {seen.amount for seen in understood(harness, result) if seen.amount is not None}
    if not amounts:
        raise NotApplicable("no amount is on the wire")
    require(amounts == {amount}, f"the wire says {', '.join(map(str, amounts))}")
