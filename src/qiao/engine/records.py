"""The rows that the use cases read, as values. Amounts are minor units, times UTC."""

from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, TypeVar

import asyncpg
import msgspec

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit
from qiao.domain.states import (
    AgreementState,
    AttemptState,
    CaptureState,
    PaymentState,
    PeriodState,
    RefundState,
    SubscriptionState,
    TransferState,
)


class CaptureMode(StrEnum):
    """Whether the customer's money is taken at once, or held first and captured later."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class WhenUnpaid(StrEnum):
    """What becomes of a subscription whose charge nothing more is tried for."""

    CANCEL = "cancel"
    LEAVE = "leave"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant wants to be paid for one order."""

    merchant_id: str
    payment_id: str
    app_id: str | None = None
    live: bool
    order_id: str
    amount_minor: int
    currency: str
    description: str
    state: PaymentState
    capture: CaptureMode
    profit_sharing: bool = False
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    methods: list[str]
    return_url: str | None
    metadata: dict[str, str]
    cashier_token: str
    expires_at: datetime
    close_requested_at: datetime | None
    authorized_at: datetime | None
    paid_at: datetime | None
    closed_at: datetime | None
    created_at: datetime
    subscription_id: str | None = None

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to be paid through one account of one channel."""

    merchant_id: str
    attempt_id: str
    payment_id: str
    account_id: str
    channel: str
    product: Product
    reference: str
    amount_minor: int
    currency: str
    state: AttemptState
    action: dict[str, Any] | None = None
    channel_reference: str | None = None
    manual: bool = False
    hold_expires_at: datetime | None = None
    capturing_minor: int = 0
    capture_reference: str | None = None
    captured_minor: int = 0
    reserved_minor: int = 0
    shared_minor: int = 0
    shares_closed: bool = False
    code: str | None = None
    channel_code: str | None = None
    channel_message: str | None = None
    reason: str | None = None
    expires_at: datetime
    sent_at: datetime
    traceparent: str | None = None
    paid_at: datetime | None = None
    created_at: datetime
    routing: dict[str, Any] | None = None
    replaces: str | None = None
    price: dict[str, Any] | None = None
    cost: dict[str, Any] | None = None
    fee_minor: int = 0
    channel_fee_minor: int = 0

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)

    @property
    def taken(self) -> Money:
        """What was taken: less than ``amount`` when only a part was captured."""
        return Money(self.captured_minor, self.currency)

    @property
    def taken_under(self) -> str:
        """The number under which the channel knows what was taken."""
        return self.capture_reference or self.reference


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """The taking of what an attempt holds, or of a part of it."""

    merchant_id: str
    capture_id: str
    payment_id: str
    attempt_id: str
    reference: str
    amount_minor: int
    currency: str
    state: CaptureState
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    sent_at: datetime | None
    captured_at: datetime | None
    created_at: datetime

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that a merchant pays out. Who gets it stays sealed."""

    merchant_id: str
    transfer_id: str
    live: bool
    batch_id: str | None
    number: str
    account_id: str
    channel: str
    reference: str
    amount_minor: int
    currency: str
    description: str
    scene: str | None
    state: TransferState
    requested_by: str
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    action: dict[str, Any] | None
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    sent_at: datetime | None
    transferred_at: datetime | None
    created_at: datetime

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer agreed to, to be charged later. What they are called stays sealed."""

    merchant_id: str
    agreement_id: str
    live: bool
    app_id: str | None
    number: str
    account_id: str
    channel: str
    product: Product
    reference: str
    plan: str | None
    max_minor: int
    currency: str
    period_unit: PeriodUnit
    period_count: int
    first_charge_on: date
    return_url: str | None
    metadata: dict[str, str]
    state: AgreementState
    action: dict[str, Any] | None
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    expires_at: datetime
    signed_at: datetime | None
    valid_until: datetime | None
    end_requested_at: datetime | None
    ended_at: datetime | None
    created_at: datetime

    @property
    def max_amount(self) -> Money:
        return Money(self.max_minor, self.currency)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that is charged every period by an agreement."""

    merchant_id: str
    subscription_id: str
    live: bool
    app_id: str | None
    number: str
    agreement_id: str
    amount_minor: int
    currency: str
    description: str
    period_unit: PeriodUnit
    period_count: int
    first_charge_on: date
    anchor_day: int
    charge_time: time
    time_zone: str
    periods: int | None
    ends_on: date | None
    lead_days: int
    retry_days: list[int]
    when_unpaid: WhenUnpaid
    metadata: dict[str, str]
    state: SubscriptionState
    reason: str | None
    next_period: int
    next_charge_at: datetime | None
    ended_at: datetime | None
    created_at: datetime

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """One period of a subscription, and the payment that pays for it."""

    merchant_id: str
    subscription_id: str
    number: int
    due_on: date
    state: PeriodState
    payment_id: str | None
    tries: int
    next_try_at: datetime | None
    judged_attempt_id: str | None
    code: str | None
    channel_code: str | None
    settled_at: datetime | None
    created_at: datetime


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back to the customer."""

    merchant_id: str
    refund_id: str
    payment_id: str
    attempt_id: str
    reference: str
    amount_minor: int
    currency: str
    surplus: bool
    reason: str | None
    state: RefundState
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    sent_at: datetime | None
    refunded_at: datetime | None
    created_at: datetime
    fee_returned_minor: int = 0
    channel_fee_returned_minor: int = 0

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


Row = TypeVar("Row")


def read(kind: type[Row], record: asyncpg.Record) -> Row:
    """The row as a value; columns that ``kind`` does not know are left out."""
    return msgspec.convert(dict(record.items()), kind)
