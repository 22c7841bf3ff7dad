"""``qiao sandbox``: simulators that stay themselves from one start to the next."""

import json
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from qiao.simulators.kit.scenarios import ENTRIES
from qiao.simulators.sandbox import open_wechat

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Stay = Callable[..., Any]


def test_credentials_outlive_it_and_are_its_owners_alone(stay: Stay, tmp_path: Path) -> None:
    first = stay("sandbox", "--port", "0", "--json")
    assert [one["channel"] for one in first.document] == ["alipay", "wechat"]
    files = {one["channel"]: one["settings"]["ordinary"] for one in first.document}
    before = {name: json.loads(Path(path).read_text()) for name, path in files.items()}
    for path in (tmp_path / "sandbox").rglob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.stop() == 0
    assert not list((tmp_path / "sandbox").rglob("address"))
    stay("sandbox", "--port", "0", "--json")
    for channel, path in files.items():
        after = json.loads(Path(path).read_text())
        assert after["private_key"] == before[channel]["private_key"]


def test_credentials_of_an_older_release_are_made_anew(tmp_path: Path) -> None:
    first = open_wechat(tmp_path).credentials
    assert open_wechat(tmp_path).credentials == first
    path = tmp_path / "wechat/credentials.json"
    older = json.loads(path.read_bytes())
    del older["certificates"]
    path.write_text(json.dumps(older))
    anew = open_wechat(tmp_path).credentials
    assert anew != first
    assert open_wechat(tmp_path).credentials == anew
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_it_prints_answers(stay: Stay) -> None:
    (alipay,) = stay("sandbox", "--channel", "alipay", "--port", "0", "--json").document
    assert "400.01" in httpx.get(alipay["wallet_url"], trust_env=False).text
    assert httpx.get(alipay["code_url"], trust_env=False).is_success
    assert httpx.get(f"{alipay['control_url']}/payments", trust_env=False).json() == []


def test_only_one_for_each_home(stay: Stay, run: Run) -> None:
    stay("sandbox", "--port", "0", "--json")
    second = run("sandbox", "--port", "0")
    assert second.returncode == 2
    assert "runs in this home already" in second.stderr


def test_a_taken_port(stay: Stay, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--channel", "wechat", "--port", str(taken.getsockname()[1]))
        assert done.returncode == 2
        assert "is taken" in done.stderr
    usual = socket.socket()
    usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with usual:
        try:
            usual.bind(("127.0.0.1", 8192))
            usual.listen()
        except OSError:
            pass  # somebody else has it, which is the same to us
        (wechat,) = stay("sandbox", "--channel", "wechat", "--json").document
        assert not wechat["url"].endswith(":8192")
        assert (
            json.loads(Path(wechat["settings"]["ordinary"]).read_text())["gateway"]
            == (wechat["url"])
        )


def test_the_table_of_scenarios(run: Run) -> None:
    listed = json.loads(run("sandbox", "scenarios", "--json").stdout)
    assert [one["minor"] for one in listed] == [one.minor for one in ENTRIES]
    shown = {lang: run("sandbox", "scenarios", "--lang", lang).stdout for lang in ("zh", "en")}
    for one in ENTRIES:
        assert all(one.description[lang] in shown[lang] for lang in shown)


def test_wrong_input(run: Run) -> None:
    done = run("sandbox", "--channel", "pigeon")
    assert (done.returncode, "choose from: alipay, wechat" in done.stderr) == (2, True)
    high = run("sandbox", "--port", "65535")
    assert (high.returncode, "port:" in high.stderr) == (2, True)
