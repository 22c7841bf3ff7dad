"""Follows a server's events so that none is missed and none comes twice."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, Protocol

from qiao.domain.ids import RANDOM_BYTES, IdKind, made_at, new_id
from qiao.engine.events import OVERLAP_SECONDS

BEFORE_ALL: Final = f"{IdKind.EVENT}_{'0' * 26}"
PAGE: Final = 100


class Asks(Protocol):
    """Whoever can ask the API, as qiao.cli.client.Client does."""

    def get(self, path: str, **query: str | int) -> Any: ...


class Feed:
    """What is new since the last look.

    An event may commit after one with a larger id, so every look begins some time before the
    newest id, and what was seen there is remembered.
    """

    def __init__(self, client: Asks, *, after: str | None = None) -> None:
        """Everything up to ``after``, or up to now, is known already."""
        self._client = client
        if after is None:
            newest = client.get("/v1/events", limit=1)["data"]
            after = newest[0]["id"] if newest else BEFORE_ALL
        self._newest = after
        self._seen = {event["id"] for event in self._window() if event["id"] <= after}

    def new(self) -> Iterator[dict[str, Any]]:
        """Each event once, the oldest first, as they are now. Raises RequestFailed."""
        for event in self._window():
            if event["id"] not in self._seen:
                self._seen.add(event["id"])
                self._newest = max(self._newest, event["id"])
                yield event
        begin = self._begin()
        self._seen = {seen for seen in self._seen if seen > begin}

    def _window(self) -> Iterator[dict[str, Any]]:
        after, more = self._begin(), True
        while more:
            page = self._client.get("/v1/events", after=after, limit=PAGE)
            yield from page["data"]
            more = page["has_more"]
            after = page["data"][-1]["id"] if more else after

    def _begin(self) -> str:
        if self._newest == BEFORE_ALL:
            return BEFORE_ALL
        moment = made_at(self._newest) - timedelta(seconds=OVERLAP_SECONDS)
        return new_id(IdKind.EVENT, now=moment, random=bytes(RANDOM_BYTES))
