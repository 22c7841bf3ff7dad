"""Every example of the documentation runs, against the demonstration where it needs a server."""

import ast
import asyncio
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx
import pytest
import typer

from qiao.channels.alipay import AlipaySettings
from qiao.channels.wechat import WechatSettings
from qiao.cli.main import app
from qiao.demo.world import API_KEY, World
from qiao.engine.routing.rules import read_rules
from qiao.engine.webhooks import add_endpoint
from qiao.store.database import Database
from qiao.testing.world import make_world

ROOT = Path(__file__).parents[2]
PAGES: Final = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SERVER: Final = "http://127.0.0.1:8080"
README, CHINESE = "README.md", "README.zh-CN.md"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A block of code: its page, the how-manieth in its language there, and what it says."""

    page: str
    number: int
    code: str

    @property
    def name(self) -> str:
        return f"{self.page}-{self.number}"


def examples(language: str) -> list[Example]:
    found = []
    for path in PAGES:
        blocks = [code for kind, code in BLOCK.findall(path.read_text("utf-8")) if kind == language]
        page = path.relative_to(ROOT).as_posix()
        found += [Example(page=page, number=at, code=code) for at, code in enumerate(blocks)]
    return found


PYTHON: Final = {one.name: one.code for one in examples("python")}
SHOWN_IN_PART: Final = {"docs/channels/conformance.md-0", "docs/merchants.md-0"}
"""The first names a harness that the reader writes; tests/channels/conformance holds whole ones.
The other needs a key that signs; tests/web/test_signatures.py runs it."""
AS_FUNCTIONS: Final = {"docs/webhooks.md-1", "docs/webhooks.md-2"}
PRINTS: Final = {
    f"{README}-0": "Send your customer to http",
    f"{CHINESE}-0": "把顾客带到 http",
    f"{README}-1": "QrCode(content='http",
    f"{CHINESE}-1": "QrCode(content='http",
    "docs/quick-start.md-0": "Send your customer to http",
    "docs/api.md-0": "open {'type': 'qr_code', 'content': 'http",
    "docs/capture.md-0": "open manual 0",
    "docs/disputes.md-0": "",
    "docs/profit-sharing.md-0": "there is nothing to share: the payment is not paid",
    "docs/transfers.md-0": "succeeded",
    "docs/subscriptions.md-0": "pending show as a QR code: http",
    "docs/webhooks.md-0": "keep this secret, it is shown only here: whsec_",
    "docs/library.md-0": "show as a QR code: http",
    "docs/library.md-1": "NotFound()",
    "docs/channels/alipay.md-0": "",
    "docs/channels/wechat.md-0": "",
}
"""What each example prints first, run against the demonstration."""


def test_no_example_is_left_out() -> None:
    known = set(PRINTS) | AS_FUNCTIONS | SHOWN_IN_PART
    others = {name for name in PYTHON if name.startswith("docs/channels/") and name not in known}
    assert set(PYTHON) - others == known
    for name, code in PYTHON.items():
        ast.parse(code, name)


def _write_toml(path: Path, values: Mapping[str, object]) -> None:
    plain = {name: value for name, value in values.items() if isinstance(value, str)}
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(table[key])}" for key in table)]
    assert len(plain) + len(tables) == len(values)
    path.write_text("\n".join(lines), "utf-8")


async def run(code: str, world: World, folder: Path, *program: str) -> str:
    """Run it as a reader would, in a folder with the accounts' settings; what it printed."""
    for name, simulator in (("alipay", world.alipay), ("wechat", world.wechat)):
        settings = simulator.credentials.settings("ordinary", base_url=simulator.base_url)
        _write_toml(folder / f"{name}.toml", settings)
    code = code.replace(SERVER, world.url)
    code = code.replace("http://127.0.0.1:8191", world.alipay.base_url)
    process = await asyncio.create_subprocess_exec(
        *(program or (sys.executable, "-W", "error", "-c")),
        code,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_python_examples_run(world: World, tmp_path: Path) -> None:
    for number, name in enumerate(PRINTS):
        if name in (f"{README}-0", f"{CHINESE}-0"):
            continue  # the same order in two languages: see below
        code = PYTHON[name].replace("order1001", f"order{number}")
        printed = await run(code, world, tmp_path)
        assert printed.startswith(PRINTS[name]), name


@pytest.mark.parametrize("page", [README, CHINESE])
async def test_the_readme_refunds_once_it_is_paid(world: World, tmp_path: Path, page: str) -> None:
    code = PYTHON[f"{page}-0"]
    assert len(code.strip().splitlines()) <= 20, page
    printed = await run(code, world, tmp_path)
    assert printed.startswith(PRINTS[f"{page}-0"])
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(base_url=world.url, headers=headers, trust_env=False) as client:
        order = (await client.get("/order", params={"order_id": "order-1001"})).json()
        path = f"/v1/payments/{order['payment_id']}"
        method = {"channel": "wechat", "product": "qr"}
        attempt = (await client.post(f"{path}/attempts", json=method)).json()
        control = f"{world.wechat.base_url}/_control/payments/{attempt['reference']}/approve"
        async with aiohttp.ClientSession() as session, session.post(control) as answer:
            answer.raise_for_status()
        await client.post(f"{path}/query")
        await run(code, world, tmp_path)
        [refund] = (await client.get(path)).json()["refunds"]
    assert refund["amount"] == 300


def _bare(code: str) -> str:
    """The program without its comments and its texts for people."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = " " in node.value or not node.value.isascii()
            node.value = "words" if words else node.value
    return ast.dump(tree)


def test_both_readmes_show_the_same_programs() -> None:
    for number in (0, 1):
        assert _bare(PYTHON[f"{README}-{number}"]) == _bare(PYTHON[f"{CHINESE}-{number}"])
    shell = {
        page: [one.code for one in examples("sh") if one.page == page] for page in (README, CHINESE)
    }
    for english, chinese in zip(shell[README], shell[CHINESE], strict=True):
        assert re.sub("#.*", "", english) == re.sub("#.*", "", chinese)


@pytest.mark.parametrize("name", sorted(AS_FUNCTIONS))
async def test_webhooks_are_verified(database: Database, name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(PYTHON[name], name, "exec"), namespace)
    receive = namespace["receive"]
    engine = await make_world(database)
    _, secret = await add_endpoint(engine.engine, engine.scope, "https://shop.invalid/hook")
    payment = await engine.paid()
    await engine.work()
    inbox = engine.transport.shop.inbox
    events = [receive(secret, one.headers, one.body) for one in inbox]
    assert sorted(one["type"] for one in events) == ["payment.created", "payment.paid"]
    assert {one["data"]["id"] for one in events} == {payment.payment_id}
    first = inbox[0]
    assert receive(secret, first.headers, first.body + b" ") is None
    assert receive("whsec_" + "QUFB" * 8, first.headers, first.body) is None
    old = {**first.headers, "webhook-timestamp": "1700000000"}
    assert receive(secret, old, first.body) is None


SHELL: Final = examples("sh")


async def test_calls_of_curl_are_answered(world: World, tmp_path: Path) -> None:
    await run(PYTHON["docs/quick-start.md-0"], world, tmp_path)
    told = {}
    for one in SHELL:
        if "curl " in one.code:
            told[one.name] = json.loads(await run(one.code, world, tmp_path, "sh", "-ec"))
    assert told["docs/quick-start.md-1"]["state"] == "open"
    assert told["docs/api.md-0"]["action"]["type"] == "qr_code"
    assert told["docs/routing.md-1"]["choice"]["candidates"][0]["channel"] == "alipay"
    assert told["docs/sandbox.md-0"]["kind"] == "lose_answer"
    assert [fault.kind for fault in world.alipay.faults.faults] == ["lose_answer"]


async def test_the_error_that_is_shown_is_told(world: World) -> None:
    [shown] = [one for one in examples("json") if one.page == "docs/api.md"]
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        answer = await client.post(
            "/v1/payments",
            headers={"authorization": f"Bearer {API_KEY}"},
            json={"order_id": "order-4004", "amount": 12.5, "description": "tea"},
        )
    assert answer.json() == json.loads(shown.code)


@pytest.mark.parametrize("one", SHELL, ids=lambda one: one.name)
def test_commands_and_targets_exist(one: Example) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for line in one.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        if words[:1] == ["qiao"]:
            _check_command(words[1:])


def _check_command(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and (words or not command.invoke_without_command):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    asked = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert asked <= options


def test_settings_are_what_the_channels_take() -> None:
    shown = {one.name: tomllib.loads(one.code) for one in examples("toml")}
    AlipaySettings.read(shown["docs/channels/alipay.md-0"])
    WechatSettings.read(shown["docs/channels/wechat.md-0"])
    read_rules(shown["docs/routing.md-0"])
