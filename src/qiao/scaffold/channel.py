"""Writes a channel that works: adapter, simulator, page, and tests that are green at once."""

import keyword
import re
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from qiao.domain.errors import InvalidInput

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,15}", re.ASCII)
_IMPORT: Final = re.compile(r"^(?=from |import )", re.MULTILINE)
_FILES: Final = {
    "src/qiao/channels/{name}/__init__.py": "adapter/package.py.jinja",
    "src/qiao/channels/{name}/settings.py": "adapter/settings.py.jinja",
    "src/qiao/channels/{name}/signing.py": "adapter/signing.py.jinja",
    "src/qiao/channels/{name}/channel.py": "adapter/channel.py.jinja",
    "src/qiao/simulators/{name}/__init__.py": "simulator/package.py.jinja",
    "src/qiao/simulators/{name}/book.py": "simulator/book.py.jinja",
    "src/qiao/simulators/{name}/simulator.py": "simulator/simulator.py.jinja",
    "docs/channels/{name}.md": "page.md.jinja",
    "tests/channels/conformance/test_{name}.py": "tests/conformance.py.jinja",
    "tests/simulators/{name}/test_{name}_simulator.py": "tests/simulator.py.jinja",
}
"""What is written, below the root of a Qiao source tree, and from which template."""


def scaffold_channel(name: str, root: Path) -> list[Path]:
    """Write the channel ``name`` into the source tree at ``root``; returns the files, in order.

    The channel speaks a simple signed JSON of its own, to be replaced by the real wire; it passes
    its conformance suite before and should after. Raises InvalidInput, and then writes nothing,
    for a name that is no channel id, a tree that is not Qiao's, or a channel that is there.
    """
    _check_name(name)
    if not (root / "src/qiao/channels/interface.py").is_file():
        raise InvalidInput(
            "not a source tree of Qiao", field="root", remedy="run it in a checkout of Qiao"
        )
    files = {root / path.format(name=name): template for path, template in _FILES.items()}
    taken = [path for path in _taken(name, root) if path.exists()]
    if taken:
        raise InvalidInput(
            f"{taken[0].relative_to(root).as_posix()} is there already",
            field="name",
            remedy="give a name that no channel has",
        )
    texts = {path: _render(template, name) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(texts)


def entry_point(name: str) -> str:
    """The line for ``[project.entry-points."qiao.channels"]``, by which the channel is found."""
    _check_name(name)
    return f'{name} = "qiao.channels.{name}:channel_type"'


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name.endswith("_"):
        raise InvalidInput(
            "not a name for a channel",
            field="name",
            remedy="give 2 to 16 of a-z, 0-9 and _, a letter first, and no word of Python's",
        )


def _taken(name: str, root: Path) -> list[Path]:
    """Every path that must not be there yet: a file of that name would be a module, too."""
    folders = [root / "src/qiao/channels" / name, root / "src/qiao/simulators" / name]
    modules = [folder.with_suffix(".py") for folder in folders]
    return [*folders, *modules, *(root / path.format(name=name) for path in _FILES)]


def _render(template: str, name: str) -> str:
    environment = Environment(
        loader=PackageLoader("qiao.scaffold"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Python and Markdown, and a name of a-z, 0-9 and _
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters["sorted_imports"] = _sorted_imports
    title = "".join(part.capitalize() for part in name.split("_"))
    return environment.get_template(template).render(name=name, Name=title)


def _sorted_imports(block: str) -> str:
    """A block of ``from`` imports in the order of their modules, which the name decides."""
    statements = [statement for statement in _IMPORT.split(block) if statement.strip()]
    return "".join(sorted(statements, key=lambda statement: statement.split()[1]))
