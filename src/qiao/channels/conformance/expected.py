"""What each verb must make of each status, and on which outcomes the platform acts."""

from collections.abc import Mapping
from typing import Final

from qiao.channels.conformance.vocabulary import Status, Verb
from qiao.channels.disputes import Dispute
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementPending,
    AgreementRefused,
    Authorized,
    BindingRefused,
    Bound,
    Closed,
    Declined,
    DisputeAnswered,
    DisputeAnswerRefused,
    NotFound,
    NotSent,
    PartlyShared,
    Pending,
    Refunded,
    RefundPending,
    RefundRefused,
    Succeeded,
    TransferPending,
    Transferred,
    TransferRefused,
    Unbound,
)

SETTLED: Final = (
    *(Succeeded, Authorized, Declined, Closed, NotFound, NotSent),
    *(Refunded, RefundRefused, Transferred, TransferRefused, PartlyShared),
    *(Bound, Unbound, BindingRefused),
    *(AgreementActive, AgreementRefused, AgreementEnded),
    *(Dispute, tuple, DisputeAnswered, DisputeAnswerRefused),
    *(str, bytes, type(None)),
)
"""Outcomes on which the platform acts. None of them may come from a message that is not understood:
even NotFound lets the platform close an attempt, and NotSent lets it start another."""

_TRANSFER: Final = {
    Status.SUCCEEDED: (Transferred,),
    Status.PENDING: (TransferPending,),
    Status.REFUSED: (TransferRefused,),
}
_ANSWERING: Final = {
    Status.SUCCEEDED: (DisputeAnswered,),
    Status.REFUSED: (DisputeAnswerRefused,),
}
_QUERY: Final[Mapping[Status, tuple[type, ...]]] = {
    Status.SUCCEEDED: (Succeeded,),
    Status.PENDING: (Pending,),
    Status.REFUSED: (Declined,),
    Status.CLOSED: (Closed,),
    Status.NOT_FOUND: (NotFound,),
}
EXPECTED: Final[Mapping[Verb, Mapping[Status, tuple[type, ...]]]] = {
    Verb.CREATE: {
        Status.PENDING: (Pending,),
        Status.SUCCEEDED: (Succeeded,),
        Status.REFUSED: (Declined,),
    },
    Verb.QUERY: _QUERY,
    Verb.CLOSE: {Status.CLOSED: (Closed,), Status.SUCCEEDED: (Succeeded,)},
    Verb.REFUND: {
        Status.SUCCEEDED: (Refunded,),
        Status.PENDING: (RefundPending,),
        Status.REFUSED: (RefundRefused,),
    },
    Verb.QUERY_REFUND: {
        Status.SUCCEEDED: (Refunded,),
        Status.PENDING: (RefundPending,),
        Status.REFUSED: (RefundRefused,),
        Status.NOT_FOUND: (NotFound,),
    },
    Verb.REVERSE: {Status.CLOSED: (Closed,)},
    Verb.AUTHORIZE: {
        Status.PENDING: (Pending,),
        Status.SUCCEEDED: (Authorized,),
        Status.REFUSED: (Declined,),
    },
    Verb.QUERY_AUTHORIZATION: {**_QUERY, Status.SUCCEEDED: (Authorized,)},
    Verb.VOID: {Status.CLOSED: (Closed,)},
    Verb.CAPTURE: {Status.SUCCEEDED: (Succeeded,), Status.REFUSED: (Declined,)},
    Verb.QUERY_CAPTURE: {Status.SUCCEEDED: (Succeeded,), Status.NOT_FOUND: (NotFound,)},
    Verb.SIGN: {Status.PENDING: (AgreementPending,), Status.REFUSED: (AgreementRefused,)},
    Verb.QUERY_AGREEMENT: {
        Status.SUCCEEDED: (AgreementActive,),
        Status.PENDING: (AgreementPending,),
        Status.CLOSED: (AgreementEnded,),
        Status.NOT_FOUND: (NotFound,),
    },
    Verb.END_AGREEMENT: {Status.CLOSED: (AgreementEnded,)},
    Verb.CHARGE: {
        Status.SUCCEEDED: (Succeeded,),
        Status.PENDING: (Pending,),
        Status.REFUSED: (Declined,),
    },
    Verb.IDENTIFY: {Status.SUCCEEDED: (str,), Status.REFUSED: (type(None),)},
    Verb.TRANSFER: _TRANSFER,
    Verb.QUERY_TRANSFER: {**_TRANSFER, Status.NOT_FOUND: (NotFound,)},
    Verb.SHARE_PROFIT: _TRANSFER,
    Verb.QUERY_PROFIT_SHARING: {**_TRANSFER, Status.NOT_FOUND: (NotFound,)},
    Verb.RETURN_SHARE: _TRANSFER,
    Verb.QUERY_SHARE_RETURN: {**_TRANSFER, Status.NOT_FOUND: (NotFound,)},
    Verb.BIND_RECEIVER: {Status.SUCCEEDED: (Bound,), Status.REFUSED: (BindingRefused,)},
    Verb.UNBIND_RECEIVER: {Status.SUCCEEDED: (Unbound,), Status.REFUSED: (BindingRefused,)},
    Verb.LIST_DISPUTES: {Status.SUCCEEDED: (tuple,)},
    Verb.QUERY_DISPUTE: {Status.SUCCEEDED: (Dispute,), Status.NOT_FOUND: (NotFound,)},
    Verb.REPLY_TO_DISPUTE: _ANSWERING,
    Verb.FINISH_DISPUTE: _ANSWERING,
    Verb.DOWNLOAD_STATEMENT: {Status.SUCCEEDED: (bytes,), Status.NOT_FOUND: (type(None),)},
}
"""What each verb must make of each status that the channel can express for it."""
