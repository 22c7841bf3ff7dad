"""The command as a program: what it prints, what it returns, and what it says of wrong input."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_merchant_to_closed_payment(run: Run, server: str) -> None:
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    key = told(run("key", "issue", merchant, "--json"))["api_key"]
    access = {"QIAO_URL": server, "QIAO_API_KEY": key}
    payment = told(run("pay", "12.50", "--order", "o-1", "--json", **access))
    assert (payment["amount"], payment["state"]) == (1250, "open")
    shown = run("query", payment["id"], **access)
    assert payment["id"] in shown.stdout
    refused = run("refund", payment["id"], "1", **access)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "not paid" in refused.stderr
    assert "→ refund it once it is paid" in refused.stderr
    assert told(run("close", payment["id"], "--json", **access))["state"] == "closed"


def test_an_account_from_a_file(run: Run, tmp_path: Path) -> None:
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    file = tmp_path / "alipay.toml"
    file.write_text('app_id = "2021000000000001"\n')
    refused = run("account", "put", merchant, "alipay", str(file))
    assert refused.returncode == 2
    assert "settings." in refused.stderr
    unknown = run("account", "put", merchant, "pigeon", str(file))
    assert "there is no channel 'pigeon'" in unknown.stderr
    nobody = run("account", "put", "mer_00000000000000000000000000", "alipay", str(file))
    assert "there is no such merchant" in nobody.stderr
    file.write_text("app_id =")
    assert "Invalid value" in run("account", "put", merchant, "alipay", str(file)).stderr


def test_channels(run: Run) -> None:
    assert "alipay" in {one["id"] for one in told(run("channels", "--json"))}
    shown = run("channels", "--lang", "zh").stdout
    assert "支付宝" in shown
    assert "付款码" in shown


def test_the_version(run: Run) -> None:
    assert run("--version").stdout.startswith("qiao 0.")


def test_a_new_channel(run: Run, tmp_path: Path) -> None:
    (tmp_path / "src/qiao/channels").mkdir(parents=True)
    (tmp_path / "src/qiao/channels/interface.py").touch()
    made = told(run("channel", "new", "carrier_pigeon", "--root", str(tmp_path), "--json"))
    assert any(path.endswith("carrier_pigeon/channel.py") for path in made["files"])
    assert "carrier_pigeon" in made["entry_point"]
    again = run("channel", "new", "carrier_pigeon", "--root", str(tmp_path))
    assert again.returncode == 2


def test_the_database_and_the_configuration(run: Run) -> None:
    assert told(run("db", "status", "--json"))["up_to_date"] is True
    assert told(run("db", "migrate", "--json")) == {"applied": []}
    statements = told(run("db", "distribution", "--json"))["statements"]
    assert run("db", "distribution").stdout.splitlines() == statements
    shown = run("config", "check")
    assert "your own (database_url)" in shown.stdout
    assert "postgresql://" not in shown.stdout
    assert len(run("config", "new-seal-key").stdout.strip()) == 44


@pytest.mark.parametrize(
    ("arguments", "environment_", "said"),
    [
        (["pay", "1"], {}, "QIAO_API_KEY"),
        (["pay", "1.234"], {"QIAO_API_KEY": "x"}, "amount"),
        (["pay", "-1"], {"QIAO_API_KEY": "x"}, ""),
        (["pay", "1", "--currency", "XXX"], {"QIAO_API_KEY": "x"}, "currency"),
        (["serve"], {"QIAO_PORT": "x"}, "port"),
        (["serve"], {"QIAO_LOG": "loud"}, "QIAO_LOG"),
        (["fly"], {}, "fly"),
    ],
    ids=lambda value: " ".join(value)[:20] if value else "nothing",
)
def test_wrong_input(
    run: Run, arguments: list[str], environment_: dict[str, str], said: str
) -> None:
    done = run(*arguments, **environment_)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server(run: Run) -> None:
    done = run("query", "pay_x", QIAO_URL="http://127.0.0.1:1", QIAO_API_KEY="x")
    assert done.returncode == 1
    assert "qiao serve" in done.stderr


def test_no_database(run: Run) -> None:
    done = run("db", "migrate", QIAO_DATABASE_URL="postgresql://nobody@127.0.0.1:1/qiao")
    assert done.returncode == 1
    assert "cannot connect to the database" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_books_are_proven_and_a_forgery_is_found(
    run: Run, server: str, environment: dict[str, str]
) -> None:
    good = run("ledger", "check", "--json")
    assert told(good)["right"] is True
    assert "The books are right" in run("ledger", "check").stdout
    asyncio.run(_disable_guards(environment["QIAO_DATABASE_URL"]))
    bad = run("ledger", "check")
    assert bad.returncode == 1
    assert "not_append_only" in bad.stdout
    made = told(run("merchant", "add", "Tea house", "--json"))
    key = told(run("key", "issue", made["merchant_id"], "--json"))["api_key"]
    shown = told(run("ledger", "balances", "--json", QIAO_API_KEY=key, QIAO_URL=server))
    assert shown["data"] == []


async def _disable_guards(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
    await connection.close()


def test_what_is_held_and_what_is_paid_out(run: Run, server: str, tmp_path: Path) -> None:
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    key = told(run("key", "issue", merchant, "--json"))["api_key"]
    access = {"QIAO_URL": server, "QIAO_API_KEY": key}
    payment = told(run("pay", "12.50", "--hold", "--json", **access))
    assert payment["capture"] == "manual"
    commands = (("capture", payment["id"], "5"), ("void", payment["id"]))
    for command in commands:
        refused = run(*command, **access)
        assert (refused.returncode, "nothing is held" in refused.stderr) == (2, True)
    limits = ("--check-above", "100", "--max", "500.00", "--daily", "1000")
    shown = told(run("merchant", "transfers", merchant, *limits, "--json"))
    assert (shown["check_above"], shown["max"], shown["daily"]) == ("100", "500.00", "1000")
    refused = run("merchant", "transfers", merchant, "--max", "1.234")
    assert refused.returncode == 2
    shared = told(run("pay", "1.00", "--profit-sharing", "--json", **access))
    assert shared["profit_sharing"] is True
    refused = run("profit-shares", "new", shared["id"], "rcv_1=0.50", **access)
    assert "not paid" in refused.stderr
    assert "rcv_…=12.50" in run("profit-shares", "new", shared["id"], "anna", **access).stderr
    assert "not paid" in run("profit-shares", "release", shared["id"], **access).stderr
    assert told(run("profit-shares", "list", "--json", **access))["data"] == []
    absent = "shr_01000000000000000000000000"
    for asked in (["show", absent], ["return", absent, "1", "0.50"]):
        assert "no such profit share" in run("profit-shares", *asked, **access).stderr
    bind = ("bind", "r-1", "1900000109", "--channel", "bank", "--type", "MERCHANT_ID")
    refused = run("profit-shares", "receivers", *bind, **access)
    assert "no test account that binds receivers" in refused.stderr
    assert told(run("profit-shares", "receivers", "list", "--json", **access))["data"] == []
    absent = "rcv_01000000000000000000000000"
    for verb in ("show", "unbind"):
        refused = run("profit-shares", "receivers", verb, absent, **access)
        assert "no such receiver" in refused.stderr
    assert told(run("disputes", "list", "--json", **access))["data"] == []
    assert "kind" in run("disputes", "list", "--state", "closed", **access).stdout
    absent = "dsp_01000000000000000000000000"
    for asked in (["show", absent], ["reply", absent, "sorry"], ["finish", absent, "done"]):
        assert "no such dispute" in run("disputes", *asked, **access).stderr
    wages = ("transfer", "new", "t-1", "3.00", "anna", "--channel", "bank")
    refused = run(*wages, "--description", "wages", **access)
    assert "there is no test account that pays out through 'bank'" in refused.stderr
    file = tmp_path / "wages.csv"
    file.write_text("number,amount\n")
    refused = run("transfer", "batch", "b-1", str(file), **access)
    assert "the columns are wrong" in refused.stderr
    assert told(run("transfer", "list", "--json", **access))["data"] == []
    unknown = "tra_01000000000000000000000000"
    for verb in ("show", "approve", "reject"):
        assert "no such transfer" in run("transfer", verb, unknown, **access).stderr
        batch = unknown.replace("tra", "tba")
        assert "no such batch" in run("transfer", verb, batch, **access).stderr


def test_agreements_and_subscriptions(run: Run, server: str) -> None:
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    key = told(run("key", "issue", merchant, "--scope", "subscriptions:write", "--json"))["api_key"]
    access = {"QIAO_URL": server, "QIAO_API_KEY": key}
    new = ("agreements", "new", "a-1", "30.00", "2027-01-01", "--channel", "bank", "--name", "Anna")
    refused = run(*new, **access)
    assert "there is no test account that has agreements at 'bank'" in refused.stderr
    unknown = "agr_01000000000000000000000000"
    for verb in ("show", "end"):
        assert "no such agreement" in run("agreements", verb, unknown, **access).stderr
    begin = ("subscriptions", "new", "s-1", unknown, "25", "--description", "Lessons")
    refused = run(*begin, "--retry-day", "1", "--retry-day", "2", **access)
    assert "no such agreement" in refused.stderr
    for verb in ("show", "pause", "resume", "cancel"):
        gone = run("subscriptions", verb, unknown.replace("agr", "sub"), **access)
        assert "no such subscription" in gone.stderr
    for what in ("agreements", "subscriptions"):
        assert told(run(what, "list", "--json", **access))["data"] == []
