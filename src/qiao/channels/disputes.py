"""What a channel tells of disputes: customers' complaints, banks' chargebacks."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from qiao.domain.money import Money


class DisputeKind(StrEnum):
    """A complaint takes no money by itself; a chargeback takes it first and asks afterwards."""

    COMPLAINT = "complaint"
    CHARGEBACK = "chargeback"


class DisputeState(StrEnum):
    """How far it is, as the channel says. A customer may take up again what was closed."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One dispute, as the channel tells it now; ``number`` is the channel's own.

    ``amount`` is what is disputed, ``withdrawn`` what the channel has taken for it and keeps so
    far. ``payment_reference`` is our number of the payment. ``reason`` is the channel's word for
    the kind of complaint; ``text`` (what the customer wrote) and ``phone`` are personal data. Times
    are UTC; ``due_by`` is until when the merchant must act, None where no rule says so.
    """

    number: str
    kind: DisputeKind
    state: DisputeState
    amount: Money
    reason: str
    opened_at: datetime
    due_by: datetime | None = None
    payment_reference: str | None = None
    payment_channel_reference: str | None = None
    withdrawn: Money | None = None
    text: str = field(default="", repr=False)
    phone: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeSpan:
    """Ask for the disputes that were opened from ``since`` to ``until``, up to 30 days."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeQuery:
    """Ask about one dispute by the channel's number."""

    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeReply:
    """Write ``text`` to whoever disputes, under the channel's number of the dispute."""

    number: str
    text: str = field(repr=False)
