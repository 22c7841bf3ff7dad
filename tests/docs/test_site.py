"""``make docs``: strict, whole, and without a request to anybody else."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADING = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
}


class Loads(HTMLParser):
    """What a browser fetches by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") == "canonical":
            return
        self.found += [given[name] or "" for kind, name in LOADING if kind == tag and name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built_and_can_be_found(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    index = (site / "index.html").read_text("utf-8")
    for page in [*pages, Path("changelog.md")]:
        assert (site / page.with_suffix(".html")).is_file(), page
        if page.name != "index.md":
            assert f'href="{page.with_suffix(".html").as_posix()}"' in index, (
                f"{page} is in no menu"
            )


def test_pages_ask_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loads = Loads()
    for page in pages:
        loads.feed(page.read_text("utf-8"))
    assert len(loads.found) > len(pages)
    assert [one for one in loads.found if "//" in one] == []
    for style in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text("utf-8"))
        assert outside == [], style.name


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_root_pages_lead_somewhere(page: Path, site: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if "//" in target:
            continue
        assert (ROOT / target).exists(), link
        if anchor:
            built = site / Path(target).relative_to("docs").with_suffix(".html")
            assert f'id="{anchor}"' in built.read_text("utf-8"), link
