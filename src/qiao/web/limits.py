"""How often somebody may ask: each API key, and each address that brings wrong keys.

Each process counts for itself: that costs no round trip and is exact there; several processes
together admit as many times more. Kept as one number for each caller, the time at which all it
has asked is worked off (GCRA, https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
"""

import ipaddress
import math
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_CALLERS: Final = 10_000
WRONG_KEYS: Final = 60
WRONG_KEYS_PER_SECOND: Final = 1.0
STATE: Final = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of asking once."""

    admitted: bool
    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    """Until one may be asked again when none remains, until all may otherwise."""


class Buckets:
    """A bucket of tokens for each caller, forgotten when it is full again or there are too many."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._free_at: dict[str, float] = {}

    def take(self, caller: str, *, per_second: float, burst: int, peek: bool = False) -> Taken:
        """Take a token if there is one; ``peek`` only looks."""
        now, step = self._now(), 1.0 / per_second
        free_at = max(now, self._free_at.get(caller, now))
        admitted = free_at + step <= now + burst * step + 1e-9
        if admitted and not peek:
            free_at += step
            self._keep(caller, free_at, now)
        remaining = max(0, math.floor((now + burst * step - free_at) / step + 1e-9))
        wait = free_at - now if remaining else free_at - now - (burst - 1) * step
        return Taken(
            admitted=admitted,
            quota=burst,
            window_seconds=max(1, math.ceil(burst * step)),
            remaining=remaining,
            reset_seconds=max(1, math.ceil(wait - 1e-9)),
        )

    def _keep(self, caller: str, free_at: float, now: float) -> None:
        self._free_at.pop(caller, None)  # so that the dictionary's order is that of use
        if len(self._free_at) >= MAX_CALLERS:
            self._free_at = {name: at for name, at in self._free_at.items() if at > now}
            while len(self._free_at) >= MAX_CALLERS:
                del self._free_at[next(iter(self._free_at))]
        self._free_at[caller] = free_at


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``per_second`` for each key, or of its merchant in ``of_merchants``; None is no limit."""

    per_second: int | None = None
    of_merchants: Mapping[str, int] = field(default_factory=dict)
    keys: Buckets = field(default_factory=Buckets)
    wrong_keys: Buckets = field(default_factory=Buckets)

    def take(self, merchant_id: str, key: str) -> Taken | None:
        """One request by this key; None when it has no limit."""
        limit = self.of_merchants.get(merchant_id, self.per_second)
        return None if limit is None else self.keys.take(key, per_second=limit, burst=limit)

    def is_guessing(self, address: str) -> Taken | None:
        """When an address has brought too many wrong keys: until when it must wait."""
        taken = self._wrong(address, peek=True)
        return None if taken.admitted else taken

    def note_wrong_key(self, address: str) -> None:
        self._wrong(address, peek=False)

    def _wrong(self, address: str, *, peek: bool) -> Taken:
        return self.wrong_keys.take(
            _network(address), per_second=WRONG_KEYS_PER_SECOND, burst=WRONG_KEYS, peek=peek
        )


def note_rate(request: MutableMapping[str, Any], taken: Taken) -> None:
    """Keep with the request what ``rate_headers`` is to tell."""
    request.setdefault("state", {})[STATE] = taken


def rate_headers(request: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers of draft-ietf-httpapi-ratelimit-headers-10, where there is a limit."""
    taken: Taken | None = request.get("state", {}).get(STATE)
    if taken is None:
        return []
    headers = [
        ("ratelimit-policy", f'"key";q={taken.quota};w={taken.window_seconds}'),
        ("ratelimit", f'"key";r={taken.remaining};t={taken.reset_seconds}'),
    ]
    if not taken.admitted:
        headers.append(("retry-after", str(taken.reset_seconds)))
    return [(name.encode(), text.encode()) for name, text in headers]


def _network(address: str) -> str:
    """The address, or of IPv6 the network that one customer gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket's, or none
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found), 64), strict=False))
    return address
