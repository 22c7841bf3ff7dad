"""Each thing that can be wrong with a WeChat Pay account, against the simulated WeChat Pay."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from qiao.channels.wechat import channel_type
from qiao.channels.wechat.diagnosis import explain
from qiao.simulators.kit.faults import Fault, FaultKind
from qiao.simulators.wechat import Simulator

Diagnosed = Callable[..., Any]
Change = Callable[[dict[str, Any], Simulator, Any, Any], None]
"""Spoils good settings: the settings, the simulator, a stranger's key, names of conftest."""
GONE = "gone"


def put(**changes: Any) -> Change:
    """Set fields to values, or to what a function of the same arguments gives."""

    def change(values: dict[str, Any], wechat: Simulator, stranger: Any, paste: Any) -> None:
        for name, value in changes.items():
            made = value(values, wechat, stranger, paste) if callable(value) else value
            values.pop(name, None) if made == GONE else values.update({name: made})

    return change


def of(account: str, field: str) -> Callable[..., Any]:
    """A field out of another account's settings."""
    return lambda _, wechat, *__: wechat.credentials.settings(account, base_url="")[field]


def first(values: dict[str, Any]) -> str:
    """The name of the platform key that signs now."""
    return str(next(iter(values["platform_keys"])))


def platform(make: Callable[..., str]) -> Change:
    """Another text under the name of the platform key that signs now."""

    def change(values: dict[str, Any], *more: Any) -> None:
        values["platform_keys"] = {
            **values["platform_keys"],
            first(values): make(values, *more),
        }

    return change


def without_first(values: dict[str, Any], *_: Any) -> None:
    values["platform_keys"] = dict(list(values["platform_keys"].items())[1:])


def serial(pem: str) -> str:
    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:X}"


def as_certificate(pem: Callable[..., str]) -> Change:
    """A platform certificate under its own serial."""

    def change(values: dict[str, Any], *more: Any) -> None:
        made = pem(values, *more)
        values["platform_keys"] = {serial(made): made}

    return change


def own_certificate(days: tuple[int, int] = (-1, 365)) -> Callable[..., str]:
    """A certificate of the merchant's own key."""
    return lambda v, w, s, p: str(
        p.of(v["private_key"]).certificate(begins_days=days[0], ends_days=days[1])
    )


FIRST = "platform_keys.*"
EITHER: list[tuple[str, Change, list[tuple[str, str]]]] = [
    ("well", put(), []),
    ("bare private key", put(private_key=lambda v, w, s, p: p.bare(v["private_key"])), []),
    (
        "PKCS#1",
        put(private_key=lambda v, w, s, p: p.of(v["private_key"]).private("pkcs1")),
        [],
    ),
    (
        "each field",
        put(mchid=GONE, api_v3_key=5, merchant_id="1"),
        [
            ("unknown_field", "merchant_id"),
            ("missing_field", "mchid"),
            ("wrong_type", "api_v3_key"),
        ],
    ),
    (
        "own certificate as private key",
        put(private_key=own_certificate()),
        [("certificate_given", "private_key")],
    ),
    ("short APIv3 key", put(api_v3_key="short"), [("api_v3_key_length", "api_v3_key")]),
    ("another APIv3 key", put(api_v3_key="k" * 32), [("api_v3_key_wrong", "api_v3_key")]),
    (
        "serial of a platform key",
        put(serial_no=lambda v, *_: first(v)),
        [("*", "serial_no")],
    ),
    (
        "another serial",
        put(serial_no="5157F09EFDC096DE15EBE81A47057A7232F1B8E1"),
        [("serial_refused", "serial_no")],
    ),
    ("no serial", put(serial_no=GONE), [("settings_refused", "serial_no")]),
    (
        "certificate of another serial",
        put(certificate=own_certificate()),
        [("serial_not_of_certificate", "serial_no")],
    ),
    (
        "certificate of another key",
        put(serial_no=GONE, certificate=lambda v, w, s, p: s.certificate()),
        [("key_not_of_certificate", "private_key")],
    ),
    (
        "own certificate expired",
        put(serial_no=GONE, certificate=own_certificate((-9, -1))),
        [("certificate_expired", "certificate")],
    ),
    (
        "own certificate not yet valid",
        put(serial_no=GONE, certificate=own_certificate((2, 9))),
        [("certificate_not_yet_valid", "certificate")],
    ),
    (
        "key as certificate",
        put(certificate=lambda v, w, s, p: s.public),
        [("public_key_given", "certificate")],
    ),
    (
        "another's private key",
        put(private_key=of("second", "private_key")),
        [("signature_refused", "private_key")],
    ),
    ("unknown merchant", put(mchid="1999999999"), [("merchant_unknown", "mchid")]),
    ("no platform key", put(platform_keys={}), [("platform_key_missing", "platform_keys")]),
    (
        "own public key",
        platform(lambda v, w, s, p: p.of(v["private_key"]).public),
        [("own_key_as_platform_key", FIRST)],
    ),
    ("own certificate", platform(own_certificate()), [("own_key_as_platform_key", FIRST)]),
    (
        "private key as platform key",
        platform(lambda v, w, s, p: s.private()),
        [("private_key_given", FIRST)],
    ),
    (
        "another's app",
        put(appid=of("second", "appid")),
        [("app_secret_wrong", "app_secret")],
    ),
    ("another secret", put(app_secret="0" * 32), [("app_secret_wrong", "app_secret")]),
    ("nobody there", put(gateway="http://127.0.0.1:1"), [("unreachable", "gateway")]),
    ("no OAuth there", put(oauth_gateway="http://127.0.0.1:1"), [("unreachable", "oauth_gateway")]),
    (
        "somebody else there",
        put(gateway=lambda v, wechat, *_: f"{wechat.base_url}/wallet"),
        [("not_the_gateway", "gateway")],
    ),
]
PUBLIC_KEY_MODE: list[tuple[str, Change, list[tuple[str, str]]]] = [
    ("id without key", platform(lambda *_: ""), [("public_key_missing", FIRST)]),
    (
        "certificate under the id",
        platform(lambda v, w, s, p: s.certificate()),
        [("certificate_under_public_key_id", FIRST)],
    ),
    (
        "another's public key",
        platform(lambda v, w, s, p: s.public),
        [("platform_key_wrong", FIRST)],
    ),
    ("bare public key", platform(lambda v, w, s, p: p.bare(v["platform_keys"][first(v)])), []),
    ("only the other key", without_first, [("public_key_unknown", "platform_keys")]),
]
CERTIFICATE_MODE: list[tuple[str, Change, list[tuple[str, str]]]] = [
    (
        "public key under a serial",
        platform(lambda v, w, s, p: s.public),
        [("public_key_without_id", FIRST)],
    ),
    (
        "certificate of another serial",
        platform(lambda v, w, s, p: s.certificate()),
        [("certificate_serial_mismatch", FIRST)],
    ),
    (
        "expired",
        as_certificate(lambda v, w, s, p: s.certificate(begins_days=-9, ends_days=-1)),
        [("certificate_expired", FIRST)],
    ),
    (
        "not yet valid",
        as_certificate(lambda v, w, s, p: s.certificate(begins_days=3)),
        [("certificate_not_yet_valid", FIRST)],
    ),
    (
        "another's certificate",
        as_certificate(lambda v, w, s, p: s.certificate()),
        [("certificate_unknown", "platform_keys")],
    ),
    ("only the other certificate", without_first, [("certificate_unknown", "platform_keys")]),
]


@pytest.mark.parametrize(
    ("account", "change", "expected"),
    [
        pytest.param(account, change, expected, id=f"{account}: {name}")
        for account, table in (
            ("ordinary", EITHER + PUBLIC_KEY_MODE),
            ("certificate", EITHER + CERTIFICATE_MODE),
        )
        for name, change, expected in table
    ],
)
async def test_what_is_found(
    simulated_wechat: Simulator,
    diagnosed: Diagnosed,
    stranger: Any,
    paste: Any,
    account: str,
    change: Change,
    expected: list[tuple[str, str]],
) -> None:
    base_url = simulated_wechat.base_url
    values: dict[str, Any] = dict(simulated_wechat.credentials.settings(account, base_url=base_url))
    change(values, simulated_wechat, stranger, paste)
    serial_code = (
        "public_key_id_as_serial" if account == "ordinary" else "platform_serial_as_serial"
    )
    filled = [
        (
            serial_code if code == "*" else code,
            f"platform_keys.{first(values)}" if field == FIRST else field,
        )
        for code, field in expected
    ]
    assert await diagnosed(channel_type, values) == filled


async def test_only_an_order_tells_whether_app_and_merchant_go_together(
    simulated_wechat: Simulator, diagnosed: Diagnosed
) -> None:
    settings, url = simulated_wechat.credentials.settings, simulated_wechat.base_url
    values = settings("ordinary", base_url=url)
    assert await diagnosed(channel_type, values) == []
    assert not simulated_wechat.book.orders
    assert await diagnosed(channel_type, values, with_order=True) == []
    assert [str(order.state) for order in simulated_wechat.book.orders.values()] == ["CLOSED"]
    other = {**values, "appid": settings("second", base_url=url)["appid"]}
    del other["app_secret"]
    assert await diagnosed(channel_type, other) == []
    found = await diagnosed(channel_type, other, with_order=True)
    assert found == [("app_of_another_merchant", "appid")]


async def test_a_service_provider(simulated_wechat: Simulator, diagnosed: Diagnosed) -> None:
    values = simulated_wechat.credentials.settings("provider", base_url=simulated_wechat.base_url)
    assert await diagnosed(channel_type, values, with_order=True) == []
    found = await diagnosed(channel_type, {**values, "sub_mchid": "1999999999"}, with_order=True)
    assert found == [("product_not_signed", "mchid")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.RESET, "no_answer"),
        (FaultKind.SYSTEM_ERROR, "channel_unavailable"),
        (FaultKind.BAD_SIGNATURE, "platform_key_wrong"),
    ],
)
async def test_when_the_channel_fails(
    simulated_wechat: Simulator, diagnosed: Diagnosed, kind: FaultKind, expected: str
) -> None:
    simulated_wechat.faults.add(Fault(kind=kind))
    values = simulated_wechat.credentials.settings("ordinary", base_url=simulated_wechat.base_url)
    assert [code for code, _ in await diagnosed(channel_type, values)] == [expected]


@pytest.mark.parametrize("minutes", [-20, -2, 2, 20])
async def test_a_wrong_clock(
    simulated_wechat: Simulator, diagnosed_at: Diagnosed, minutes: int
) -> None:
    values = simulated_wechat.credentials.settings("ordinary", base_url=simulated_wechat.base_url)
    found = await diagnosed_at(channel_type, values, timedelta(minutes=minutes))
    assert found == [("clock_skew", "clock")]
    assert await diagnosed_at(channel_type, values, timedelta(seconds=20)) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("APPIDNOTEXIST", "app_unknown"),
        ("MCHNOTEXISTS", "merchant_unknown"),
        ("SIGNERROR", "signature_refused"),
        ("SOMETHINGNEW", "refused"),
    ],
)
def test_codes_that_the_simulator_does_not_say(code: str, expected: str) -> None:
    assert explain(code).code == expected
