"""The state tables, one row per event, and what must hold of them whatever they say."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from qiao.domain.errors import IllegalTransition
from qiao.domain.states import (
    AGREEMENT,
    ATTEMPT,
    BLOCKING_ATTEMPTS,
    CAPTURE,
    CHARGING_SUBSCRIPTIONS,
    PAYMENT,
    PERIOD,
    REFUND,
    RESERVING_REFUNDS,
    SHARE,
    SUBSCRIPTION,
    TRANSFER,
    AgreementEvent,
    AgreementState,
    AttemptEvent,
    AttemptState,
    CaptureEvent,
    CaptureState,
    PaymentEvent,
    PaymentState,
    PeriodEvent,
    PeriodState,
    RefundEvent,
    RefundState,
    ShareEvent,
    ShareState,
    SubscriptionEvent,
    SubscriptionState,
    TransferEvent,
    TransferState,
    after,
    sources,
)

TABLES: list[tuple[Mapping[tuple[Any, Any], Any], type[StrEnum], type[StrEnum]]] = [
    (PAYMENT, PaymentState, PaymentEvent),
    (ATTEMPT, AttemptState, AttemptEvent),
    (REFUND, RefundState, RefundEvent),
    (CAPTURE, CaptureState, CaptureEvent),
    (TRANSFER, TransferState, TransferEvent),
    (SHARE, ShareState, ShareEvent),
    (AGREEMENT, AgreementState, AgreementEvent),
    (SUBSCRIPTION, SubscriptionState, SubscriptionEvent),
    (PERIOD, PeriodState, PeriodEvent),
]
NAMES = [
    *("payment", "attempt", "refund", "capture", "transfer", "share"),
    *("agreement", "subscription", "period"),
]


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=NAMES)
def test_every_event_moves_or_is_refused(
    table: Mapping[tuple[Any, Any], Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    for state in states:
        for event in events:
            if (state, event) in table:
                assert after(table, state, event) in states
                assert state in sources(table, event)
            else:
                with pytest.raises(IllegalTransition, match=event.value):
                    after(table, state, event)


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=NAMES)
def test_every_state_but_the_first_can_be_reached(
    table: Mapping[tuple[Any, Any], Any], states: type[StrEnum], events: type[StrEnum]
) -> None:
    first = next(iter(states))
    assert {first, *table.values()} == set(states)


def leaving(table: Mapping[tuple[Any, Any], Any], state: StrEnum) -> set[Any]:
    return {after for (before, _), after in table.items() if before == state} - {state}


@pytest.mark.parametrize("state", [PaymentState.PAID, PaymentState.CLOSED, PaymentState.REJECTED])
def test_a_final_payment_stays(state: PaymentState) -> None:
    assert not leaving(PAYMENT, state)


@pytest.mark.parametrize("state", [AttemptState.SUCCEEDED, AttemptState.SURPLUS])
def test_an_attempt_that_brought_money_stays(state: AttemptState) -> None:
    assert not leaving(ATTEMPT, state)


@pytest.mark.parametrize(
    "state", [AttemptState.DECLINED, AttemptState.CLOSED, AttemptState.NOT_SENT]
)
def test_a_dead_attempt_can_only_bring_surplus(state: AttemptState) -> None:
    assert leaving(ATTEMPT, state) == {AttemptState.SURPLUS}
    assert state not in BLOCKING_ATTEMPTS


@pytest.mark.parametrize("state", [RefundState.SUCCEEDED, RefundState.FAILED])
def test_a_final_refund_stays(state: RefundState) -> None:
    assert not leaving(REFUND, state)


@pytest.mark.parametrize("state", [CaptureState.SUCCEEDED, CaptureState.FAILED])
def test_a_final_capture_stays(state: CaptureState) -> None:
    assert not leaving(CAPTURE, state)


@pytest.mark.parametrize(
    "state", [TransferState.SUCCEEDED, TransferState.FAILED, TransferState.REJECTED]
)
def test_a_final_transfer_stays(state: TransferState) -> None:
    assert not leaving(TRANSFER, state)


def test_a_transfer_is_sent_only_once_it_was_approved() -> None:
    asked = TransferState.REQUESTED
    assert leaving(TRANSFER, asked) == {TransferState.APPROVED, TransferState.REJECTED}
    assert asked not in TRANSFER.values()


def test_what_is_held_is_taken_or_let_go() -> None:
    held = PaymentState.AUTHORIZED
    assert leaving(PAYMENT, held) == {PaymentState.PAID, PaymentState.CLOSED}
    assert AttemptState.AUTHORIZED in BLOCKING_ATTEMPTS


def test_an_unknown_refund_keeps_its_money_reserved() -> None:
    assert RefundState.UNKNOWN in RESERVING_REFUNDS
    assert RefundState.FAILED not in RESERVING_REFUNDS


def test_an_unknown_attempt_is_never_guessed_dead() -> None:
    assert AttemptState.UNKNOWN in BLOCKING_ATTEMPTS
    assert AttemptState.NOT_SENT not in leaving(ATTEMPT, AttemptState.UNKNOWN)


def test_an_agreement_that_has_ended_is_never_signed_again() -> None:
    assert not leaving(AGREEMENT, AgreementState.ENDED)
    assert not leaving(AGREEMENT, AgreementState.REFUSED)
    assert AgreementState.ACTIVE in leaving(AGREEMENT, AgreementState.EXPIRED)


@pytest.mark.parametrize("state", [SubscriptionState.CANCELLED, SubscriptionState.COMPLETED])
def test_a_subscription_that_is_over_is_charged_no_more(state: SubscriptionState) -> None:
    assert not leaving(SUBSCRIPTION, state)
    assert state not in CHARGING_SUBSCRIPTIONS


def test_a_period_that_was_paid_or_missed_stays() -> None:
    assert not leaving(PERIOD, PeriodState.PAID)
    assert not leaving(PERIOD, PeriodState.MISSED)
    assert leaving(PERIOD, PeriodState.UNPAID) == {PeriodState.PAID}
