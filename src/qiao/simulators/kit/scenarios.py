"""Same amount, same outcome: what a simulated channel does with certain amounts.

This table is the one source for the simulators, ``qiao sandbox scenarios``, the wallet page and
the documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Scenario(StrEnum):
    """What happens instead of the ordinary."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    ACCOUNT_RESTRICTED = "account_restricted"
    INVALID_AUTH_CODE = "invalid_auth_code"
    PASSWORD_THEN_PAID = "password_then_paid"  # noqa: S105 - a scenario's name
    PASSWORD_THEN_CANCELLED = "password_then_cancelled"  # noqa: S105 - a scenario's name
    ANSWER_LOST = "answer_lost"
    NEVER_ARRIVED = "never_arrived"
    SYSTEM_ERROR_BUT_DONE = "system_error_but_done"
    SYSTEM_ERROR_NOT_DONE = "system_error_not_done"
    BAD_SIGNATURE = "bad_signature"
    NOTIFIED_TWICE = "notified_twice"
    NEVER_NOTIFIED = "never_notified"
    LATE_SUCCESS = "late_success"
    REFUND_PROCESSING = "refund_processing"
    REFUND_REFUSED = "refund_refused"
    REFUND_ANSWER_LOST = "refund_answer_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One amount of the table, in minor units of any currency."""

    minor: int
    scenario: Scenario
    description: Mapping[str, str]


def _entry(minor: int, scenario: Scenario, english: str, chinese: str) -> Entry:
    return Entry(minor=minor, scenario=scenario, description={"en": english, "zh": chinese})


ENTRIES: Final = (
    _entry(40001, Scenario.INSUFFICIENT_FUNDS, "declined: not enough money", "拒绝：余额不足"),
    _entry(40002, Scenario.ACCOUNT_RESTRICTED, "declined: account restricted", "拒绝：账户受限"),
    _entry(40003, Scenario.INVALID_AUTH_CODE, "declined: payment code invalid", "拒绝：付款码无效"),
    _entry(
        40004,
        Scenario.PASSWORD_THEN_PAID,
        "payment code: the customer is asked for a password and pays",
        "付款码：用户输入密码后支付成功",
    ),
    _entry(
        40005,
        Scenario.PASSWORD_THEN_CANCELLED,
        "payment code: the customer is asked for a password and gives up",
        "付款码：用户输入密码时取消",
    ),
    _entry(50001, Scenario.ANSWER_LOST, "accepted, but the answer is lost", "已受理，但应答丢失"),
    _entry(50002, Scenario.NEVER_ARRIVED, "the request is lost, no answer", "请求丢失，无应答"),
    _entry(
        50003, Scenario.SYSTEM_ERROR_BUT_DONE, "system error, yet accepted", "系统错误，但已受理"
    ),
    _entry(50004, Scenario.SYSTEM_ERROR_NOT_DONE, "system error, not accepted", "系统错误，未受理"),
    _entry(
        50005, Scenario.BAD_SIGNATURE, "accepted, answer wrongly signed", "已受理，应答签名错误"
    ),
    _entry(50006, Scenario.NOTIFIED_TWICE, "paid, notified twice", "支付成功，通知重复"),
    _entry(50007, Scenario.NEVER_NOTIFIED, "paid, never notified", "支付成功，没有通知"),
    _entry(
        50008,
        Scenario.LATE_SUCCESS,
        "closed, and the customer's money arrives all the same",
        "关单后用户的款项仍然到账",
    ),
    _entry(60001, Scenario.REFUND_PROCESSING, "its refunds take a while", "退款处理中，稍后成功"),
    _entry(60002, Scenario.REFUND_REFUSED, "its refunds are refused", "退款被拒绝"),
    _entry(
        60003, Scenario.REFUND_ANSWER_LOST, "refunded, but the answer is lost", "已退款，应答丢失"
    ),
)
_BY_MINOR: Final = {entry.minor: entry.scenario for entry in ENTRIES}


def scenario_of(minor: int) -> Scenario | None:
    """What happens with a payment of ``minor`` units (refunds: by the payment's amount)."""
    return _BY_MINOR.get(minor)
