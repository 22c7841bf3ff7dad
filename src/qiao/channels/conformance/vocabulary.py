"""The words in which the suite and a harness talk: what the other side knows, says and forges."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from qiao.channels.interface import StatementEntry
from qiao.channels.requests import Product
from qiao.domain.money import Money


class PromiseBroken(AssertionError):
    """The channel does not keep a promise; the text says which, and what happened instead."""


class NotApplicable(Exception):
    """A harness raises it, with the reason, for what the channel's wire cannot express.

    The suite leaves that case out and shows the reason; a promise of which no case is left is
    reported as skipped, never as kept.
    """


def require(condition: object, message: str) -> None:
    """Raise PromiseBroken unless ``condition`` holds (an ``assert`` that no flag turns off)."""
    if not condition:
        raise PromiseBroken(message)


class Verb(StrEnum):
    """Which operation of the channel runs."""

    CREATE = "create"
    QUERY = "query"
    CLOSE = "close"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"
    REVERSE = "reverse"
    AUTHORIZE = "authorize"
    QUERY_AUTHORIZATION = "query_authorization"
    VOID = "void"
    CAPTURE = "capture"
    QUERY_CAPTURE = "query_capture"
    SIGN = "sign"
    QUERY_AGREEMENT = "query_agreement"
    END_AGREEMENT = "end_agreement"
    CHARGE = "charge"
    IDENTIFY = "identify"
    TRANSFER = "transfer"
    QUERY_TRANSFER = "query_transfer"
    SHARE_PROFIT = "share_profit"
    QUERY_PROFIT_SHARING = "query_profit_sharing"
    RETURN_SHARE = "return_share"
    QUERY_SHARE_RETURN = "query_share_return"
    BIND_RECEIVER = "bind_receiver"
    UNBIND_RECEIVER = "unbind_receiver"
    LIST_DISPUTES = "list_disputes"
    QUERY_DISPUTE = "query_dispute"
    REPLY_TO_DISPUTE = "reply_to_dispute"
    FINISH_DISPUTE = "finish_dispute"
    DOWNLOAD_STATEMENT = "download_statement"


class Status(StrEnum):
    """What the other side has to tell, in the words of no channel."""

    PENDING = "pending"
    """Accepted; the customer, or the channel itself, has yet to do its part."""
    SUCCEEDED = "succeeded"
    """Paid, held, signed, refunded, transferred, shared, bound; the payer is named; the statement
    is there."""
    REFUSED = "refused"
    """Refused for good: no money on the account, more refunded than was paid, a bad code."""
    CLOSED = "closed"
    """Closed, reversed, voided or ended: no money will be taken any more."""
    NOT_FOUND = "not_found"
    """The number, or the day's statement, is not known."""
    SYSTEM_ERROR = "system_error"
    """The channel's own failure: the documentation says to ask again."""
    UNRECOGNISED = "unrecognised"
    """Authentic, with a status (or an error code) that no documentation names."""
    EMPTY = "empty"
    """Authentic, and without any of the fields that say what happened."""


class Account(StrEnum):
    """Whose account a message is about. The suite opens channels for the first two."""

    OURS = "ours"
    OTHER_MERCHANT = "other_merchant"
    OTHER_APP = "other_app"


class Forgery(StrEnum):
    """How a message is not what it claims to be; everything else about it is as it should be."""

    TAMPERED = "tampered"
    """Something was changed after signing that no comparison with the order would find, such as the
    channel's own number or, in a notification, the amount."""
    NO_SIGNATURE = "no_signature"
    EMPTY_SIGNATURE = "empty_signature"
    OTHER_KEY = "other_key"
    """Signed by somebody else's key of the same kind."""
    OTHER_ALGORITHM = "other_algorithm"
    """Signed with the right key under an algorithm that the account's settings do not name, and
    saying so wherever the wire has a place for it: a downgrade."""
    OTHER_SIGNATURE = "other_signature"
    """With the genuine signature of a different message."""
    STALE = "stale"
    """Signed long ago, where the channel's wire carries a signed time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is true on the other side, and how it is to be told.

    The suite fills in facts that differ from what was asked on purpose; the harness tells them as
    they are given here, and signs them properly unless ``forgery`` says how not to.

    ``reference`` is the number that the operation is about (a refund's own, for a refund),
    ``payment_reference`` the payment's. ``event`` counts what happened, from 1; ``sending`` counts
    how often the channel sends the same event: a repetition has a new time and signature, and the
    same id.
    """

    verb: Verb
    status: Status
    reference: str
    amount: Money
    payment_reference: str
    payment_amount: Money
    product: Product | None = None
    account: Account = Account.OURS
    forgery: Forgery | None = None
    event: int = 1
    sending: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """How the other side reads what the channel sends.

    ``operation`` is the channel's own name of what is asked for; ``effect`` whether carrying it
    out changes anything there; ``reference`` the number by which the other side recognises a
    repetition; ``amount`` the amount that it would move. ``authentic`` says whether the request
    proves its sender: the harness verifies it without the adapter's code.
    """

    operation: str
    effect: bool
    authentic: bool
    reference: str | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSample:
    """A statement as the channel writes it, and what it says.

    The suite compares every field of an entry except ``columns``.
    """

    content: bytes
    entries: Sequence[StatementEntry]
