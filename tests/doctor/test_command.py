"""``qiao doctor`` as a process: what it prints, in which language, and what it returns."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qiao.channels.alipay import channel_type
from qiao.simulators.alipay import Simulator

QIAO = [sys.executable, "-c", "from qiao.cli.main import main; main()"]
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, postgres_url: str) -> Run:
    async def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":

        kept = {"PATH": os.environ["PATH"], "QIAO_HOME": str(tmp_path), "COLUMNS": "100"}
        return await asyncio.to_thread(
            subprocess.run,
            [*QIAO, *arguments],
            env={**kept, "QIAO_DATABASE_URL": postgres_url, **more},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def settings(simulated_alipay: Simulator, tmp_path: Path) -> Callable[..., str]:
    def settings(**changes: str) -> str:
        url = simulated_alipay.base_url
        known = simulated_alipay.credentials.settings("ordinary", base_url=url)
        file = tmp_path / "alipay.json"
        file.write_text(json.dumps({**known, **changes}))
        return str(file)

    return settings


async def test_all_is_well(run: Run, settings: Callable[..., str]) -> None:
    done = await run("doctor", "alipay", "--settings", settings(), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["well"], told["findings"], len(told["checked"])) == (True, [], 2)


async def test_in_both_languages(run: Run, settings: Callable[..., str]) -> None:
    file = settings(app_id="2021999999999999")
    shown = {
        "en": await run("doctor", "alipay", "--settings", file),
        "zh": await run("doctor", "alipay", "--settings", file, LANG="zh_CN.UTF-8"),
        "chosen": await run("doctor", "alipay", "--settings", file, "--lang", "zh"),
    }
    assert {done.returncode for done in shown.values()} == {1}
    assert "✗ app_id: this gateway does not know the app" in shown["en"].stdout
    assert "✗ app_id: 该网关不认得这个应用" in shown["zh"].stdout
    assert shown["chosen"].stdout == shown["zh"].stdout


async def test_a_file_in_toml(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "alipay.toml"
    file.write_text('app_id = "2021000000000001"\nprivate_key = "MIIE"\n')
    done = await run("doctor", "alipay", "--settings", str(file), "--json")
    assert done.returncode == 1
    codes = [(one["code"], one["field"]) for one in json.loads(done.stdout)["findings"]]
    assert codes == [("unreadable", "private_key")]


async def test_an_account_of_the_server(run: Run, settings: Callable[..., str]) -> None:
    merchants = [
        json.loads((await run("merchant", "add", name, "--json")).stdout)["merchant_id"]
        for name in ("茶馆", "书店")
    ]
    ids = []
    for merchant in merchants:
        put = await run("account", "put", merchant, "alipay", settings(), "--json")
        ids.append(json.loads(put.stdout)["account_id"])
    several = await run("doctor", "alipay", "--account", "alipay")
    assert (several.returncode, ids[1] in several.stderr) == (2, True)
    one = await run("doctor", "alipay", "--account", ids[1])
    assert one.returncode == 0, one.stdout + one.stderr
    none = await run("doctor", "alipay", "--account", "nobody's")
    assert (none.returncode, "there is no account" in none.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pigeon", "--settings", "x"], "there is no channel 'pigeon'"),
        (["alipay"], "nothing to look at"),
        (["alipay", "--settings", "x", "--account", "y"], "two things to look at"),
        (["alipay", "--settings", "/nonexistent.json"], "cannot be read"),
    ],
)
async def test_wrong_input(run: Run, arguments: list[str], said: str) -> None:
    done = await run("doctor", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


async def test_a_channel_without_a_diagnosis_of_its_own(
    simulated_alipay: Simulator, diagnosed: Callable[..., Any]
) -> None:
    kind = replace(channel_type, diagnosis=None)
    url = simulated_alipay.base_url
    values = simulated_alipay.credentials.settings("ordinary", base_url=url)
    assert await diagnosed(kind, values) == []
    wrong = {**values, "private_key": simulated_alipay.credentials.apps["second"].private_key}
    assert await diagnosed(kind, wrong) == [("no_answer", "gateway")]
    missing = {name: value for name, value in values.items() if name != "app_id"}
    assert await diagnosed(kind, missing) == [("missing_field", "app_id")]
