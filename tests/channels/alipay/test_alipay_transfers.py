"""Money that goes out: transfers to a person, and the division of a payment."""

from datetime import UTC, datetime
from typing import Any

import pytest

from qiao.channels.requests import (
    ProfitSharingQuery,
    ProfitSharingRequest,
    Share,
    TransferQuery,
    TransferRequest,
)
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import NotFound, TransferPending, Transferred, TransferRefused

TRANSFER = "alipay.fund.trans.uni.transfer"
QUERY = "alipay.fund.trans.common.query"
SETTLE = "alipay.trade.order.settle"
SETTLE_QUERY = "alipay.trade.order.settle.query"
AMOUNT = Money(2345, "CNY")
ANSWER = {
    "out_biz_no": "tra01",
    "order_id": "O1",
    "status": "SUCCESS",
    "trans_date": "2026-01-02 11:04:06",
}
AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
TRANSFERRED = Transferred(amount=AMOUNT, channel_reference="O1", transferred_at=AT)


def request(**changes: Any) -> TransferRequest:
    values: dict[str, Any] = {
        "reference": "tra01",
        "amount": AMOUNT,
        "payee": "0openid",
        "description": "佣金",
    }
    return TransferRequest(**(values | changes))


def transfer(alipay: Any, *responses: Any, **changes: Any) -> Any:
    operation = alipay.channel().transfer(request(**changes), alipay.context)
    return alipay.drive(operation, *responses)


def query(alipay: Any, response: Any) -> Any:
    asked = TransferQuery(reference="tra01", amount=AMOUNT)
    return alipay.drive(alipay.channel().query_transfer(asked, alipay.context), response)


@pytest.mark.parametrize(
    ("changes", "payee", "more"),
    [
        ({}, {"identity": "0openid", "identity_type": "ALIPAY_OPEN_ID"}, {}),
        (
            {"payee": "2088000000000009", "payee_name": "张三", "scene": "佣金报酬"},
            {"identity": "2088000000000009", "identity_type": "ALIPAY_USER_ID", "name": "张三"},
            {"transfer_scene_name": "佣金报酬"},
        ),
        (
            {"payee": "13800000000", "payee_name": "张三"},
            {"identity": "13800000000", "identity_type": "ALIPAY_LOGON_ID", "name": "张三"},
            {},
        ),
        (
            {"payee": "a@b.example", "payee_name": "张三"},
            {"identity": "a@b.example", "identity_type": "ALIPAY_LOGON_ID", "name": "张三"},
            {},
        ),
    ],
    ids=["open id", "user id", "phone", "e-mail"],
)
def test_the_whole_transfer(
    alipay: Any, changes: dict[str, Any], payee: dict[str, str], more: dict[str, str]
) -> None:
    requests, outcome = transfer(alipay, alipay.success(TRANSFER, **ANSWER), **changes)
    assert outcome == TRANSFERRED
    assert alipay.asked(requests[0], TRANSFER) == {
        "out_biz_no": "tra01",
        "trans_amount": "23.45",
        "product_code": "TRANS_ACCOUNT_NO_PWD",
        "biz_scene": "DIRECT_TRANSFER",
        "order_title": "佣金",
        "payee_info": payee,
        **more,
    }
    assert requests[0].effect


def test_the_whole_question(alipay: Any) -> None:
    node = {**ANSWER, "trans_amount": "23.45", "pay_date": "2026-01-02 11:04:06"}
    del node["trans_date"]
    requests, outcome = query(alipay, alipay.success(QUERY, **node))
    assert outcome == TRANSFERRED
    assert alipay.asked(requests[0], QUERY) == {
        "out_biz_no": "tra01",
        "product_code": "TRANS_ACCOUNT_NO_PWD",
        "biz_scene": "DIRECT_TRANSFER",
    }
    assert not requests[0].effect


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"trans_date": ""}, Transferred(amount=AMOUNT, channel_reference="O1")),
        ({"status": "DEALING"}, TransferPending(channel_reference="O1")),
        ({"status": "WAIT_PAY"}, TransferPending(channel_reference="O1")),
        (
            {"status": "FAIL", "error_code": "CARD_BIN_ERROR", "fail_reason": "卡号错误"},
            TransferRefused(
                code="declined", channel_code="CARD_BIN_ERROR", channel_message="卡号错误"
            ),
        ),
        ({"status": "CLOSED"}, TransferRefused(code="closed", channel_code="CLOSED")),
        ({"status": "REFUND"}, TransferRefused(code="returned", channel_code="REFUND")),
    ],
    ids=["no time", "dealing", "waiting", "failed", "closed", "returned"],
)
def test_a_status_is_an_outcome_for_both_methods(
    alipay: Any, changes: dict[str, str], outcome: object
) -> None:
    node = {**ANSWER, **changes}
    assert transfer(alipay, alipay.success(TRANSFER, **node))[1] == outcome
    assert query(alipay, alipay.success(QUERY, **node))[1] == outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "INIT"},
        {"status": ""},
        {"out_biz_no": "tra02"},
        {"order_id": ""},
        {"trans_amount": "23.46"},
        {"amount": "2345"},
    ],
    ids=str,
)
def test_a_transfer_that_does_not_match_is_not_believed(
    alipay: Any, changes: dict[str, str]
) -> None:
    node = {**ANSWER, **changes}
    with pytest.raises(AnswerUnreadable):
        transfer(alipay, alipay.success(TRANSFER, **node))
    with pytest.raises(AnswerUnreadable):
        query(alipay, alipay.success(QUERY, **node))


@pytest.mark.parametrize(
    ("sub_code", "meaning"),
    [
        ("PAYER_BALANCE_NOT_ENOUGH", "insufficient_funds"),
        ("PAYEE_NOT_EXIST", "payee_not_found"),
        ("PAYEE_USER_INFO_ERROR", "payee_name_mismatch"),
        ("PERM_AML_NOT_REALNAME_REV", "payee_not_allowed"),
        ("EXCEED_LIMIT_SM_MIN_AMOUNT", "limit_exceeded"),
        ("PAYER_STATUS_ERROR", "account_restricted"),
        ("INVALID_PARAMETER", "invalid_request"),
    ],
)
def test_a_refused_transfer_moved_no_money(alipay: Any, sub_code: str, meaning: str) -> None:
    _, outcome = transfer(alipay, alipay.failure(TRANSFER, sub_code))
    assert outcome == TransferRefused(code=meaning, channel_code=sub_code, channel_message="原因")


@pytest.mark.parametrize(
    "sub_code", ["SYSTEM_ERROR", "PAYMENT_INFO_INCONSISTENCY", "NEVER_HEARD_OF", "ORDER_NOT_EXIST"]
)
def test_every_other_refusal_leaves_the_transfer_open(alipay: Any, sub_code: str) -> None:
    with pytest.raises(AnswerUnreadable):
        transfer(alipay, alipay.failure(TRANSFER, sub_code))


def test_an_unknown_transfer_is_not_found_and_a_failed_question_open(alipay: Any) -> None:
    assert query(alipay, alipay.failure(QUERY, "ORDER_NOT_EXIST"))[1] == NotFound()
    with pytest.raises(AnswerUnreadable):
        query(alipay, alipay.failure(QUERY, "SYSTEM_ERROR"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reference": "a b"}, "reference"),
        ({"amount": Money(0, "CNY")}, "amount"),
        ({"description": ""}, "description"),
        ({"description": "x" * 129}, "description"),
        ({"payee": ""}, "payee"),
        ({"payee": "13800000000"}, "payee_name"),
    ],
)
def test_a_wrong_transfer_is_refused_before_anything_is_sent(
    alipay: Any, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        transfer(alipay, **changes)
    assert error.value.field == field
    assert "138" not in str(error.value)


def share(receiver: str, minor: int) -> Share:
    return Share(
        receiver_type="userId", receiver=receiver, amount=Money(minor, "CNY"), description="分账"
    )


def detail(state: str, amount: object, **more: str) -> dict[str, object]:
    return {"operation_type": "transfer", "state": state, "amount": amount, **more}


def sharing(alipay: Any, *responses: Any, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "reference": "sha01",
        "payment_reference": "att01",
        "payment_channel_reference": "T1",
        "shares": (share("2088000000000002", 1000), share("2088000000000003", 1345)),
    }
    asked = ProfitSharingRequest(**(values | changes))
    return alipay.drive(alipay.channel().share_profit(asked, alipay.context), *responses)


def query_sharing(alipay: Any, response: Any) -> Any:
    asked = ProfitSharingQuery(
        reference="sha01",
        payment_reference="att01",
        payment_channel_reference="T1",
        amount=AMOUNT,
    )
    return alipay.drive(alipay.channel().query_profit_sharing(asked, alipay.context), response)


@pytest.mark.parametrize("finish", [True, False])
def test_the_whole_sharing(alipay: Any, finish: bool) -> None:
    response = alipay.success(SETTLE, trade_no="T1", settle_no="S1")
    requests, outcome = sharing(alipay, response, finish=finish)
    assert outcome == TransferPending(channel_reference="S1")
    common = {"royalty_type": "transfer", "trans_in_type": "userId", "desc": "分账"}
    assert alipay.asked(requests[0], SETTLE) == {
        "out_request_no": "sha01",
        "trade_no": "T1",
        "royalty_parameters": [
            {**common, "trans_in": "2088000000000002", "amount": "10.00"},
            {**common, "trans_in": "2088000000000003", "amount": "13.45"},
        ],
        "extend_params": {"royalty_finish": "true" if finish else "false"},
        "royalty_mode": "async",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"shares": (), "finish": False}, "shares"),
        ({"shares": (share("2088000000000002", 0),)}, "shares"),
        ({"reference": ""}, "reference"),
    ],
    ids=["none", "of nothing", "no number"],
)
def test_a_wrong_sharing_is_refused_before_anything_is_sent(
    alipay: Any, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        sharing(alipay, **changes)
    assert error.value.field == field


def test_a_refused_sharing(alipay: Any) -> None:
    _, outcome = sharing(alipay, alipay.failure(SETTLE, "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR"))
    assert outcome == TransferRefused(
        code="amount_not_allowed",
        channel_code="ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",
        channel_message="原因",
    )
    for sub_code in ("ACQ.SYSTEM_ERROR", "ACQ.TRADE_SETTLE_ERROR"):
        with pytest.raises(AnswerUnreadable):
            sharing(alipay, alipay.failure(SETTLE, sub_code))
    with pytest.raises(AnswerUnreadable):
        sharing(alipay, alipay.success(SETTLE, trade_no="T2"))


GIVEN_BACK = {"operation_type": "transfer_refund", "state": "FAIL", "amount": "1.00"}


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        (
            [
                detail("SUCCESS", "10.00", execute_dt="2026-01-02 11:04:06"),
                GIVEN_BACK,
                detail("SUCCESS", 13.45, execute_dt="2026-01-02 11:04:05"),
            ],
            Transferred(amount=AMOUNT, channel_reference="T1", transferred_at=AT),
        ),
        (
            [detail("SUCCESS", "23.45")],
            Transferred(amount=AMOUNT, channel_reference="T1"),
        ),
        ([detail("SUCCESS", "10.00"), detail("PROCESSING", "13.45")], TransferPending()),
        ([detail("FAIL", "10.00"), detail("PROCESSING", "13.45")], TransferPending()),
        (
            [detail("FAIL", "23.45", error_code="TXN_ODD", error_desc="余额不足")],
            TransferRefused(code="declined", channel_code="TXN_ODD", channel_message="余额不足"),
        ),
    ],
    ids=["all", "one", "some still working", "some failed, some working", "all failed"],
)
def test_the_states_of_all_shares_are_one_outcome(
    alipay: Any, details: list[dict[str, object]], outcome: object
) -> None:
    response = alipay.success(SETTLE_QUERY, out_request_no="sha01", royalty_detail_list=details)
    requests, result = query_sharing(alipay, response)
    assert result == outcome
    assert alipay.asked(requests[0], SETTLE_QUERY) == {
        "trade_no": "T1",
        "out_request_no": "sha01",
    }
    assert not requests[0].effect


@pytest.mark.parametrize(
    "fields",
    [
        {"royalty_detail_list": [detail("SUCCESS", "10.00"), detail("FAIL", "13.45")]},
        {"royalty_detail_list": [detail("SUCCESS", "10.00")]},
        {"royalty_detail_list": [detail("ODD", "23.45")]},
        {"royalty_detail_list": [GIVEN_BACK]},
        {"royalty_detail_list": []},
        {"royalty_detail_list": ["x"]},
        {"royalty_detail_list": "x"},
        {},
        {"out_request_no": "sha02", "royalty_detail_list": [detail("SUCCESS", "23.45")]},
    ],
    ids=str,
)
def test_a_sharing_that_is_partly_done_or_not_ours_is_open(
    alipay: Any, fields: dict[str, Any]
) -> None:
    response = alipay.success(SETTLE_QUERY, **{"out_request_no": "sha01", **fields})
    with pytest.raises(AnswerUnreadable):
        query_sharing(alipay, response)


def test_a_question_that_fails_is_open(alipay: Any) -> None:
    with pytest.raises(AnswerUnreadable):
        query_sharing(alipay, alipay.failure(SETTLE_QUERY, "ACQ.TRADE_NOT_EXIST"))
