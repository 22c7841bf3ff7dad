"""MkDocs hooks: list whole folders in the navigation, and bring in the changelog."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LAST = ("writing-a-channel.md", "conformance.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Where the navigation names a folder, put every page of it, and first the one beside it."""
    config.nav = [
        {title: _pages(target) if target.endswith("/") else target}
        for entry in config.nav or []
        for title, target in entry.items()
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The changelog stands at the root of the repository, where people look for it."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def _pages(folder: str) -> list[str]:
    names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
    beside = f"{folder.rstrip('/')}.md"
    first = [beside] if (ROOT / "docs" / beside).exists() else []
    return first + [f"{folder}{name}" for name in sorted(names, key=lambda name: name in LAST)]
