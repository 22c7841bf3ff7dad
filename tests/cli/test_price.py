"""``qiao price``: a list from a file, as the platform's operator works with it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PRICES = """
[[prices]]
channel = "alipay"
basis_points = 60
returned = true

[[prices]]
fixed = 10
"""


def test_prices_from_a_file(run: Run, tmp_path: Path) -> None:
    added = run("merchant", "add", "茶馆", "--json")
    merchant = json.loads(added.stdout)["merchant_id"]
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    assert "2 prices are well formed" in run("price", "check", str(file)).stdout
    assert "nothing is charged" in run("price", "show", merchant).stdout
    of_platform = json.loads(run("price", "set", "platform", str(file), "--json").stdout)
    assert of_platform == {"version": 1, "prices_of": "platform"}
    assert "platform" in run("price", "show", merchant).stdout
    saved = run("price", "set", merchant, str(file), "--note", "first contract")
    assert "version 1 counts now" in saved.stdout, saved.stderr
    shown = run("price", "show", merchant).stdout
    assert "merchant" in shown
    assert "alipay" in shown
    [version] = json.loads(run("price", "show", merchant, "--history", "--json").stdout)
    assert version["note"] == "first contract"
    assert json.loads(run("price", "show", merchant, "--live", "--json").stdout) is None


def test_what_is_wrong_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[[prices]]\nbasis_points = 0.6\n")
    done = run("price", "check", str(file))
    assert done.returncode == 2
    assert "prices[0].basis_points" in done.stderr
    file.write_text(PRICES)
    done = run("price", "set", "mer_00000000000000000000000009", str(file))
    assert done.returncode == 2
    assert "no such merchant" in done.stderr
