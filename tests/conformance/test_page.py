"""The page lists the promises as the code holds them."""

from pathlib import Path

from qiao.channels.conformance import PROMISES, Forgery

PAGE = (Path(__file__).parents[2] / "docs/channels/conformance.md").read_text("utf-8")


def test_the_page_lists_every_promise_and_no_other() -> None:
    listed = PAGE.partition("## The promises")[2].partition("##")[0]
    rows = [line for line in listed.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{p.name}` | {p.text} |" for p in PROMISES.values()]


def test_the_page_explains_every_forgery() -> None:
    assert all(f"`{forgery.name}`" in PAGE for forgery in Forgery)
