"""The alert rules and the dashboard: well formed, and about metrics that there are."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from qiao.telemetry import metrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "qiao.json"
METRIC = re.compile(r"\b(?:qiao|process)_[a-z0-9_]+")
SELECTOR = re.compile(r"((?:qiao|process)_[a-z0-9_]+)\{([^}]*)\}")


def known() -> dict[str, set[str]]:
    """Every series' name with its labels, as a scrape would show it."""
    found: dict[str, set[str]] = {}
    for collector in list(metrics.REGISTRY._collector_to_names):
        labels = set(getattr(collector, "_labelnames", ()))
        if collector is metrics.POOLS:
            labels = {"state"}
        for name in metrics.REGISTRY._collector_to_names[collector]:
            found[name] = labels
    return found


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    drawn = [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + drawn


def test_every_rule_says_how_urgent_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_is_there(expression: str) -> None:
    series = known()
    named = METRIC.findall(expression)
    assert named
    assert set(named) <= set(series), set(named) - set(series)
    for name, selector in SELECTOR.findall(expression):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= series[name]


def test_the_dashboard_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", ROOT / "scripts" / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert DASHBOARD.read_text("utf-8") == module.text(), "run: python scripts/dashboard.py"


def test_every_metric_of_ours_is_drawn_or_alerted_on() -> None:
    text = " ".join(expressions())
    ours = {name for name in known() if name.startswith("qiao_")}
    bases = {re.sub(r"_(total|created|bucket|sum|count)$", "", name) for name in ours}
    assert not [base for base in sorted(bases) if base not in text]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' promtool is not there")
def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
