"""A scaffolded channel is green from the start; a bad name changes nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qiao
from qiao.domain.errors import InvalidInput
from qiao.scaffold import entry_point, scaffold_channel

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NAMES = ("ab", "zebrapaybyname16")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    source = str(folder / "src")
    environment = {**os.environ, "PYTHONPATH": source, "MYPYPATH": source}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the source tree, with two new channels in it."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(qiao.__file__).parent, folder / "src/qiao", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in NAMES:
        scaffold_channel(name, folder)
    yield folder
    shutil.rmtree(folder)


def written(tree: Path) -> list[str]:
    files = [p for name in NAMES for p in tree.rglob("*.py") if name in p.parts or name in p.stem]
    return [str(path.relative_to(tree)) for path in files]


def copy_of_interface(folder: Path) -> Path:
    """The least that scaffold_channel takes for a source tree."""
    (folder / "src/qiao/channels").mkdir(parents=True)
    (folder / "src/qiao/channels/interface.py").touch()
    return folder


@pytest.mark.parametrize(
    "arguments",
    [["ruff", "format", "--check"], ["ruff", "check"], ["mypy", "--strict"]],
    ids=["format", "lint", "types"],
)
def test_what_is_written_is_clean(tree: Path, arguments: list[str]) -> None:
    tool, *options = arguments
    done = run(tree, str(BIN / tool), *options, *written(tree))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_written_passes_its_conformance_and_simulator_tests(tree: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests"]
    done = run(tree, *command)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "test_promise" not in done.stdout


def test_every_file_has_its_place(tmp_path: Path) -> None:
    files = scaffold_channel("demo", copy_of_interface(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        "src/qiao/channels/demo/__init__.py",
        "src/qiao/channels/demo/settings.py",
        "src/qiao/channels/demo/signing.py",
        "src/qiao/channels/demo/channel.py",
        "src/qiao/simulators/demo/__init__.py",
        "src/qiao/simulators/demo/book.py",
        "src/qiao/simulators/demo/simulator.py",
        "docs/channels/demo.md",
        "tests/channels/conformance/test_demo.py",
        "tests/simulators/demo/test_demo_simulator.py",
    ]
    assert all(path.read_text("utf-8").strip() for path in files)
    assert not any("{{" in path.read_text("utf-8") for path in files)


@pytest.mark.parametrize(
    "name",
    ["", "a", "9pay", "Pay", "pay-me", "支付", "class", "a" * 17, "pay_", "../pay", "pay\n"],
    ids=repr,
)
def test_a_bad_name_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    copy_of_interface(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInput):
        scaffold_channel(name, tmp_path)
    with pytest.raises(InvalidInput):
        entry_point(name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "taken",
    [
        "src/qiao/channels/demo/x.py",
        "src/qiao/channels/demo.py",
        "src/qiao/simulators/demo/x.py",
        "docs/channels/demo.md",
        "tests/channels/conformance/test_demo.py",
    ],
)
def test_nothing_is_overwritten(tmp_path: Path, taken: str) -> None:
    file = copy_of_interface(tmp_path) / taken
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidInput):
        scaffold_channel("demo", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert file.read_text() == "mine"


def test_a_tree_that_is_not_qiaos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        scaffold_channel("demo", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_entry_point_names_what_the_package_exports() -> None:
    assert entry_point("demo") == 'demo = "qiao.channels.demo:channel_type"'
