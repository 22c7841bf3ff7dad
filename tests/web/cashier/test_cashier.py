"""The cashier's pages: every state in both languages, hostile text, size, policy, devices."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiao.channels.alipay import channel_type as alipay
from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.testing.bank import MANIFEST as BANK
from qiao.web.cashier.devices import (
    Environment,
    Method,
    environment_of,
    language_of,
    methods_for,
)
from qiao.web.cashier.pages import (
    View,
    assets,
    content_security_policy,
    countdown,
    qr_svg,
    render,
    render_missing,
)
from qiao.web.cashier.texts import FAILURES, TEXTS

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ALIPAY = Method(channel="alipay", product=Product.QR, name="支付宝")
ACTIONS: dict[str, dict[str, Any]] = {
    "qr": {"type": "qr_code", "content": "https://qr.alipay.com/bax03431ljhokirwl38f00a7"},
    "redirect": {"type": "redirect", "url": "https://wallet.example/?a=1&b=2"},
    "form": {"type": "form_post", "url": "https://wallet.example/pay", "fields": {"a": '"<1>'}},
    "bridge": {"type": "client_parameters", "parameters": {"tradeNO": "1'\"<>"}},
    "await": {"type": "await_customer"},
    "unknown": {},
}


def view(**more: Any) -> View:
    known: dict[str, Any] = {
        "address": "/cashier/mer_1/pay_1/token",
        "language": "zh",
        "merchant": "茶馆",
        "description": "绿茶",
        "order_id": "o-1",
        "amount": Money(1250, "CNY"),
        "state": "choosing",
        "settled": False,
        "live": True,
        "refunded": False,
        "version": "open",
        "now": NOW,
        "expires_at": NOW + timedelta(minutes=30),
        "return_url": "https://shop.example/back",
        "methods": (ALIPAY,),
        **more,
    }
    return View(**known)


STATES: dict[str, dict[str, Any]] = {
    "choosing": {},
    "nothing": {"methods": ()},
    "failed": {"failure": "insufficient_funds"},
    "paid": {"state": "paid", "settled": True},
    "refunded": {"state": "paid", "settled": True, "refunded": True},
    "closing": {"state": "closed"},
    "closed": {"state": "closed", "settled": True},
    "expiring": {"state": "expired"},
    "expired": {"state": "expired", "settled": True},
    **{
        name: {"state": "waiting", "chosen": ALIPAY, "action": action}
        for name, action in ACTIONS.items()
    },
}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_every_state(state: dict[str, Any], language: str) -> None:
    shown = render(view(language=language, **state))
    assert f'<html lang="{language}">' in shown
    assert "12.50" in shown
    assert re.search(r"\son\w+=|<style|<script(?! src=)|\sstyle=", shown) is None
    allowed = {"https://shop.example/back", "https://wallet.example/"}
    addresses = set(re.findall(r'(?:href|src|action)="(https?://[^"?]*)', shown))
    assert {one.removesuffix("pay") for one in addresses} <= allowed


def test_hostile_actions_stay_inside_their_attributes() -> None:
    shown = render(view(**STATES["bridge"])) + render(view(**STATES["form"]))
    assert "<1>" not in shown
    assert "1'" not in shown


@settings(deadline=None)  # the first rendering compiles the templates
@given(text=st.text(max_size=60))
def test_hostile_text_is_only_text(text: str) -> None:
    shown = render(view(description=f"{text}<script>", merchant=f'"><img {text}', order_id=text))
    assert "<script>" not in shown
    assert "<img" not in shown


def test_all_of_it_is_small() -> None:
    largest = max((render(view(**state)) for state in STATES.values()), key=len)
    whole = [largest.encode(), *(asset.body for asset in assets().values())]
    assert sum(len(gzip.compress(part)) for part in whole) < 12_000


def test_the_policy_admits_nothing_else() -> None:
    policy = content_security_policy(view())
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    form = content_security_policy(view(**STATES["form"]))
    assert "form-action 'self' https://wallet.example;" in form


def test_without_javascript_it_looks_again() -> None:
    assert '<noscript><meta http-equiv="refresh"' in render(view(**STATES["qr"]))
    assert '<noscript><meta http-equiv="refresh" content="1801">' in render(view())
    assert "refresh" not in render(view(**STATES["paid"]))


def test_it_listens_until_nothing_can_change() -> None:
    listening = {name for name, state in STATES.items() if " data-live" in render(view(**state))}
    assert set(STATES) - listening == {"paid", "refunded", "closed", "expired"}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_is_told_with_the_ways_to_pay(failure: str, language: str) -> None:
    shown = render(view(language=language, failure=failure))
    assert f'role="alert">{FAILURES[failure][language]}' in shown
    assert 'value="alipay:qr"' in shown


def test_another_way_is_offered_where_there_is_one() -> None:
    assert "choose=1" not in render(view(**STATES["qr"]))
    wechat = Method(channel="wechat", product=Product.QR, name="微信支付")
    assert "choose=1" in render(view(**STATES["qr"], methods=(ALIPAY, wechat)))
    scanned = {**STATES["qr"], "chosen": wechat}
    assert "打开微信扫一扫" in render(view(**scanned))
    assert "从相册中选取" in render(view(**scanned, on_phone=True))


def test_every_text_in_both_languages() -> None:
    for key, texts in {**TEXTS, **FAILURES}.items():
        assert set(texts) == {"zh", "en"}, key
        assert all(texts.values()), key
    assert TEXTS["missing"]["zh"] in render_missing("zh")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "00:00"), (59, "00:59"), (1800, "30:00"), (7265, "2:01:05")]
)
def test_countdown(seconds: int, shown: str) -> None:
    assert countdown(timedelta(seconds=seconds)) == shown


def test_a_qr_code_is_a_drawing() -> None:
    drawing = str(qr_svg("https://qr.alipay.com/x"))
    assert drawing.startswith("<svg")
    assert "href" not in drawing


@pytest.mark.parametrize(
    ("agent", "environment"),
    [
        ("", Environment.DESKTOP),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126", Environment.DESKTOP),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Mobile/15E148 Safari", Environment.MOBILE),
        ("Mozilla/5.0 (Linux; Android 14) MicroMessenger/8.0.49 Mobile", Environment.WECHAT),
        ("Mozilla/5.0 (iPhone) AlipayClient/10.6.0 Mobile", Environment.ALIPAY),
    ],
)
def test_environments(agent: str, environment: Environment) -> None:
    assert environment_of(agent) is environment


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (Environment.DESKTOP, [("alipay", Product.QR), ("bank", Product.QR)]),
        (Environment.MOBILE, [("alipay", Product.H5), ("bank", Product.H5)]),
        (Environment.ALIPAY, [("alipay", Product.OFFICIAL_ACCOUNT)]),
        (Environment.WECHAT, []),
    ],
)
def test_methods(environment: Environment, expected: list[tuple[str, Product]]) -> None:
    manifests = [alipay.manifest, BANK]
    found = methods_for(environment, manifests, currency="CNY", admitted=(), language="zh")
    assert [(one.channel, one.product) for one in found] == expected
    assert methods_for(environment, manifests, currency="USD", admitted=(), language="zh") == []
    limited = methods_for(environment, manifests, currency="CNY", admitted=["x"], language="zh")
    assert limited == []


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "zh"),
        (None, "en-US,en;q=0.9", "en"),
        (None, "fr,zh-CN;q=0.8,en;q=0.7", "zh"),
        ("en", "zh", "en"),
        ("xx", "en", "en"),
    ],
)
def test_languages(chosen: str | None, accepted: str, language: str) -> None:
    assert language_of(chosen, accepted) == language
