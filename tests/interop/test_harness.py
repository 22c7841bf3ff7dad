"""The harness itself: environments are made once, and a failure says what it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIGEST = "0" * 64


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of its own, so that nothing is made in the real one."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "tests/interop/environments").mkdir(parents=True)
    return tmp_path


def want(tree: Path, name: str, requirements: str) -> None:
    (tree / "tests/interop/environments" / f"{name}.txt").write_text(requirements)


def start(tree: Path, *names: str) -> subprocess.Popen[str]:
    uv = subprocess.run(
        ["sh", "scripts/find-uv"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    path = f"{(ROOT / uv).parent}{os.pathsep}{os.environ['PATH']}"
    nowhere = {"UV_INDEX_URL": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    return subprocess.Popen(
        [sys.executable, str(tree / "scripts/sdk_environment.py"), *names],
        env={**os.environ, **nowhere, "UV_NO_CACHE": "1", "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_callers_at_once_make_it_once_and_a_third_leaves_it_alone(tree: Path) -> None:
    want(tree, "empty", "# nothing\n")
    both = [start(tree, "empty"), start(tree, "empty")]
    assert [one.communicate()[1] for one in both] == ["", ""]
    stamp = tree / ".sdk/empty/.complete"
    made = stamp.stat().st_mtime_ns
    start(tree, "empty").communicate()
    assert stamp.stat().st_mtime_ns == made
    want(tree, "empty", "# nothing, differently\n")
    start(tree, "empty").communicate()
    assert stamp.stat().st_mtime_ns > made


@pytest.mark.parametrize(
    ("requirements", "status", "said"),
    [
        (f"idna==3.10 --hash=sha256:{DIGEST}\n", 3, "could not be made"),
        ("idna==3.10\n", 1, "could not be made"),  # no hash: nothing to do with the network
        (None, 1, "there is no tests/interop/environments/wanted.txt"),
    ],
    ids=["unreachable", "broken", "missing"],
)
def test_a_failure_says_what_it_is(
    requirements: str | None, status: int, said: str, tree: Path
) -> None:
    if requirements is not None:
        want(tree, "wanted", requirements)
    process = start(tree, "wanted")
    error = process.communicate()[1]
    assert (process.returncode, said in error) == (status, True), error
    assert not (tree / ".sdk/wanted/.complete").exists()
