"""``qiao organisation``, ``merchant``, ``app``, ``key`` and ``account``, as programs."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from qiao.cli.spans import read_span
from qiao.domain.errors import InvalidInput

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ask(run: Run) -> Callable[..., Any]:
    """The JSON that a command prints."""

    def ask(*arguments: str) -> Any:
        done = run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def test_who_is_paid(ask: Callable[..., Any], run: Run) -> None:
    owner = ask("organisation", "add", "Tea group")["organisation_id"]
    merchant = ask("merchant", "add", "Tea shop", "--organisation", owner)["merchant_id"]
    app = ask("app", "add", merchant, "Till 7")["app_id"]
    assert ask("organisation", "rename", owner, "茶")["name"] == "茶"
    assert ask("merchant", "rename", merchant, "Tea")["name"] == "Tea"
    assert ask("app", "rename", merchant, app, "Till 8")["name"] == "Till 8"
    for group, *ids in (("organisation", owner), ("merchant", merchant), ("app", merchant, app)):
        assert ask(group, "suspend", *ids)["status"] == "suspended"
        assert ask(group, "show", *ids)["status"] == "suspended"
        assert ask(group, "resume", *ids)["status"] == "active"
    assert [one["organisation_id"] for one in ask("organisation", "list")] == [owner]
    assert [one["merchant_id"] for one in ask("merchant", "list", "--organisation", owner)] == [
        merchant
    ]
    assert [one["app_id"] for one in ask("app", "list", merchant)] == [app]
    other = ask("organisation", "add", "Coffee group")["organisation_id"]
    assert ask("merchant", "move", merchant, other)["organisation_id"] == other
    assert ask("merchant", "list", "--organisation", owner) == []
    shown = run("merchant", "list")
    assert (merchant in shown.stdout, other in shown.stdout) == (True, True)
    wrong = run("app", "suspend", merchant, "app_00000000000000000000000000")
    assert (wrong.returncode, "no such app" in wrong.stderr) == (2, True)
    actions = [one["action"] for one in ask("audit", "list", merchant)]
    assert actions[:2] == ["merchant.changed", "app.resumed"]


def test_keys(ask: Callable[..., Any], run: Run) -> None:
    merchant = ask("merchant", "add", "Tea shop")["merchant_id"]
    app = ask("app", "add", merchant, "Till 7")["app_id"]
    limits = ("--scope", "payments:read", "--scope", "audit:read", "--allow", "10.0.0.0/8")
    made = ask("key", "issue", merchant, "--app", app, *limits, "--expires-in", "90d")
    [key] = ask("key", "list", merchant)
    assert made["api_key"].startswith(key["hint"][:-1])
    assert (key["app_id"], key["scopes"]) == (app, ["audit:read", "payments:read"])
    assert key["allowed_addresses"] == ["10.0.0.0/8"]
    lasts = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert abs(lasts - timedelta(days=90)) < timedelta(minutes=5)
    ask("key", "rotate", merchant, key["api_key_id"], "--overlap", "1h")
    old, new = ask("key", "list", merchant)
    assert (old["replaced_by"], new["scopes"]) == (new["api_key_id"], key["scopes"])
    assert datetime.fromisoformat(old["expires_at"]) < datetime.now(UTC) + timedelta(hours=2)
    again = run("key", "rotate", merchant, key["api_key_id"])
    assert (again.returncode, "replaced already" in again.stderr) == (2, True)
    for wrong in (("--scope", "all"), ("--allow", "here"), ("--expires-in", "soon")):
        assert run("key", "issue", merchant, *wrong).returncode == 2
    shown = run("key", "list", merchant).stdout
    assert made["api_key"] not in shown


def test_keys_whose_requests_are_signed(
    ask: Callable[..., Any], run: Run, settings: dict[str, str], tmp_path: Path
) -> None:
    merchant = ask("merchant", "add", "Tea shop")["merchant_id"]
    file = tmp_path / "key.pem"
    file.write_text(settings["alipay_public_key"])
    shared = ask("key", "issue", merchant, "--sign-with", "hmac-sha256")
    assert shared["signing_secret"].startswith("sig_")
    own = ask("key", "issue", merchant, "--sign-with", "rsa-v1_5-sha256", "--public-key", str(file))
    assert "signing_secret" not in own
    assert [
        (one["api_key_id"], one["signing_algorithm"]) for one in ask("key", "list", merchant)
    ] == [(shared["api_key_id"], "hmac-sha256"), (own["api_key_id"], "rsa-v1_5-sha256")]
    for wrong in (
        ("--sign-with", "rsa-v1_5-sha256"),
        ("--public-key", str(file)),
        ("--sign-with", "rsa-v1_5-sha256", "--public-key", str(tmp_path / "none")),
    ):
        assert run("key", "issue", merchant, *wrong).returncode == 2


def test_limits(ask: Callable[..., Any], run: Run) -> None:
    merchant = ask("merchant", "add", "Tea shop")["merchant_id"]
    where = ("--channel", "alipay", "--time-zone", "Asia/Shanghai", "--live")
    made = ask("limit", "set", merchant, "daily_amount", "1000000", *where)
    assert "used_today" not in made
    [listed] = ask("limit", "list", merchant)
    assert listed == {**made, "used_today": 0}
    assert (listed["channel"], listed["live"], listed["currency"]) == ("alipay", True, "CNY")
    assert "Asia/Shanghai" in run("limit", "list", merchant).stdout
    assert run("limit", "remove", merchant, made["limit_id"]).returncode == 0
    assert ask("limit", "list", merchant) == []
    assert run("limit", "set", merchant, "amount", "1", "--time-zone", "Nowhere").returncode == 2


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Of an account at Alipay, whose key is as good as any."""
    key, theirs = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "ab")
    return {
        "app_id": "2021000000000000",
        "private_key": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode(),
        "alipay_public_key": theirs.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    }


def test_accounts(
    ask: Callable[..., Any], run: Run, settings: dict[str, str], tmp_path: Path
) -> None:
    merchant = ask("merchant", "add", "Tea shop")["merchant_id"]
    file = tmp_path / "alipay.json"
    file.write_text(json.dumps({**settings, "gateway": "http://127.0.0.1:8091/gateway.do"}))
    simulated = run("account", "put", merchant, "alipay", str(file), "--live")
    assert (simulated.returncode, "--allow-simulated" in simulated.stderr) == (2, True)
    assert "settings.gateway" in simulated.stderr
    ask("account", "put", merchant, "alipay", str(file), "--live", "--allow-simulated")
    file.write_text(json.dumps(settings))
    account = ask("account", "put", merchant, "alipay", str(file), "--live")["account_id"]
    shown = ask("account", "show", merchant, account)
    assert shown["settings"]["app_id"] == settings["app_id"]
    assert shown["settings"]["private_key"] == "(secret)"
    for text in (json.dumps(shown), run("account", "show", merchant, account).stdout):
        assert settings["app_id"] in text
        assert settings["private_key"][40:80] not in text
    assert ask("account", "disable", merchant, account)["enabled"] is False
    [listed] = ask("account", "list", merchant)
    assert (listed["account_id"], listed["live"], listed["enabled"]) == (account, True, False)
    assert "settings" not in listed
    assert "disabled" in run("account", "list", merchant).stdout
    assert ask("account", "enable", merchant, account)["enabled"] is True
    missing = run("account", "show", merchant, "acc_00000000000000000000000000")
    assert (missing.returncode, "no such account" in missing.stderr) == (2, True)


def test_spans_of_time() -> None:
    assert read_span("90d", field="x") == timedelta(days=90)
    assert read_span("24h", field="x") == timedelta(hours=24)
    assert read_span("30m", field="x") == timedelta(minutes=30)
    for wrong in ("", "h", "24", "-1h", "1.5h", "1 h", "1w", "٣h"):
        with pytest.raises(InvalidInput):
            read_span(wrong, field="x")
