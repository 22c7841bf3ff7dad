"""Each thing that can be wrong with an Alipay account, against the simulated Alipay."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from qiao.channels.alipay import channel_type
from qiao.channels.alipay.diagnosis import explain
from qiao.simulators.alipay import Simulator
from qiao.simulators.kit.faults import Fault, FaultKind

Diagnosed = Callable[..., Any]
Change = Callable[[dict[str, Any], Simulator, Any, Any], None]
"""Spoils good settings: the settings, the simulator, a stranger's key, names of conftest."""
GONE = "gone"


def put(**changes: Any) -> Change:
    """Set fields to values, or to what a function of the same arguments gives."""

    def change(values: dict[str, Any], alipay: Simulator, stranger: Any, paste: Any) -> None:
        for name, value in changes.items():
            made = value(values, alipay, stranger, paste) if callable(value) else value
            values.pop(name, None) if made == GONE else values.update({name: made})

    return change


def of(account: str, field: str) -> Callable[..., Any]:
    """A field out of another account's settings."""
    return lambda _, alipay, *__: alipay.credentials.settings(account, base_url="")[field]


def swap(values: dict[str, Any], *_: Any) -> None:
    app, theirs = values["app_certificate"], values["alipay_certificate"]
    values.update(app_certificate=theirs, alipay_certificate=app)


KEY_MODE: list[tuple[str, Change, list[tuple[str, str]]]] = [
    ("well", put(), []),
    ("PKCS#1", put(private_key=lambda v, a, s, p: p.of(v["private_key"]).private("pkcs1")), []),
    ("bare PKCS#8", put(private_key=lambda v, a, s, p: p.bare(v["private_key"])), []),
    (
        "bare PKCS#1",
        put(private_key=lambda v, a, s, p: p.bare(p.of(v["private_key"]).private("pkcs1"))),
        [],
    ),
    ("bare public", put(alipay_public_key=lambda v, a, s, p: p.bare(v["alipay_public_key"])), []),
    (
        "each field",
        put(app_id=GONE, private_key=GONE, sign_type=5, appid="2021000000000001"),
        [
            ("unknown_field", "appid"),
            ("missing_field", "app_id"),
            ("missing_field", "private_key"),
            ("wrong_type", "sign_type"),
        ],
    ),
    (
        "public key as private",
        put(private_key=lambda v, *_: v["alipay_public_key"]),
        [("public_key_given", "private_key")],
    ),
    (
        "certificate as private key",
        put(private_key=of("certificate", "app_certificate")),
        [("certificate_given", "private_key")],
    ),
    ("empty", put(private_key=" "), [("empty", "private_key")]),
    (
        "cut off",
        put(private_key=lambda v, a, s, p: p.bare(v["private_key"])[:-40]),
        [("unreadable", "private_key")],
    ),
    (
        "password",
        put(private_key=lambda v, a, s, p: s.private(password=b"secret")),
        [("encrypted_key", "private_key")],
    ),
    (
        "old password",
        put(private_key=lambda v, a, s, p: s.private("pkcs1", password=b"secret")),
        [("encrypted_key", "private_key")],
    ),
    ("not RSA", put(private_key=lambda v, a, s, p: p.elliptic), [("unreadable", "private_key")]),
    (
        "too short",
        put(private_key=lambda v, a, s, p: p.short.private()),
        [("settings_refused", "private_key")],
    ),
    (
        "own public key",
        put(alipay_public_key=lambda v, a, s, p: p.of(v["private_key"]).public),
        [("own_public_key", "alipay_public_key")],
    ),
    (
        "private key as public",
        put(alipay_public_key=lambda v, a, s, p: s.private()),
        [("private_key_given", "alipay_public_key")],
    ),
    (
        "certificate in key mode",
        put(alipay_public_key=of("certificate", "alipay_certificate")),
        [("certificate_in_key_mode", "alipay_public_key")],
    ),
    (
        "another's public key",
        put(alipay_public_key=lambda v, a, s, p: s.public),
        [("answer_not_signed_by", "alipay_public_key")],
    ),
    (
        "both modes",
        put(app_certificate=lambda v, a, s, p: p.of(v["private_key"]).certificate()),
        [("settings_refused", "app_certificate")],
    ),
    ("no mode", put(alipay_public_key=GONE), [("settings_refused", "alipay_public_key")]),
    ("app id", put(app_id="wx1"), [("settings_refused", "app_id")]),
    (
        "another's private key",
        put(private_key=of("second", "private_key")),
        [("signature_refused", "private_key")],
    ),
    (
        "another's app id",
        put(app_id=of("second", "app_id")),
        [("signature_refused", "private_key")],
    ),
    ("unknown app", put(app_id="2021999999999999"), [("app_unknown", "app_id")]),
    ("sign type", put(sign_type="RSA"), [("sign_type_refused", "sign_type")]),
    ("no AES key", put(aes_key="bm8="), [("settings_refused", "aes_key")]),
    ("no gateway", put(gateway="ftp://x"), [("settings_refused", "gateway")]),
    ("nobody there", put(gateway="http://127.0.0.1:1/gateway.do"), [("unreachable", "gateway")]),
    (
        "somebody else there",
        put(gateway=lambda v, alipay, *_: f"{alipay.base_url}/wallet/app"),
        [("not_the_gateway", "gateway")],
    ),
]
CERTIFICATE_MODE: list[tuple[str, Change, list[tuple[str, str]]]] = [
    ("well", put(), []),
    (
        "another's certificate",
        put(app_certificate=lambda v, a, s, p: s.certificate()),
        [("key_not_of_certificate", "private_key")],
    ),
    ("swapped", swap, [("certificates_swapped", "app_certificate")]),
    (
        "own certificate",
        put(alipay_certificate=lambda v, *_: v["app_certificate"]),
        [("own_certificate", "alipay_certificate")],
    ),
    (
        "expired",
        put(
            app_certificate=lambda v, a, s, p: p.of(v["private_key"]).certificate(
                begins_days=-9, ends_days=-1
            )
        ),
        [("certificate_expired", "app_certificate")],
    ),
    (
        "not yet valid",
        put(alipay_certificate=lambda v, a, s, p: s.certificate(begins_days=2)),
        [("certificate_not_yet_valid", "alipay_certificate")],
    ),
    (
        "public key as certificate",
        put(alipay_certificate=lambda v, a, s, p: s.public),
        [("public_key_given", "alipay_certificate")],
    ),
    (
        "cut off",
        put(app_certificate=lambda v, *_: v["app_certificate"][:200]),
        [("unreadable", "app_certificate")],
    ),
    ("one less", put(app_certificate=GONE), [("settings_refused", "app_certificate")]),
    (
        "no root",
        put(alipay_root_certificate="x"),
        [("settings_refused", "alipay_root_certificate")],
    ),
    (
        "another root",
        put(alipay_root_certificate=lambda v, a, s, p: s.certificate()),
        [("root_certificate_refused", "alipay_root_certificate")],
    ),
    (
        "an older certificate of the same key",
        put(app_certificate=lambda v, a, s, p: p.of(v["private_key"]).certificate()),
        [("app_certificate_refused", "app_certificate")],
    ),
    (
        "another's Alipay certificate",
        put(alipay_certificate=lambda v, a, s, p: s.certificate()),
        [("answer_not_signed_by", "alipay_certificate")],
    ),
]


@pytest.mark.parametrize(
    ("account", "change", "expected"),
    [
        pytest.param(account, change, expected, id=f"{account}: {name}")
        for account, table in (("ordinary", KEY_MODE), ("certificate", CERTIFICATE_MODE))
        for name, change, expected in table
    ],
)
async def test_what_is_found(
    simulated_alipay: Simulator,
    diagnosed: Diagnosed,
    stranger: Any,
    paste: Any,
    account: str,
    change: Change,
    expected: list[tuple[str, str]],
) -> None:
    base_url = simulated_alipay.base_url
    values: dict[str, Any] = dict(simulated_alipay.credentials.settings(account, base_url=base_url))
    change(values, simulated_alipay, stranger, paste)
    assert await diagnosed(channel_type, values) == expected


@pytest.mark.parametrize(
    ("account", "changes", "expected"),
    [
        ("encrypted", {}, []),
        ("encrypted", {"aes_key": None}, [("aes_key_missing", "aes_key")]),
        (
            "encrypted",
            {"aes_key": base64.b64encode(b"k" * 16).decode()},
            [("aes_key_wrong", "aes_key")],
        ),
        ("provider", {}, []),
        (
            "provider",
            {"app_auth_token": "no such token"},
            [("authorisation_refused", "app_auth_token")],
        ),
        ("sha1", {}, []),
    ],
)
async def test_other_kinds_of_accounts(
    simulated_alipay: Simulator,
    diagnosed: Diagnosed,
    account: str,
    changes: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    base_url = simulated_alipay.base_url
    known = simulated_alipay.credentials.settings(account, base_url=base_url)
    values = {name: value for name, value in {**known, **changes}.items() if value is not None}
    assert await diagnosed(channel_type, values) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.RESET, "no_answer"),
        (FaultKind.SYSTEM_ERROR, "channel_unavailable"),
        (FaultKind.BAD_SIGNATURE, "answer_not_signed_by"),
    ],
)
async def test_when_the_channel_fails(
    simulated_alipay: Simulator, diagnosed: Diagnosed, kind: FaultKind, expected: str
) -> None:
    simulated_alipay.faults.add(Fault(kind=kind))
    url = simulated_alipay.base_url
    values = simulated_alipay.credentials.settings("ordinary", base_url=url)
    assert [code for code, _ in await diagnosed(channel_type, values)] == [expected]


@pytest.mark.parametrize("minutes", [-20, -2, 2, 20])
async def test_a_wrong_clock(
    simulated_alipay: Simulator, diagnosed_at: Diagnosed, minutes: int
) -> None:
    url = simulated_alipay.base_url
    values = simulated_alipay.credentials.settings("ordinary", base_url=url)
    found = await diagnosed_at(channel_type, values, timedelta(minutes=minutes))
    assert found == [("clock_skew", "clock")]
    assert await diagnosed_at(channel_type, values, timedelta(seconds=20)) == []


async def test_with_an_order(simulated_alipay: Simulator, diagnosed: Diagnosed) -> None:
    url = simulated_alipay.base_url
    values = simulated_alipay.credentials.settings("ordinary", base_url=url)
    assert await diagnosed(channel_type, values) == []
    assert not simulated_alipay.book.trades
    assert await diagnosed(channel_type, values, with_order=True) == []
    assert [trade.fen for trade in simulated_alipay.book.trades.values()] == [1]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("isv.insufficient-isv-permissions", "product_not_signed"),
        ("ACQ.ACCESS_FORBIDDEN", "product_not_signed"),
        ("isv.invalid-timestamp", "clock_skew"),
        ("isv.something-new", "refused"),
    ],
)
def test_codes_that_the_simulator_does_not_say(code: str, expected: str) -> None:
    assert explain(code).code == expected
