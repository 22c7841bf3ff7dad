"""What an answer says is believed when it is the channel's, about this order, and understood."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.conformance.driving import Run
from qiao.channels.conformance.expected import EXPECTED, SETTLED
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import Check, cases, promise
from qiao.channels.conformance.randomness import random_settings
from qiao.channels.conformance.trials import Trial, trials
from qiao.channels.conformance.vocabulary import (
    Account,
    Forgery,
    NotApplicable,
    Situation,
    Status,
    Verb,
    require,
)
from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.domain.ids import IdKind
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementActive,
    Authorized,
    Refunded,
    RefundPending,
    Succeeded,
    Transferred,
    Unknown,
)

_MONEY: Final = (Succeeded, Authorized, Refunded, Transferred)
_HELD: Final = (Verb.AUTHORIZE, Verb.QUERY_AUTHORIZATION)
_ELSEWHERE: Final = {
    *((Verb.REFUND, Status.REFUSED), (Verb.CREATE, Status.PENDING)),
    *((verb, Status.SUCCEEDED) for verb in _HELD),
}
"""What has a promise of its own: refusing a refund, offering a product, holding an amount."""
_ACCEPTED: Final = (Verb.REFUND, Status.SUCCEEDED)


@promise("every status that the channel documents comes out as what it means")
def check_statuses_are_understood(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            for status in trial.statuses:
                if (trial.situation.verb, status) not in _ELSEWHERE:
                    with tried.case(f"{trial.title}, {status}"):
                        _require_understood(harness, trial, status)


@promise("a refund that the channel refuses, such as one of more than was paid, is RefundRefused")
def check_refused_refunds_are_refusals(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            if trial.situation.verb is Verb.REFUND:
                with tried.case(trial.title):
                    _require_understood(harness, trial, Status.REFUSED)


@promise("an amount that is held is Authorized, and nothing about it is ever Succeeded")
def check_authorizations_are_no_payments(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            if trial.situation.verb in _HELD and Status.SUCCEEDED in trial.statuses:
                with tried.case(trial.title):
                    _require_understood(harness, trial, Status.SUCCEEDED)


def _require_understood(harness: ConformanceHarness, trial: Trial, status: Status) -> None:
    told = trial.told(status)
    result = trial.run(harness, told)
    asks = trial.situation.verb in (Verb.CREATE, Verb.SIGN)
    if asks and not result.requests and status != Status.PENDING:
        raise NotApplicable("it asks nothing of the channel")
    expected = EXPECTED[trial.situation.verb][status]
    if harness.refunds_are_only_accepted and (trial.situation.verb, status) == _ACCEPTED:
        expected = (RefundPending,)
    wanted = " or ".join(kind.__name__ for kind in expected)
    require(isinstance(result.outcome, expected), f"came out as {result}, not as {wanted}")
    if isinstance(result.outcome, _MONEY):
        require(
            result.outcome.amount == told.amount,
            f"tells {result.outcome.amount} for {told.amount}",
        )
    if isinstance(result.outcome, AgreementActive):
        require(result.outcome.channel_reference, "has no channel_reference")
    if isinstance(result.outcome, Succeeded):
        moment = result.outcome.paid_at
        require(moment.utcoffset() is not None, "paid_at has no time zone")
        require(not moment.utcoffset(), "paid_at is not UTC")
        require(result.outcome.channel_reference, "has no channel_reference")


def _register_undecided(name: str, status: Status, text: str) -> None:
    def check(harness: ConformanceHarness) -> None:
        with cases() as tried:
            for trial in trials(harness):
                with tried.case(trial.title):
                    _require_unsettled(trial.asked(harness, trial.told(status)))

    promise(text, name=name)(check)


_register_undecided(
    "system_errors_decide_nothing",
    Status.SYSTEM_ERROR,
    "the channel's own failure is never a refusal and never a success",
)
_register_undecided(
    "unrecognised_statuses_decide_nothing",
    Status.UNRECOGNISED,
    "a status that nobody documented is never failed and never paid",
)
_register_undecided(
    "empty_answers_decide_nothing",
    Status.EMPTY,
    "an authentic answer without its fields is Unknown, and no crash",
)


def _require_unsettled(result: Run) -> None:
    require(result.error is None, f"came out as {result}")
    require(not isinstance(result.outcome, SETTLED), f"came out as {result}")


# Forgeries: every answer of every operation, in every status that would decide something.


def _require_forgery_unknown(
    harness: ConformanceHarness, trial: Trial, told: Situation, forgery: Forgery
) -> None:
    genuine = trial.asked(harness, told)
    reasons: list[str] = []
    for index in range(len(genuine.requests)):
        try:
            result = trial.forged_at(harness, told, index, forgery)
        except NotApplicable as reason:
            reasons.append(str(reason))
            continue
        require(
            isinstance(result.outcome, Unknown),
            f"answer {index + 1} forged, and it came out as {result}",
        )
    if len(reasons) == len(genuine.requests):
        raise NotApplicable(reasons[0])


def _forged_answers(forgery: Forgery) -> Check:
    def check(harness: ConformanceHarness) -> None:
        with cases() as tried:
            for trial in trials(harness):
                for status in trial.statuses:
                    with tried.case(f"{trial.title}, {status}"):
                        _require_forgery_unknown(harness, trial, trial.told(status), forgery)

    return check


FORGERY_TEXTS: Final = {
    Forgery.NO_SIGNATURE: "without a signature",
    Forgery.EMPTY_SIGNATURE: "with an empty signature",
    Forgery.OTHER_KEY: "signed by another key",
    Forgery.OTHER_ALGORITHM: "signed under another algorithm than the account's (a downgrade)",
    Forgery.OTHER_SIGNATURE: "with the signature of another message",
    Forgery.STALE: "signed outside the channel's window of time",
}
for _forgery, _text in FORGERY_TEXTS.items():
    promise(f"an answer {_text} is Unknown", name=f"answer_forged_{_forgery}")(
        _forged_answers(_forgery)
    )


@promise("an answer that was changed on the way is Unknown, or says the same as before")
def check_answer_forged_tampered(harness: ConformanceHarness) -> None:
    _forged_answers(Forgery.TAMPERED)(harness)
    reached = []
    for trial in trials(harness):
        if trial.situation.verb is not Verb.DOWNLOAD_STATEMENT:
            try:
                genuine = trial.asked(harness, trial.situation)
                for request in genuine.requests:  # whether the wire signs this answer at all
                    harness.answer(request, replace(trial.situation, forgery=Forgery.TAMPERED))
            except NotApplicable:
                continue
            reached += [(trial, i) for i in range(len(genuine.requests))]

    @random_settings(harness)
    @given(st.sampled_from(reached), st.integers(0, 1 << 20), st.integers(1, 255))
    def flip(where: tuple[Trial, int], position: int, mask: int) -> None:
        trial, index = where
        answers: list[HttpResponse] = []

        def respond(number: int, request: HttpRequest) -> HttpResponse:
            answer = harness.answer(request, trial.situation)
            answers.append(answer)
            return flipped(answer, position, mask) if number == index else answer

        changed = trial.run(harness, trial.situation, respond=respond)
        if isinstance(changed.outcome, Unknown):
            return
        same = trial.run(harness, trial.situation, respond=lambda number, _: answers[number])
        require(
            changed.error is None and same.outcome == changed.outcome,
            f"{trial.title}: a byte of answer {index + 1} changed: it came out as {changed}",
        )

    if reached:
        flip()


def flipped(answer: HttpResponse, position: int, mask: int) -> HttpResponse:
    """``answer`` with one byte of its body changed."""
    body = bytearray(answer.body)
    if body:
        body[position % len(body)] ^= mask
    return replace(answer, body=bytes(body))


# Authentic answers, but not about this order.

Change = Callable[[ConformanceHarness, Situation], Sequence[Situation]]


def _register_foreign(
    name: str, text: str, change: Change, kinds: tuple[type, ...] = (*_MONEY, AgreementActive)
) -> None:
    def check(harness: ConformanceHarness) -> None:
        with cases() as tried:
            for trial in trials(harness):
                if _tells(trial, kinds):
                    for told in change(harness, trial.told(Status.SUCCEEDED)):
                        with tried.case(f"{trial.title}, told {told.amount}"):
                            _require_unsettled(trial.asked(harness, told))

    promise(text, name=name)(check)


def _tells(trial: Trial, wanted: tuple[type, ...]) -> bool:
    kinds = EXPECTED[trial.situation.verb].get(Status.SUCCEEDED, ())
    return Status.SUCCEEDED in trial.statuses and any(kind in wanted for kind in kinds)


def _other_amounts(_: ConformanceHarness, told: Situation) -> Sequence[Situation]:
    right = told.amount
    return [
        replace(told, amount=Money(minor, right.currency))
        for minor in (right.minor + 1, right.minor - 1, right.minor * 100)
    ]


def _other_currency(_: ConformanceHarness, told: Situation) -> Sequence[Situation]:
    currency = "USD" if told.amount.currency != "USD" else "EUR"
    return [replace(told, amount=Money(told.amount.minor, currency))]


def _other_reference(harness: ConformanceHarness, told: Situation) -> Sequence[Situation]:
    if told.verb in (Verb.REFUND, Verb.QUERY_REFUND):
        return [replace(told, reference=harness.number(IdKind.REFUND, 77))]
    other = harness.number(IdKind.ATTEMPT, 77)
    if told.verb in (Verb.CREATE, Verb.QUERY, Verb.CLOSE, Verb.CHARGE, *_HELD):
        return [replace(told, reference=other, payment_reference=other)]
    return [replace(told, reference=other)]


_register_foreign(
    "answers_with_another_amount_decide_nothing",
    "an authentic answer that names another amount is no success",
    _other_amounts,
    _MONEY,
)
_register_foreign(
    "answers_with_another_currency_decide_nothing",
    "an authentic answer that names another currency is no success",
    _other_currency,
    _MONEY,
)
_register_foreign(
    "answers_about_another_number_decide_nothing",
    "an authentic answer that names another payment, refund or agreement is no success",
    _other_reference,
)
_register_foreign(
    "answers_for_another_merchant_decide_nothing",
    "an authentic answer that names another merchant is no success",
    lambda _, told: [replace(told, account=Account.OTHER_MERCHANT)],
)
_register_foreign(
    "answers_for_another_app_decide_nothing",
    "an authentic answer that names another app is no success",
    lambda _, told: [replace(told, account=Account.OTHER_APP)],
)
