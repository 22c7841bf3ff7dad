"""Connecting: to the first of a URL's hosts that will have us, within a time that is bounded.

A URL may name several hosts, ``postgresql://user@one,two:5433/name?target_session_attrs=read-write``:
the servers of one database, of which one is the primary at a time. asyncpg goes on to the next
host when one refuses; but one that has lost its power refuses nothing, and one that is just dying
breaks off in the middle. So each host is tried by itself here, the one that had us last first.
"""

import re
import socket
from typing import Any, TypeAlias, cast

import asyncpg
from asyncpg import Record

from qiao.domain.deadlines import within_deadline

RawConnection: TypeAlias = "asyncpg.Connection[Record]"

CONNECT_TIMEOUT_SECONDS = 10.0
HOST_TIMEOUT_SECONDS = 3.0
"""For each of several hosts: three of them fit into what a caller waits."""
# A machine that vanished answers no packet. Without these the kernel goes on sending for a
# quarter of an hour to it what was sent, and what only waits for an answer waits for ever.
UNACKNOWLEDGED_MILLISECONDS = 8_000
IDLE_BEFORE_PROBE_SECONDS = 5
PROBE_EVERY_SECONDS = 2
PROBES = 3

UNAVAILABLE = (
    OSError,  # refused, reset, unreachable; a time-out too
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement_timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a primary that was demoted
    asyncpg.TargetServerAttributeNotMatched,  # there are only standbys: nobody was promoted yet
)


class Connector:
    """Connects to a URL's database; one for each pool, so that it knows who had us last."""

    def __init__(self, url: str) -> None:
        self._urls = single_host_urls(url)

    async def __call__(self, *_: object, **options: Any) -> RawConnection:
        """As ``asyncpg.connect`` with these options. Raises what the last host raised."""
        several = len(self._urls) > 1
        most = HOST_TIMEOUT_SECONDS if several else CONNECT_TIMEOUT_SECONDS
        failure: BaseException | None = None
        for url in tuple(self._urls):
            options["timeout"] = within_deadline(most)
            try:
                connection: RawConnection = await asyncpg.connect(url, **options)
            except UNAVAILABLE as error:
                failure = error
            else:
                self._urls.sort(key=lambda other: other != url)
                _watch(connection)
                return connection
        assert failure is not None  # noqa: S101 - there is at least one URL
        raise failure


def single_host_urls(url: str) -> list[str]:
    """The same URL with each of the hosts between ``//`` and the path by itself, in that order."""
    scheme, separator, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    access, at, hosts = place.rpartition("@")
    tail = rest[len(place) :]
    return [scheme + separator + access + at + host + tail for host in hosts.split(",")]


def _watch(connection: RawConnection) -> None:
    transport = cast("Any", connection)._transport  # noqa: SLF001 - asyncpg has no setting for it
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MILLISECONDS),
        ("TCP_KEEPIDLE", IDLE_BEFORE_PROBE_SECONDS),
        ("TCP_KEEPINTVL", PROBE_EVERY_SECONDS),
        ("TCP_KEEPCNT", PROBES),
    ):
        if (option := getattr(socket, name, None)) is not None:  # Linux has all of them
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
