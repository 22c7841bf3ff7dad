"""Whatever the order in which events commit, each is seen once."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from qiao.cli.feed import Feed
from qiao.domain.ids import IdKind, new_id
from qiao.engine.events import OVERLAP_SECONDS

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MADE = st.tuples(
    st.integers(0, 600), st.integers(0, OVERLAP_SECONDS - 1), st.binary(min_size=10, max_size=10)
)


class Api:
    """GET /v1/events over a list, as far as it is committed; pages of two."""

    def __init__(self) -> None:
        self.committed: list[str] = []

    def get(self, path: str, **query: str | int) -> Any:
        assert path == "/v1/events"
        if "after" not in query:
            return {"data": [{"id": one} for one in sorted(self.committed)[::-1][:1]]}
        found = sorted(one for one in self.committed if one > str(query["after"]))
        return {"data": [{"id": one} for one in found[:2]], "has_more": len(found) >= 2}


@given(
    made=st.lists(MADE, max_size=12, unique_by=lambda one: one[2]),
    looks=st.lists(st.integers(0, 800), max_size=8),
    begin=st.integers(0, 800),
)
def test_each_once(made: list[tuple[int, int, bytes]], looks: list[int], begin: int) -> None:
    """Ids are made at one second and commit within the overlap; looks come in between."""
    commits = sorted(
        (second + delay, new_id(IdKind.EVENT, now=BEGIN + timedelta(seconds=second), random=random))
        for second, delay, random in made
    )
    api = Api()
    api.committed = [event for at, event in commits if at <= begin]
    known = list(api.committed)
    feed = Feed(api)
    seen: list[str] = []
    for look in (*sorted(one for one in looks if one > begin), 10_000):
        api.committed = [event for at, event in commits if at <= look]
        seen += [event["id"] for event in feed.new()]
    assert sorted(seen) == sorted({event for _, event in commits} - set(known))


def test_after_an_event() -> None:
    api = Api()
    ids = [
        new_id(IdKind.EVENT, now=BEGIN + timedelta(seconds=n), random=bytes(10)) for n in range(5)
    ]
    api.committed = ids
    feed = Feed(api, after=ids[1])
    assert [event["id"] for event in feed.new()] == ids[2:]
    assert list(feed.new()) == []
