"""Tables of the documentation say what the code says."""

import re
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from qiao.bootstrap.config import PREFIX, Config
from qiao.channels.alipay import AlipaySettings
from qiao.channels.alipay import channel_type as alipay
from qiao.channels.interface import ChannelType
from qiao.channels.settings import Settings
from qiao.channels.wechat import WechatSettings
from qiao.channels.wechat import channel_type as wechat
from qiao.channels.wechat.codes import (
    DISPUTE_REFUSALS,
    DOUBTFUL_REFUND_REFUSALS,
    DOUBTFUL_RETURN_REFUSALS,
    DOUBTFUL_SHARING_REFUSALS,
    PAYMENT_DECLINES,
    RECEIVER_REFUSALS,
    REFUND_REFUSALS,
    SHARING_REFUSALS,
    TRANSFER_REFUSALS,
)
from qiao.engine.key_policy import KeyScope
from qiao.engine.payment_limits import LimitKind
from qiao.engine.routing.declines import ACCOUNTS_FAULT, CUSTOMERS_MATTER
from qiao.engine.routing.rules import Breaker, Strategy, read_rules
from qiao.engine.routing.state import Circuit
from qiao.engine.routing.wanted import METADATA, NUMBERS, TEXTS
from qiao.engine.webhooks import EVENT_TYPES, RETRY_AFTER_SECONDS, TIMEOUT_SECONDS
from qiao.simulators.kit.faults import FaultKind
from qiao.simulators.kit.scenarios import ENTRIES
from qiao.web.cashier.devices import environment_of

ROOT = Path(__file__).parents[2]


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    body = text(page).partition(f"\n{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", body, re.MULTILINE)
    assert lines, heading
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in lines[0].splitlines()[2:]
    ]


def names(cells: list[list[str]]) -> list[str]:
    return [name for row in cells for name in re.findall(r"`([^`]+)`", row[0])]


def test_scenarios() -> None:
    shown = rows("docs/sandbox.md", "## Same amount, same outcome")
    assert shown == [
        [str(one.minor), f"`{one.scenario}`", one.description["en"], one.description["zh"]]
        for one in ENTRIES
    ]


def test_faults() -> None:
    assert names(rows("docs/sandbox.md", "## Faults on demand")) == [
        kind.value for kind in FaultKind
    ]


def test_configuration() -> None:
    shown = rows("docs/operations.md", "## Configuration")
    fields = Config.__struct_fields__
    assert [row[:2] for row in shown] == [
        [f"`{one}`", f"`{PREFIX}{one.upper()}`"] for one in fields
    ]
    for one in msgspec.structs.fields(Config):
        if one.default not in (msgspec.NODEFAULT, None):
            assert f"`{one.default}`" in shown[fields.index(one.name)][2]


def test_events() -> None:
    assert set(names(rows("docs/webhooks.md", "## Subscribe"))) == EVENT_TYPES
    told = text("docs/webhooks.md")
    assert len(RETRY_AFTER_SECONDS) + 1 == 12
    assert "twelve times over three days" in told
    assert f"within {TIMEOUT_SECONDS:.0f} seconds" in told


@pytest.mark.parametrize(
    ("page", "settings", "channel"),
    [("alipay", AlipaySettings, alipay), ("wechat", WechatSettings, wechat)],
)
def test_channels(page: str, settings: type[Settings], channel: ChannelType) -> None:
    page = f"docs/channels/{page}.md"
    assert set(names(rows(page, "## Settings"))) == set(settings.__struct_fields__)
    assert set(names(rows(page, "## Products"))) == {one.value for one in channel.manifest.products}


def test_wechat_refusals() -> None:
    tables = (
        PAYMENT_DECLINES,
        REFUND_REFUSALS,
        DOUBTFUL_REFUND_REFUSALS,
        TRANSFER_REFUSALS,
        SHARING_REFUSALS,
        DOUBTFUL_SHARING_REFUSALS,
        DOUBTFUL_RETURN_REFUSALS,
        RECEIVER_REFUSALS,
        DISPUTE_REFUSALS,
    )
    shown = rows("docs/channels/wechat.md", "## Codes of refusals")
    assert set(names(shown)) == {meaning for table in tables for meaning in table.values()}
    for code, _, such in shown:
        for example in re.findall(r"`([^`]+)`", such):
            meanings = {table.get(example.replace("_", "")) for table in tables}
            assert meanings & set(re.findall(r"`([^`]+)`", code)), example


def test_routing() -> None:
    page = "docs/routing.md"
    columns = {name.replace("metadata.NAME", METADATA) for name in names(rows(page, "## Rules"))}
    assert columns == NUMBERS | TEXTS | {METADATA}
    assert names(rows(page, "## Strategies")) == [one.value for one in Strategy]
    assert names(rows(page, "## Breakers")) == [one.value for one in Circuit]
    example = tomllib.loads(re.findall(r"```toml\n(.*?)```", text(page), re.DOTALL)[0])
    assert read_rules(example).breaker == Breaker()
    tables = text(page).partition("| code of a decline |")[2]
    told = re.findall(r"^\| `(\w+)` \| the (account|customer)'s \| (.*) \|$", tables, re.MULTILINE)
    assert {code: why for code, whose, why in told if whose == "account"} == ACCOUNTS_FAULT
    assert {code: why for code, whose, why in told if whose == "customer"} == CUSTOMERS_MATTER


def test_user_agents() -> None:
    shown = rows("docs/cashier.md", "## What the customer sees")
    told = [re.findall(r"`([^`]+)`", row[1]) for row in shown]
    environments = [{environment_of(word).value for word in words} for words in told]
    assert environments == [{"wechat"}, {"alipay"}, {"mobile"}, set()]


def test_versions_of_python() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    classified = [
        one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r"Python :: \d", one)
    ]
    oldest, newest = classified[0], classified[-1]
    assert project["requires-python"] == f">={oldest}"
    assert f"Python {', '.join(classified)};" in text("CONTRIBUTING.md")
    assert f"Python {', '.join(classified[:-1])} and {newest};" in text("README.md")
    assert f"Python {'、'.join(classified)}" in text("README.zh-CN.md")
    assert ".".join(map(str, sys.version_info[:2])) in classified


def test_scopes_and_limits() -> None:
    assert names(rows("docs/merchants.md", "## What a key may do")) == list(KeyScope)
    assert names(rows("docs/merchants.md", "## Limits of payments")) == list(LimitKind)
