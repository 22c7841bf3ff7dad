"""The states of payments, attempts, refunds and the rest, as data. Nothing else changes a state.

A table maps (state, event) to the next state. An event that a table does not hold for a state is
illegal: it changes nothing and is kept for the operator. An event whose effect has already been
had maps a state to itself.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from qiao.domain.errors import IllegalTransition


class PaymentState(StrEnum):
    OPEN = "open"
    IN_REVIEW = "in_review"
    REJECTED = "rejected"
    AUTHORIZED = "authorized"
    PAID = "paid"
    CLOSED = "closed"


class PaymentEvent(StrEnum):
    HOLD = "hold"
    RELEASE = "release"
    REJECT = "reject"
    AUTHORIZE = "authorize"
    PAY = "pay"
    CLOSE = "close"


class AttemptState(StrEnum):
    CREATED = "created"
    SENDING = "sending"
    PENDING = "pending"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    SURPLUS = "surplus"


class AttemptEvent(StrEnum):
    SEND = "send"
    WAIT = "wait"
    AUTHORIZE = "authorize"
    SUCCEED = "succeed"
    DECLINE = "decline"
    FAIL_TO_SEND = "fail_to_send"
    LOSE = "lose"
    CLOSE = "close"
    EXCEED = "exceed"
    """Money came for a payment that is already paid or closed."""


class RefundState(StrEnum):
    REQUESTED = "requested"
    SENDING = "sending"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundEvent(StrEnum):
    SEND = "send"
    FAIL_TO_SEND = "fail_to_send"
    WAIT = "wait"
    LOSE = "lose"
    SUCCEED = "succeed"
    FAIL = "fail"


class CaptureState(StrEnum):
    REQUESTED = "requested"
    SENDING = "sending"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CaptureEvent(StrEnum):
    SEND = "send"
    FAIL_TO_SEND = "fail_to_send"
    WAIT = "wait"
    LOSE = "lose"
    SUCCEED = "succeed"
    FAIL = "fail"


class ShareState(StrEnum):
    REQUESTED = "requested"
    SENDING = "sending"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    PARTLY = "partly"
    """Some receivers got their share for good, and the others will not."""
    FAILED = "failed"


class ShareEvent(StrEnum):
    SEND = "send"
    FAIL_TO_SEND = "fail_to_send"
    WAIT = "wait"
    LOSE = "lose"
    SUCCEED = "succeed"
    SUCCEED_IN_PART = "succeed_in_part"
    FAIL = "fail"


class AgreementState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    ENDED = "ended"
    REFUSED = "refused"
    EXPIRED = "expired"


class AgreementEvent(StrEnum):
    SIGN = "sign"
    END = "end"
    REFUSE = "refuse"
    EXPIRE = "expire"


class SubscriptionState(StrEnum):
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class SubscriptionEvent(StrEnum):
    FALL_BEHIND = "fall_behind"
    """A charge failed, and has not been made good."""
    CATCH_UP = "catch_up"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    COMPLETE = "complete"


class PeriodState(StrEnum):
    OPEN = "open"
    PAID = "paid"
    UNPAID = "unpaid"
    MISSED = "missed"


class PeriodEvent(StrEnum):
    PAY = "pay"
    GIVE_UP = "give_up"
    """Nothing is tried any more for it."""
    MISS = "miss"
    """Its time went by before anything was tried."""


class TransferState(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    SENDING = "sending"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class TransferEvent(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    SEND = "send"
    FAIL_TO_SEND = "fail_to_send"
    WAIT = "wait"
    LOSE = "lose"
    SUCCEED = "succeed"
    FAIL = "fail"


PAYMENT: Final[Mapping[tuple[PaymentState, PaymentEvent], PaymentState]] = {
    (PaymentState.OPEN, PaymentEvent.HOLD): PaymentState.IN_REVIEW,
    (PaymentState.IN_REVIEW, PaymentEvent.RELEASE): PaymentState.OPEN,
    (PaymentState.IN_REVIEW, PaymentEvent.REJECT): PaymentState.REJECTED,
    (PaymentState.OPEN, PaymentEvent.AUTHORIZE): PaymentState.AUTHORIZED,
    (PaymentState.OPEN, PaymentEvent.PAY): PaymentState.PAID,
    (PaymentState.OPEN, PaymentEvent.CLOSE): PaymentState.CLOSED,
    (PaymentState.AUTHORIZED, PaymentEvent.PAY): PaymentState.PAID,
    (PaymentState.AUTHORIZED, PaymentEvent.CLOSE): PaymentState.CLOSED,
}

_SENT: Final = {
    AttemptEvent.WAIT: AttemptState.PENDING,
    AttemptEvent.AUTHORIZE: AttemptState.AUTHORIZED,
    AttemptEvent.SUCCEED: AttemptState.SUCCEEDED,
    AttemptEvent.DECLINE: AttemptState.DECLINED,
    AttemptEvent.EXCEED: AttemptState.SURPLUS,
}
_DEAD: Final = (AttemptState.DECLINED, AttemptState.CLOSED, AttemptState.NOT_SENT)

ATTEMPT: Final[Mapping[tuple[AttemptState, AttemptEvent], AttemptState]] = {
    (AttemptState.CREATED, AttemptEvent.SEND): AttemptState.SENDING,
    **{(AttemptState.SENDING, event): state for event, state in _SENT.items()},
    (AttemptState.SENDING, AttemptEvent.FAIL_TO_SEND): AttemptState.NOT_SENT,
    (AttemptState.SENDING, AttemptEvent.LOSE): AttemptState.UNKNOWN,
    **{(AttemptState.PENDING, event): state for event, state in _SENT.items()},
    (AttemptState.PENDING, AttemptEvent.CLOSE): AttemptState.CLOSED,
    **{(AttemptState.UNKNOWN, event): state for event, state in _SENT.items()},
    (AttemptState.UNKNOWN, AttemptEvent.CLOSE): AttemptState.CLOSED,
    (AttemptState.UNKNOWN, AttemptEvent.LOSE): AttemptState.UNKNOWN,
    (AttemptState.AUTHORIZED, AttemptEvent.SUCCEED): AttemptState.SUCCEEDED,
    (AttemptState.AUTHORIZED, AttemptEvent.CLOSE): AttemptState.CLOSED,
    (AttemptState.AUTHORIZED, AttemptEvent.EXCEED): AttemptState.SURPLUS,
    **{(state, AttemptEvent.EXCEED): AttemptState.SURPLUS for state in _DEAD},
}

REFUND: Final[Mapping[tuple[RefundState, RefundEvent], RefundState]] = {
    (RefundState.REQUESTED, RefundEvent.SEND): RefundState.SENDING,
    (RefundState.SENDING, RefundEvent.FAIL_TO_SEND): RefundState.REQUESTED,
    (RefundState.SENDING, RefundEvent.WAIT): RefundState.PENDING,
    (RefundState.SENDING, RefundEvent.LOSE): RefundState.UNKNOWN,
    (RefundState.SENDING, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
    (RefundState.SENDING, RefundEvent.FAIL): RefundState.FAILED,
    (RefundState.PENDING, RefundEvent.WAIT): RefundState.PENDING,
    (RefundState.PENDING, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
    (RefundState.PENDING, RefundEvent.FAIL): RefundState.FAILED,
    (RefundState.UNKNOWN, RefundEvent.SEND): RefundState.SENDING,
    (RefundState.UNKNOWN, RefundEvent.LOSE): RefundState.UNKNOWN,
    (RefundState.UNKNOWN, RefundEvent.WAIT): RefundState.PENDING,
    (RefundState.UNKNOWN, RefundEvent.SUCCEED): RefundState.SUCCEEDED,
    (RefundState.UNKNOWN, RefundEvent.FAIL): RefundState.FAILED,
}

CAPTURE: Final[Mapping[tuple[CaptureState, CaptureEvent], CaptureState]] = {
    (CaptureState(state), CaptureEvent(event)): CaptureState(then)
    for (state, event), then in REFUND.items()
}
"""A capture goes the way of a refund: one number, asked about until it is known."""

SHARE: Final[Mapping[tuple[ShareState, ShareEvent], ShareState]] = {
    **{
        (ShareState(state), ShareEvent(event)): ShareState(then)
        for (state, event), then in REFUND.items()
    },
    **{
        (ShareState(state), ShareEvent.SUCCEED_IN_PART): ShareState.PARTLY
        for (state, event) in REFUND
        if event is RefundEvent.SUCCEED
    },
}
"""A profit share goes the way of a refund, and may end in part: each receiver has its own end.

The return of a share is never ended in part; otherwise it goes the same way.
"""

TRANSFER: Final[Mapping[tuple[TransferState, TransferEvent], TransferState]] = {
    (TransferState.REQUESTED, TransferEvent.APPROVE): TransferState.APPROVED,
    (TransferState.REQUESTED, TransferEvent.REJECT): TransferState.REJECTED,
    (TransferState.APPROVED, TransferEvent.SEND): TransferState.SENDING,
    (TransferState.SENDING, TransferEvent.FAIL_TO_SEND): TransferState.APPROVED,
    **{
        (TransferState(state), TransferEvent(event)): TransferState(then)
        for (state, event), then in REFUND.items()
        if RefundState.REQUESTED not in (state, then)
    },
}

AGREEMENT: Final[Mapping[tuple[AgreementState, AgreementEvent], AgreementState]] = {
    (AgreementState.PENDING, AgreementEvent.SIGN): AgreementState.ACTIVE,
    (AgreementState.PENDING, AgreementEvent.REFUSE): AgreementState.REFUSED,
    (AgreementState.PENDING, AgreementEvent.EXPIRE): AgreementState.EXPIRED,
    (AgreementState.PENDING, AgreementEvent.END): AgreementState.ENDED,
    # The customer may sign at the last moment, and the channel tell it later.
    (AgreementState.EXPIRED, AgreementEvent.SIGN): AgreementState.ACTIVE,
    (AgreementState.EXPIRED, AgreementEvent.END): AgreementState.ENDED,
    (AgreementState.ACTIVE, AgreementEvent.END): AgreementState.ENDED,
}
"""What has ended stays so: a signature that is told afterwards is older."""

SUBSCRIPTION: Final[Mapping[tuple[SubscriptionState, SubscriptionEvent], SubscriptionState]] = {
    (SubscriptionState.ACTIVE, SubscriptionEvent.FALL_BEHIND): SubscriptionState.PAST_DUE,
    (SubscriptionState.PAST_DUE, SubscriptionEvent.CATCH_UP): SubscriptionState.ACTIVE,
    (SubscriptionState.PAUSED, SubscriptionEvent.RESUME): SubscriptionState.ACTIVE,
    **{
        (state, event): then
        for state in (SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE)
        for event, then in (
            (SubscriptionEvent.PAUSE, SubscriptionState.PAUSED),
            (SubscriptionEvent.CANCEL, SubscriptionState.CANCELLED),
            (SubscriptionEvent.COMPLETE, SubscriptionState.COMPLETED),
        )
    },
    (SubscriptionState.PAUSED, SubscriptionEvent.CANCEL): SubscriptionState.CANCELLED,
}

PERIOD: Final[Mapping[tuple[PeriodState, PeriodEvent], PeriodState]] = {
    (PeriodState.OPEN, PeriodEvent.PAY): PeriodState.PAID,
    (PeriodState.OPEN, PeriodEvent.GIVE_UP): PeriodState.UNPAID,
    (PeriodState.OPEN, PeriodEvent.MISS): PeriodState.MISSED,
    (PeriodState.UNPAID, PeriodEvent.PAY): PeriodState.PAID,
}
"""An unpaid period is paid after all when a charge that was unknown turns out to have succeeded."""

CHARGING_SUBSCRIPTIONS: Final = frozenset({SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE})

BLOCKING_ATTEMPTS: Final = frozenset(AttemptState) - {*_DEAD, AttemptState.SURPLUS}
"""While one of these is there, no other attempt of the payment may start.

Surplus is not: its money came on an attempt that was dead already, and goes back by itself.
"""

RESERVING_REFUNDS: Final = frozenset(RefundState) - {RefundState.FAILED}
"""Refunds in these states count against what may still be refunded."""

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


def after(table: Mapping[tuple[State, Event], State], state: State, event: Event) -> State:
    """The state that follows; raises IllegalTransition when the table knows none."""
    try:
        return table[state, event]
    except KeyError:
        kind = type(state).__name__.removesuffix("State").lower()
        raise IllegalTransition(kind=kind, state=state, event=event) from None


def sources(table: Mapping[tuple[State, Event], State], event: Event) -> frozenset[State]:
    """The states in which the event may happen: the guard of its SQL."""
    return frozenset(state for state, known in table if known == event)
