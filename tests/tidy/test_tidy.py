"""House rules that no linter knows: the length of files and functions, and a first line for each.

The exceptions below are a ratchet: they may shrink and go, and none may be added.
"""

import ast
import gc
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "scripts", "bench")
FILES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(text: str) -> ast.Module:
    """Without collections of garbage: what another test left and is finalized just now may print a
    traceback, which parses too, and CPython 3.11 mistakes one for the other (gh-106905).
    """
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONG_FILES.get(name(path), MAX_FILE_LINES)
    tree = parsed(text)
    if tree.body:
        assert ast.get_docstring(tree), "the first line says what the file is for"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(parsed(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            allowed = LONG_FUNCTIONS.get(f"{name(path)}:{node.name}", MAX_FUNCTION_LINES)
            assert lines <= allowed, f"{node.name} has {lines} lines"


def test_no_exception_has_become_needless() -> None:
    for path, lines in LONG_FILES.items():
        assert len((ROOT / path).read_text("utf-8").splitlines()) == lines, path
