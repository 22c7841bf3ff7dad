"""A notification is believed when it is the channel's and ours, however often it comes."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.conformance.checks.answers import FORGERY_TEXTS
from qiao.channels.conformance.expected import SETTLED
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import Check, cases, promise
from qiao.channels.conformance.randomness import random_settings
from qiao.channels.conformance.trials import implemented, products, situation
from qiao.channels.conformance.vocabulary import (
    Account,
    Forgery,
    NotApplicable,
    PromiseBroken,
    Situation,
    Status,
    Verb,
    require,
)
from qiao.channels.interface import (
    AgreementNotification,
    Capability,
    Channel,
    DisputeNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
    RefundNotification,
)
from qiao.channels.requests import Product
from qiao.channels.wire import HttpMessage
from qiao.domain.errors import NotificationRejected
from qiao.domain.ids import IdKind
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    Refunded,
    RefundRefused,
    Succeeded,
)

Build = Callable[[Situation], HttpMessage]


def notices(harness: ConformanceHarness) -> list[tuple[str, Situation, Build]]:
    """Each kind of notification: its name, the situation that it tells of, and how it is made."""
    amount = harness.money()
    number = harness.number(IdKind.ATTEMPT)
    product = Product.QR if Product.QR in products(harness) else products(harness)[0]
    paid = replace(
        situation(harness, Verb.CREATE, Status.SUCCEEDED, number, amount), product=product
    )
    refund = replace(
        situation(harness, Verb.REFUND, Status.SUCCEEDED, harness.number(IdKind.REFUND), amount),
        payment_amount=Money(amount.minor * 2, amount.currency),
    )
    number = harness.number(IdKind.CAPTURE, 1001)
    signed = situation(harness, Verb.SIGN, Status.SUCCEEDED, number, amount)
    ended = replace(signed, verb=Verb.END_AGREEMENT, status=Status.CLOSED)
    found: list[tuple[str, Situation, Build]] = [
        ("payment", paid, harness.payment_notification),
        ("refund", refund, harness.refund_notification),
    ]
    if implemented(harness.channel, Capability.AGREEMENTS):
        found += [
            ("signed agreement", signed, harness.agreement_notification),
            ("ended agreement", ended, harness.agreement_notification),
        ]
    return found


def heard(
    harness: ConformanceHarness, message: HttpMessage, *, channel: Channel | None = None
) -> Notification | None:
    """The notification, or None when it was rejected; any other error breaks the promise."""
    try:
        return (channel or harness.channel).authenticate(message, harness.context())
    except NotificationRejected:
        return None
    except Exception as error:
        raise PromiseBroken(f"raised {type(error).__name__}") from error


def accepted(harness: ConformanceHarness, message: HttpMessage) -> Notification:
    notification = heard(harness, message)
    if notification is None:
        raise PromiseBroken("a genuine notification was rejected")
    return notification


@promise("a notification tells the numbers and the exact amount that the channel wrote")
def check_notifications_are_understood(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            for minor in (told.amount.minor, told.amount.minor + 1):
                amount = Money(minor, told.amount.currency)
                changed = replace(told, amount=amount)
                if title == "payment":
                    changed = replace(changed, payment_amount=amount)
                with tried.case(f"{title} of {amount}"):
                    _require_told(accepted(harness, build(changed)), changed)
        with tried.case("refund, refused"):
            _, told, build = notices(harness)[1]
            refused = accepted(harness, build(replace(told, status=Status.REFUSED)))
            outcome = getattr(refused, "outcome", None)
            require(isinstance(outcome, RefundRefused), f"came out as {type(outcome).__name__}")


def _require_told(notification: Notification, told: Situation) -> None:
    outcome = getattr(notification, "outcome", None)
    if told.verb is Verb.CREATE:
        require(isinstance(notification, PaymentNotification), "is no PaymentNotification")
        require(isinstance(outcome, Succeeded), f"came out as {type(outcome).__name__}")
    elif told.verb in (Verb.SIGN, Verb.END_AGREEMENT):
        kind = AgreementActive if told.verb is Verb.SIGN else AgreementEnded
        require(isinstance(notification, AgreementNotification), "is no AgreementNotification")
        require(isinstance(outcome, kind), f"came out as {type(outcome).__name__}")
    else:
        require(isinstance(notification, RefundNotification), "is no RefundNotification")
        require(isinstance(outcome, Refunded), f"came out as {type(outcome).__name__}")
    if isinstance(notification, RefundNotification):
        require(notification.payment_reference == told.payment_reference, "is of another payment")
    if isinstance(notification, PaymentNotification | RefundNotification | AgreementNotification):
        require(notification.reference == told.reference, "tells another number")
    if isinstance(outcome, Succeeded | Refunded):
        require(outcome.amount == told.amount, f"tells {outcome.amount} for {told.amount}")
    require(notification.id, "has no id")


@promise("an amount in another currency is told in that currency, or rejected")
def check_notifications_keep_their_currency(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            currency = "USD" if told.amount.currency != "USD" else "EUR"
            amount = Money(told.amount.minor, currency)
            with tried.case(title):
                notification = heard(harness, build(replace(told, amount=amount)))
                outcome = getattr(notification, "outcome", None)
                if isinstance(outcome, Succeeded | Refunded):
                    require(outcome.amount == amount, f"tells {outcome.amount} for {amount}")


def _forged_notifications(forgery: Forgery) -> Check:
    def check(harness: ConformanceHarness) -> None:
        with cases() as tried:
            for title, told, build in notices(harness):
                with tried.case(title):
                    forged = build(replace(told, forgery=forgery))
                    require(heard(harness, forged) is None, "was accepted")

    return check


for _forgery, _text in FORGERY_TEXTS.items():
    promise(f"a notification {_text} is rejected", name=f"notification_forged_{_forgery}")(
        _forged_notifications(_forgery)
    )


@promise("a notification that was changed on the way is rejected, or says the same as before")
def check_notification_forged_tampered(harness: ConformanceHarness) -> None:
    _forged_notifications(Forgery.TAMPERED)(harness)
    for title, told, build in notices(harness):
        try:
            genuine = build(told)
        except NotApplicable:
            continue
        _require_no_byte_matters(harness, title, genuine)


def _require_no_byte_matters(harness: ConformanceHarness, title: str, genuine: HttpMessage) -> None:
    before = accepted(harness, genuine)

    @random_settings(harness)
    @given(st.integers(0, 1 << 20), st.integers(1, 255))
    def flip(position: int, mask: int) -> None:
        body = bytearray(genuine.body or b"\0")
        body[position % len(body)] ^= mask
        after = heard(harness, replace(genuine, body=bytes(body)))
        require(after in (None, before), f"{title}: a changed byte was believed")

    flip()


def _register_foreign(name: str, account: Account, text: str) -> None:
    def check(harness: ConformanceHarness) -> None:
        with cases() as tried:
            for title, told, build in notices(harness):
                with tried.case(title):
                    foreign = build(replace(told, account=account))
                    require(heard(harness, foreign) is None, "was accepted")

    promise(text, name=name)(check)


_register_foreign(
    "notifications_for_another_merchant_are_rejected",
    Account.OTHER_MERCHANT,
    "an authentic notification that names another merchant is rejected",
)
_register_foreign(
    "notifications_for_another_app_are_rejected",
    Account.OTHER_APP,
    "an authentic notification that names another app is rejected",
)


@promise("what is genuine for one account is rejected by another merchant's")
def check_accounts_are_kept_apart(harness: ConformanceHarness) -> None:
    other = harness.open(Account.OTHER_MERCHANT)
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                message = build(told)
                require(heard(harness, message, channel=other) is None, "was accepted")


@promise("the same event, sent again or heard again, has the same id and outcome")
def check_repeated_notifications_are_equal(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                channel = harness.open()
                message = build(told)
                first = heard(harness, message, channel=channel)
                require(first is not None, "a genuine notification was rejected")
                for again in (message, message, build(replace(told, sending=2))):
                    require(
                        heard(harness, again, channel=channel) == first,
                        "came out otherwise the second time",
                    )


@promise("different events have different ids, also when they are of one payment")
def check_different_notifications_have_different_ids(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                first = accepted(harness, build(told))
                other = accepted(harness, build(replace(told, event=2)))
                require(first.id != other.id, "two events have one id")


@promise("notifications mean the same in whatever order they come")
def check_order_of_notifications_does_not_matter(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                messages = [build(replace(told, event=event)) for event in (1, 2, 3)]
                one, other = harness.open(), harness.open()
                forward = [heard(harness, m, channel=one) for m in messages]
                backward = [heard(harness, m, channel=other) for m in reversed(messages)]
                require(forward == backward[::-1], "the order changed what they say")


@promise("a notification with a status that nobody documented is never failed and never paid")
def check_unrecognised_notifications_decide_nothing(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                notification = heard(harness, build(replace(told, status=Status.UNRECOGNISED)))
                _require_undecided(notification)


@promise("an authentic notification without its fields decides nothing, and is no crash")
def check_empty_notifications_decide_nothing(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for title, told, build in notices(harness):
            with tried.case(title):
                _require_undecided(heard(harness, build(replace(told, status=Status.EMPTY))))


def _require_undecided(notification: Notification | None) -> None:
    if notification is None or isinstance(notification, OtherNotification | DisputeNotification):
        return
    outcome = notification.outcome
    require(not isinstance(outcome, SETTLED), f"came out as {type(outcome).__name__}")


@promise("acknowledging differs from refusing, and both are always the same bytes")
def check_acknowledgements_are_told_apart(harness: ConformanceHarness) -> None:
    channel = harness.channel
    yes, no = channel.acknowledge(accepted=True), channel.acknowledge(accepted=False)
    require((yes.status, yes.body) != (no.status, no.body), "both are answered alike")
    require(200 <= yes.status < 300, f"acknowledges with status {yes.status}")
    for reply, flag in ((yes, True), (no, False)):
        require(channel.acknowledge(accepted=flag) == reply, "is another answer the second time")
