"""A network namespace on this machine whose packets can be lost, one way at a time."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

NOBODY: Final = "02:00:00:00:00:01"
"""An Ethernet address that no interface has: what is sent to it arrives nowhere."""


class Road:
    """A pair of addresses, ours and theirs; several may lie on one cable."""

    def __init__(self, network: str, first: int) -> None:
        self.ours, self.theirs = f"{network}.{first + 1}", f"{network}.{first + 2}"


class Cable:
    """Between this machine and a namespace of its own. Needs root.

    An address is lost by naming nobody as who has it: packets leave, and no error comes back, as
    when a switch or a firewall on the way drops them. The other way they still come.
    """

    def __init__(self) -> None:
        # Of a range that is nobody's (RFC 2544), for several of us may be at work on a machine.
        network = f"198.18.{secrets.randbelow(256)}"
        self.name, self.network = f"qiao-{secrets.token_hex(4)}", f"{network}.0/24"
        self._here, self._there = f"{self.name}-h", f"{self.name}-t"
        self.database, self.channel, self.doors = (Road(network, first) for first in (0, 4, 8))
        self.inside = ("ip", "netns", "exec", self.name)

    @contextmanager
    def laid(self) -> Iterator["Cable"]:
        _ip("netns", "add", self.name)
        try:
            peer = ("peer", "name", self._there, "netns", self.name)
            _ip("link", "add", self._here, "type", "veth", *peer)
            for road in (self.database, self.channel, self.doors):
                _ip("address", "add", f"{road.ours}/30", "dev", self._here)
                _ip("-n", self.name, "address", "add", f"{road.theirs}/30", "dev", self._there)
            _ip("link", "set", self._here, "up")
            _ip("-n", self.name, "link", "set", self._there, "up")
            _ip("-n", self.name, "link", "set", "lo", "up")
            yield self
        finally:
            with suppress(subprocess.CalledProcessError):  # it was not laid
                _ip("link", "delete", self._here)
            _ip("netns", "delete", self.name)

    @contextmanager
    def lost(self, road: Road, *, to_us: bool) -> Iterator[None]:
        """Meanwhile nothing that is sent on this road in this direction arrives."""
        where = ("-n", self.name) if to_us else ()
        whose = road.ours if to_us else road.theirs
        neighbour = (whose, "dev", self._there if to_us else self._here)
        _ip(*where, "neighbour", "replace", *neighbour, "lladdr", NOBODY, "nud", "permanent")
        try:
            yield
        finally:
            _ip(*where, "neighbour", "delete", *neighbour)


def why_not() -> str | None:
    """Why no network can be laid here; None where one can."""
    try:
        _ip("netns", "add", "qiao-probe")
        _ip("netns", "delete", "qiao-probe")
    except FileNotFoundError:
        if "CI" in os.environ:
            raise
        return "there is no ip: install Debian's package iproute2"
    except subprocess.CalledProcessError as error:
        return f"no network namespace may be made here: {error.stderr.decode().strip()}"
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)
