"""Notifications: nothing of one is believed before its signature and its addressee are right."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.alipay.notifications import authenticate
from qiao.channels.interface import OtherNotification, PaymentNotification
from qiao.channels.wire import HttpMessage, HttpReply
from qiao.domain.errors import NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import AwaitCustomer, Closed, Pending, Succeeded

FIELDS = {
    "notify_time": "2026-01-02 11:04:07",
    "notify_type": "trade_status_sync",
    "notify_id": "N1",
    "app_id": "2021000000000001",
    "auth_app_id": "2021000000000001",
    "charset": "utf-8",
    "version": "1.0",
    "sign_type": "RSA2",
    "trade_no": "T1",
    "out_trade_no": "att01",
    "buyer_id": "2088000000000009",
    "seller_id": "2088000000000001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "12.30",
    "subject": "一杯茶 & tea = 100% + more",
    "gmt_payment": "2026-01-02 11:04:06",
    "fund_bill_list": '[{"amount":"12.30","fundChannel":"ALIPAYACCOUNT"}]',
    "body": "",
}
SUCCEEDED = Succeeded(
    amount=Money(1230, "CNY"),
    channel_reference="T1",
    paid_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    payer="2088000000000009",
)
PAID = PaymentNotification(id="N1", reference="att01", outcome=SUCCEEDED)
OTHER = {"trade_status": None, "out_trade_no": None, "seller_id": None, "total_amount": None}


def fields(**changes: str | None) -> dict[str, str]:
    return {name: text for name, text in {**FIELDS, **changes}.items() if text is not None}


def receive(alipay: Any, message: HttpMessage, **settings: object) -> Any:
    return alipay.channel(**settings).authenticate(message, alipay.context)


def payment(outcome: Any) -> PaymentNotification:
    return PaymentNotification(id="N1", reference="att01", outcome=outcome)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, PAID),
        ({"trade_status": "TRADE_FINISHED"}, PAID),
        (
            {"gmt_refund": "2026-01-02 12:00:00.1", "refund_fee": "3.00", "out_biz_no": "ref02"},
            PAID,
        ),
        ({"buyer_open_id": "0abc"}, payment(replace(SUCCEEDED, payer="0abc"))),
        ({"buyer_id": None}, payment(replace(SUCCEEDED, payer=None))),
        ({"auth_app_id": None}, PAID),
        ({"charset": None}, PAID),
        (
            {"trade_status": "WAIT_BUYER_PAY", "gmt_payment": None},
            payment(Pending(action=AwaitCustomer(), channel_reference="T1")),
        ),
        (
            {"trade_status": "TRADE_CLOSED", "gmt_payment": None},
            payment(Closed(channel_reference="T1")),
        ),
        (
            {"trade_status": "TRADE_CLOSED", "gmt_refund": "2026-01-02 12:00:00"},
            OtherNotification(id="N1", kind="refund"),
        ),
        (
            {"trade_status": "TRADE_CLOSED", "refund_fee": "12.30"},
            OtherNotification(id="N1", kind="refund"),
        ),
        (
            {"trade_status": "TRADE_PENDING"},
            OtherNotification(id="N1", kind="trade_status TRADE_PENDING"),
        ),
        (OTHER, OtherNotification(id="N1", kind="trade_status_sync")),
        (
            {**OTHER, "notify_type": None, "msg_method": "alipay.fund.trans.order.changed"},
            OtherNotification(id="N1", kind="alipay.fund.trans.order.changed"),
        ),
    ],
    ids=[
        "paid",
        "finished",
        "refunded in part",
        "open id",
        "no payer",
        "no auth_app_id",
        "no charset",
        "waiting",
        "closed",
        "refunded in full",
        "refunded in full, no time",
        "a status that nobody knows",
        "not about a trade",
        "a message of another family",
    ],
)
def test_what_a_notification_says(
    alipay: Any, changes: dict[str, str | None], expected: object
) -> None:
    assert receive(alipay, alipay.notification(fields(**changes))) == expected


def test_some_families_sign_the_sign_type_too(alipay: Any) -> None:
    message = alipay.notification(fields(**OTHER), keep_sign_type=True)
    assert receive(alipay, message) == OtherNotification(id="N1", kind="trade_status_sync")


@pytest.mark.parametrize("charset", ["GBK", "gb2312", "gb18030"])
def test_a_notification_in_gbk_is_verified_in_gbk(alipay: Any, charset: str) -> None:
    message = alipay.notification(fields(charset=charset), charset=charset)
    assert receive(alipay, message) == PAID


def by_other_key(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, alipay.other_key))


def by_app_key(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, alipay.app_key))


def with_sha1(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, hash_=hashes.SHA1()))


def nothing(_: Any) -> Callable[[bytes], str]:
    return lambda _: ""


@pytest.mark.parametrize("forger", [by_other_key, by_app_key, with_sha1, nothing])
@pytest.mark.parametrize("sign_type", ["RSA2", "RSA", None])
def test_a_signature_that_is_not_alipays_is_refused(
    alipay: Any, forger: Callable[[Any], Callable[[bytes], str]], sign_type: str | None
) -> None:
    message = alipay.notification(fields(sign_type=sign_type), sign=forger(alipay))
    with pytest.raises(NotificationRejected):
        receive(alipay, message)


def test_the_message_does_not_choose_the_algorithm(alipay: Any) -> None:
    sha1 = alipay.notification(fields(sign_type="RSA"), sign=with_sha1(alipay))
    with pytest.raises(NotificationRejected, match="RSA2"):
        receive(alipay, sha1)
    assert receive(alipay, sha1, sign_type="RSA") == PAID
    with pytest.raises(NotificationRejected):
        receive(alipay, alipay.notification(fields()), sign_type="RSA")


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"sign_type"}))
def test_no_parameter_can_be_changed_dropped_or_added(alipay: Any, name: str) -> None:
    body = alipay.notification(fields()).body.decode()
    pair = next(pair for pair in body.split("&") if pair.startswith(name + "="))
    for changed in (
        body.replace(pair, pair + "1"),
        body.replace(pair + "&", ""),
        body.replace(pair, f"{name}2={pair.partition('=')[2]}"),
        body + f"&{name}x=1",
        body + f"&{pair}",
    ):
        with pytest.raises(NotificationRejected):
            receive(alipay, HttpMessage(method="POST", target="/", body=changed.encode()))


@pytest.mark.parametrize(
    "changes",
    [
        {"app_id": "2021000000000002"},
        {"app_id": None},
        {"auth_app_id": "2021000000000002"},
        {"seller_id": "2088000000000002"},
        {"seller_id": None},
        {"notify_id": None},
        {"out_trade_no": None},
        {"trade_no": None},
        {"total_amount": None},
        {"total_amount": "12.345"},
        {"gmt_payment": None},
        {"gmt_payment": "soon"},
        {"trans_currency": "USD"},
    ],
    ids=str,
)
def test_an_authentic_message_for_someone_else_or_of_no_sense_is_refused(
    alipay: Any, changes: dict[str, str | None]
) -> None:
    with pytest.raises(NotificationRejected):
        receive(alipay, alipay.notification(fields(**changes)))


SERVICE_PROVIDER = {"app_auth_token": "token", "auth_app_id": "2021000000000005"}


@pytest.mark.parametrize(
    ("changes", "settings", "accepted"),
    [
        ({"auth_app_id": "2021000000000005"}, SERVICE_PROVIDER, True),
        ({}, SERVICE_PROVIDER, False),
        ({"auth_app_id": None}, SERVICE_PROVIDER, False),
        ({"auth_app_id": "2021000000000006"}, {"app_auth_token": "token"}, True),
        ({"seller_id": "2088000000000002"}, {"app_auth_token": "token"}, False),
        ({"seller_id": "2088000000000002"}, {"seller_id": None}, True),
    ],
    ids=[
        "the merchant",
        "another merchant",
        "no merchant",
        "told by the seller",
        "another seller",
        "any seller",
    ],
)
def test_every_merchant_of_a_service_provider_gets_its_own(
    alipay: Any,
    changes: dict[str, str | None],
    settings: dict[str, object],
    accepted: bool,
) -> None:
    message = alipay.notification(fields(**changes))
    if accepted:
        assert receive(alipay, message, **settings) == PAID
    else:
        with pytest.raises(NotificationRejected):
            receive(alipay, message, **settings)


@pytest.mark.parametrize(
    "message",
    [
        HttpMessage(method="POST", target="/", body=b""),
        HttpMessage(method="POST", target="/", body=b"{}"),
        HttpMessage(method="POST", target="/", body=b"sign=AAAA"),
        HttpMessage(method="POST", target="/", body=b"sign=%E4%B8%AD&app_id=1"),
        HttpMessage(method="POST", target="/", body=b"sign=%zz"),
        HttpMessage(method="POST", target="/", body=b"\xff=\xff&sign=a"),
    ],
    ids=["empty", "json", "a signature alone", "no base64", "a broken escape", "bytes"],
)
def test_what_is_not_a_notification_is_refused(alipay: Any, message: HttpMessage) -> None:
    with pytest.raises(NotificationRejected):
        receive(alipay, message)


def test_only_a_post_is_a_notification(alipay: Any) -> None:
    with pytest.raises(NotificationRejected):
        receive(alipay, replace(alipay.notification(fields()), method="GET"))


def test_a_charset_of_its_own_is_refused(alipay: Any) -> None:
    for charset, encoding in (("latin-1", "utf-8"), ("utf-8", "gbk")):
        message = alipay.notification(fields(charset=charset), charset=encoding)
        with pytest.raises(NotificationRejected, match="charset"):
            receive(alipay, message)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_and_never_crash(alipay: Any, body: bytes) -> None:
    with pytest.raises(NotificationRejected):
        receive(alipay, HttpMessage(method="POST", target="/", body=body))


@given(
    st.dictionaries(
        st.text("abcxyz_", min_size=3, max_size=8), st.text(st.characters(codec="utf-8"))
    )
)
def test_any_further_parameters_are_verified_as_they_were_sent(
    alipay: Any, more: dict[str, str]
) -> None:
    extra = {f"z_{name}": text for name, text in more.items()}
    assert receive(alipay, alipay.notification({**FIELDS, **extra})) == PAID


def test_in_certificate_mode_a_notification_may_name_its_certificate(alipay: Any) -> None:
    settings = {
        "alipay_public_key": None,
        "app_certificate": alipay.certificate(alipay.app_key, 11),
        "alipay_certificate": alipay.certificate(alipay.alipay_key, 12),
        "next_alipay_certificate": alipay.certificate(alipay.other_key, 13),
        "alipay_root_certificate": alipay.certificate(alipay.other_key, 14),
    }
    channel = alipay.channel(**settings)
    serials = list(channel._gateway.account.alipay_keys)
    for key, serial, accepted in (
        (alipay.alipay_key, None, True),
        (alipay.other_key, None, True),
        (alipay.app_key, None, False),
        (alipay.alipay_key, serials[0], True),
        (alipay.other_key, serials[0], False),
        (alipay.alipay_key, "0" * 32, False),
    ):
        values = fields(alipay_cert_sn=serial)
        message = alipay.notification(
            values, sign=lambda content, key=key: alipay.sign(content, key)
        )
        if accepted:
            assert channel.authenticate(message, alipay.context) == PAID
        else:
            with pytest.raises(NotificationRejected):
                authenticate(channel._gateway.account, message)


@pytest.mark.parametrize(("accepted", "body"), [(True, b"success"), (False, b"fail")])
def test_the_acknowledgement_is_exact(alipay: Any, accepted: bool, body: bytes) -> None:
    assert alipay.channel().acknowledge(accepted=accepted) == HttpReply(
        status=200, content_type="text/plain; charset=utf-8", body=body
    )
