"""``make bench`` in its shortest form: every figure is there. How fast is not a test's to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="the bench reads Linux's /proc")
def test_every_figure_is_measured(tmp_path: Path, postgres_url: str) -> None:
    output = tmp_path / "results.json"
    shortest = ("--rounds", "1", "--count", "40", "--no-demo")
    where = ("--database-url", postgres_url, "--output", str(output))
    done = subprocess.run(
        [sys.executable, "-m", "bench", *shortest, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = {one["name"]: one for one in json.loads(output.read_bytes())}
    both = ("create", "notify", "query by id", "webhook delivery")
    alone = ("create: p99 to p50", "API process at its peak")
    beyond = (
        "create by 4 processes: CPU",
        "create by 4 processes of the floor: CPU",
        "create at 10 × capacity",
        "a refusal then: p50",
    )
    assert {*both, *alone, *beyond} <= set(results)
    for name in both:
        for one in (results[name], results[f"{name}: CPU"]):
            assert one["value"] > 0
            assert one["floor"] > 0
            assert one["ratio"] > 0
