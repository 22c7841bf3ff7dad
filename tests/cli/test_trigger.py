"""``qiao trigger``: every event really happens, at a sandbox and at the demonstration."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from qiao.cli.trigger import TRIGGERED

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Stay = Callable[..., Any]


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def access(stay: Stay, run: Run, server: str) -> dict[str, str]:
    """A merchant with an account at each channel of a sandbox, as a developer makes them."""
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    key = told(run("key", "issue", merchant, "--json"))["api_key"]
    for one in stay("sandbox", "--port", "0", "--json").document:
        file = one["settings"]["ordinary"]
        told(run("account", "put", merchant, one["channel"], file, "--json"))
    return {"QIAO_URL": server, "QIAO_API_KEY": key, "merchant": merchant}


def test_every_event(run: Run, access: dict[str, str]) -> None:
    for event in sorted(TRIGGERED):
        happened = told(run("trigger", event, "--json", **access))
        assert happened["type"] == event
    paid = told(run("trigger", "payment.paid", "--channel", "wechat", "--json", **access))
    assert (paid["type"], paid["data"]["state"]) == ("payment.paid", "paid")
    shown = run("trigger", "payment.paid", **access)
    assert "payment.paid" in shown.stdout


def test_what_is_refused(run: Run, access: dict[str, str]) -> None:
    live = told(run("key", "issue", access["merchant"], "--live", "--json"))["api_key"]
    for arguments, more, said in (
        (("payment.paid",), {"QIAO_API_KEY": live}, "with a test key only"),
        (("payment.lost",), {}, "choose from: dispute.created"),
        (("payment.paid", "--channel", "bank"), {}, "no test account at bank"),
        (("payment.paid", "--simulator", "http://127.0.0.1:1"), {}, "no simulator answers"),
        (("payment.paid",), {"QIAO_HOME": "/nonexistent"}, "no simulator answers"),
    ):
        done = run("trigger", *arguments, **{**access, **more})
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_another_simulator_does_not_know_the_payment(
    stay: Stay, run: Run, access: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = str(tmp_path_factory.mktemp("other"))
    (other,) = stay(
        "sandbox", "--channel", "alipay", "--port", "0", "--json", QIAO_HOME=home
    ).document
    done = run("trigger", "payment.paid", "--simulator", other["url"], **access)
    assert done.returncode == 1
    assert "no simulator here knows it" in done.stderr


def test_at_the_demonstration(stay: Stay, run: Run) -> None:
    demo = stay("demo", "--json").document
    access = {"QIAO_URL": demo["url"], "QIAO_API_KEY": demo["api_key"]}
    happened = told(run("trigger", "refund.succeeded", "--json", **access))
    assert happened["data"]["state"] == "succeeded"
