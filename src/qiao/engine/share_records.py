"""The rows of profit sharing, as values. Amounts are minor units, times UTC."""

from datetime import datetime
from enum import StrEnum

import msgspec

from qiao.domain.money import Money
from qiao.domain.states import ShareState


class ReceiverState(StrEnum):
    """What the channel was last asked about a receiver, and said."""

    ASKED = "asked"
    BOUND = "bound"
    UNBOUND = "unbound"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class PartState(StrEnum):
    """What became of one receiver's part of a share."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Who may get shares through one channel account. Who it is there stays sealed."""

    merchant_id: str
    receiver_id: str
    live: bool
    number: str
    account_id: str
    channel: str
    receiver_type: str
    relation: str | None
    memo: str | None
    state: ReceiverState
    turn: int
    code: str | None
    channel_code: str | None
    channel_message: str | None
    created_at: datetime


class ProfitShare(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a payment on its way to receivers; with ``finish`` the rest is left for good."""

    merchant_id: str
    share_id: str
    payment_id: str
    attempt_id: str
    live: bool
    reference: str
    amount_minor: int
    arrived_minor: int
    currency: str
    finish: bool
    state: ShareState
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    sent_at: datetime | None
    shared_at: datetime | None
    created_at: datetime

    @property
    def id(self) -> str:
        return self.share_id

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)


class SharePart(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver's part of a share."""

    share_id: str
    line: int
    receiver_id: str
    amount_minor: int
    description: str
    state: PartState
    channel_code: str | None
    channel_message: str | None
    returning_minor: int
    returned_minor: int


class ShareReturn(msgspec.Struct, frozen=True, kw_only=True):
    """Money of one part on its way back to the merchant."""

    merchant_id: str
    return_id: str
    share_id: str
    line: int
    payment_id: str
    live: bool
    reference: str
    amount_minor: int
    currency: str
    description: str
    state: ShareState
    channel_reference: str | None
    code: str | None
    channel_code: str | None
    channel_message: str | None
    sent_at: datetime | None
    returned_at: datetime | None
    created_at: datetime

    @property
    def id(self) -> str:
        return self.return_id

    @property
    def amount(self) -> Money:
        return Money(self.amount_minor, self.currency)
