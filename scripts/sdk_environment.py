#!/usr/bin/env python3
"""Bring other people's SDKs, each into an environment of its own under .sdk/, for tests/interop.

Usage: sdk_environment.py NAME...

NAME is a file of tests/interop/environments (NAME.txt: packages for Python, pinned with hashes) or
a folder there (NAME/package-lock.json: packages for Node). What is there already is left alone;
two callers at once wait for each other. Exit status 0: all there; 3: a package registry can't be
reached; 1: anything else is wrong. Standard error says what.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = ROOT / "tests/interop/environments"
MADE = ROOT / ".sdk"
STAMP = ".complete"
UNREACHABLE = 3
SIGNS_OF_NO_NETWORK = (
    *("error sending request", "network was disabled", "timed out"),  # uv
    *("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "EAI_AGAIN", "ETIMEDOUT", "ENOTCACHED"),  # npm
)


def bring(name: str) -> None:
    """Make .sdk/NAME what its file asks for. Raises CalledProcessError with what the tool said."""
    python, node = WANTED / f"{name}.txt", WANTED / name / "package-lock.json"
    asked = python if python.exists() else node
    if not asked.exists():
        sys.exit(f"there is no {python.relative_to(ROOT)} and no {node.relative_to(ROOT)}")
    version = platform.python_version() if asked is python else ""
    stamp = hashlib.sha256(f"{ROOT} {version}\n".encode() + asked.read_bytes()).hexdigest()
    folder = MADE / name
    if complete(folder, stamp):
        return
    MADE.mkdir(exist_ok=True)
    with (MADE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete(folder, stamp):  # another caller has made it meanwhile
            return
        shutil.rmtree(folder, ignore_errors=True)
        if asked is python:
            make_for_python(folder, python)
        else:
            make_for_node(folder, node)
        (folder / STAMP).write_text(stamp)


def complete(folder: Path, stamp: str) -> bool:
    mark = folder / STAMP
    return mark.exists() and mark.read_text() == stamp


def make_for_python(folder: Path, requirements: Path) -> None:
    uv = run("sh", "scripts/find-uv").strip()
    run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    interpreter = str(folder / "bin/python")
    run(uv, "pip", "sync", "--python", interpreter, "--require-hashes", str(requirements))


def make_for_node(folder: Path, lock: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("there is no npm: install Node.js")
    folder.mkdir(parents=True)
    for file in (lock, lock.with_name("package.json")):
        shutil.copy(file, folder)
    run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))


def run(*command: str) -> str:
    """What it printed."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> None:
    for name in sys.argv[1:]:
        try:
            bring(name)
        except subprocess.CalledProcessError as failure:
            said = f"{failure.stdout}{failure.stderr}".strip()
            print(f"the environment {name} could not be made:\n{said}", file=sys.stderr)
            unreachable = any(sign in said for sign in SIGNS_OF_NO_NETWORK)
            sys.exit(UNREACHABLE if unreachable else 1)


if __name__ == "__main__":
    main()
