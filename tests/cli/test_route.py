"""``qiao route``: rules from a file, as an operator works with them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qiao.simulators.alipay.credentials import new_credentials

Run = Callable[..., "subprocess.CompletedProcess[str]"]
RULES = """
[[rows]]
name = "large"
when = { amount = ">= 200000" }
accounts = ["south"]

[[rows]]
accounts = ["north", "south"]

[[fees]]
account = "north"
basis_points = 60
"""


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rules_from_a_file(run: Run, server: str, tmp_path: Path) -> None:
    merchant = told(run("merchant", "add", "茶馆", "--json"))["merchant_id"]
    key = told(run("key", "issue", merchant, "--json"))["api_key"]
    access = {"QIAO_URL": server, "QIAO_API_KEY": key}
    settings = new_credentials().settings("ordinary", base_url="http://127.0.0.1:9")
    account = tmp_path / "alipay.json"
    account.write_text(json.dumps(settings))
    for name in ("north", "south"):
        told(run("account", "put", merchant, "alipay", str(account), "--name", name, "--json"))
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)

    checked = told(run("route", "check", str(rules), "--json"))
    assert checked == {"rows": 2, "fees": 1}
    tried = run("route", "dry-run", str(rules), **access)
    assert "0 of 0 attempts would have gone elsewhere" in tried.stdout
    saved = run("route", "set", str(rules), "--note", "first", **access)
    assert "version 1 counts now" in saved.stdout, saved.stderr
    shown = run("route", "show", **access).stdout
    assert "amount >= 200000" in shown
    assert "closed" in shown
    assert "first" in run("route", "show", "--history", **access).stdout

    asked = ("route", "explain", "--amount", "2500.00", "--channel", "alipay")
    explained = told(run(*asked, "--json", **access))
    assert explained["choice"]["row"] == 1
    assert "large" in run(*asked, **access).stdout
    # Nobody listens at the accounts' gateway: the attempt goes to one, and then to the other.
    paid = told(run("pay", "12.50", "--channel", "alipay", "--json", **access))
    why = run("route", "explain", paid["id"], **access).stdout
    assert why.count("not_sent") == 2
    assert "in the place of att_" in why


def test_what_is_wrong_is_told_by_row_and_column(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rows]]\naccounts = ["a"]\nwhen = { product = "> 5" }\n')
    refused = run("route", "check", str(rules))
    assert refused.returncode == 2
    assert "row 1, column product" in refused.stderr
    assert "rows[0].when.product" in refused.stderr
    nothing = run("route", "explain", QIAO_API_KEY="sk_test_x")
    assert "give a payment's id, or --amount" in nothing.stderr


def test_the_platforms_rules_are_set_on_the_server_itself(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rows]]\naccounts = ["channel:alipay"]\n')
    saved = told(run("route", "set", str(rules), "--platform", "--json"))
    assert saved == {"version": 1, "rules_of": "platform"}
    rules.write_text('[[rows]]\naccounts = ["north"]\n')
    refused = run("route", "set", str(rules), "--platform")
    assert (refused.returncode, "channel:wechat" in refused.stderr) == (2, True)
