"""Returns of shares: only what tells of the share itself is an end."""

from typing import Any

import pytest

from qiao.channels.requests import Share, ShareReturnRequest
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import NotFound, TransferPending, TransferRefused

REFUND = "alipay.trade.refund"
QUERY = "alipay.trade.fastpay.refund.query"
SHARE = Share(
    receiver_type="userId",
    receiver="2088000000000002",
    amount=Money(500, "CNY"),
    description="分账",
)
REQUEST = ShareReturnRequest(
    reference="ret01",
    amount=Money(300, "CNY"),
    sharing_reference="sha01",
    payment_reference="att01",
    payment_channel_reference="T1",
    share=SHARE,
    description="退",
)
KNOWN = {
    "out_trade_no": "att01",
    "out_request_no": "ret01",
    "trade_no": "T1",
    "refund_amount": "0.00",
    "refund_status": "REFUND_SUCCESS",
}
BACK = {"refund_amount": "3.00", "result_code": "SUCCESS", "trans_out": "2088000000000002"}
DOUBTFUL = "ACQ.TRADE_HAS_FINISHED"


def give_back(alipay: Any, *responses: Any) -> Any:
    return alipay.drive(alipay.channel().return_share(REQUEST, alipay.context), *responses)


def query(alipay: Any, response: Any) -> Any:
    """A request is a question about itself."""
    operation = alipay.channel().query_share_return(REQUEST, alipay.context)
    _, outcome = alipay.drive(operation, response)
    return outcome


def test_a_return_of_which_nothing_is_told_is_not_found(alipay: Any) -> None:
    assert query(alipay, alipay.success(QUERY)) == NotFound()


@pytest.mark.parametrize("told", [{}, {"refund_royaltys": []}])
def test_a_refund_that_is_known_without_its_share_is_no_end(alipay: Any, told: Any) -> None:
    """Else a refusal of the same return, told again, would be believed over one that arrived."""
    assert query(alipay, alipay.success(QUERY, **KNOWN, **told)) == TransferPending()
    refused = alipay.failure(REFUND, DOUBTFUL)
    _, outcome = give_back(alipay, refused, alipay.success(QUERY, **KNOWN, **told))
    assert outcome == TransferPending()


def test_a_doubtful_refusal_is_believed_once_there_is_no_such_refund(alipay: Any) -> None:
    _, outcome = give_back(alipay, alipay.failure(REFUND, DOUBTFUL), alipay.success(QUERY))
    assert isinstance(outcome, TransferRefused)
    assert outcome.channel_code == DOUBTFUL


@pytest.mark.parametrize(
    "told",
    [
        {"refund_royaltys": [BACK | {"result_code": "FAIL"}]},
        {"refund_royaltys": [BACK | {"refund_amount": "3.01"}]},
        {"refund_royaltys": [BACK, BACK]},
        {"refund_royaltys": [BACK], "out_request_no": "ret02"},
        {"refund_royaltys": "3.00"},
    ],
    ids=["unknown result", "other amount", "two", "another", "no list"],
)
def test_what_is_told_otherwise_decides_nothing(alipay: Any, told: Any) -> None:
    with pytest.raises(AnswerUnreadable):
        query(alipay, alipay.success(QUERY, **(KNOWN | told)))
