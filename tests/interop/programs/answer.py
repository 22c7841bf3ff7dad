"""Runs in an SDK's own environment: answers calls, one line of JSON each, until input ends.

Usage: python -I answer.py PROGRAM, the path of a Python file that offers the functions that it
defines and whose names have no leading underscore. A call is ``{"call": name, "with": {…}}``, its
answer ``{"result": …}`` or ``{"error": {"type": …, "text": …}}``.
"""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: Path) -> ModuleType:
    """The program, under a name that can't be its SDK's."""
    spec = spec_from_file_location(f"program_{path.stem}", path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(module: ModuleType, line: str) -> dict[str, Any]:
    asked = json.loads(line)
    function = getattr(module, asked["call"])
    if function.__module__ != module.__name__ or asked["call"].startswith("_"):
        message = f"{module.__name__} does not offer {asked['call']}"
        raise AttributeError(message)
    try:
        return {"result": function(**asked["with"])}
    except Exception as error:  # noqa: BLE001 - whatever an SDK raises is its verdict
        return {"error": {"type": type(error).__name__, "text": str(error)}}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # an SDK that prints must not disturb
    module = load(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(answer(module, line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
