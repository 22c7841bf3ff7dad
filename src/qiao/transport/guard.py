"""Addresses that merchants give us: only public ones are connected to.

A merchant who may name a webhook's address could otherwise have this server knock at whatever its
own network holds: databases, consoles, the cloud's metadata service. The check stands where a
socket is made for an address that a name was resolved to. So it is exactly the checked address
that is connected to, whatever the name resolves to a moment later.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from qiao.domain.errors import InvalidInput

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
# https://www.iana.org/assignments/ipv6-unicast-address-assignments: nothing else is assigned for
# global unicast, and so neither mapped IPv4 (::ffff:0:0/96) nor NAT64 (64:ff9b::/96,
# 64:ff9b:1::/48) nor anything local passes.
IPV6_UNICAST: Final = ipaddress.ip_network("2000::/3")
IPV4_SPECIAL: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
)


class AddressRefused(OSError):
    """The name does not lead to a public address."""


def is_public(address: str) -> bool:
    """Whether everybody on the Internet means the same host by it, and not one of our own."""
    found = ipaddress.ip_address(address)
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in IPV4_SPECIAL)
    # 6to4 and Teredo carry an IPv4 address inside, which may be a private one.
    return found in IPV6_UNICAST and found.sixtofour is None and found.teredo is None


def guarded_sockets(allowed: Sequence[Network]) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Makes sockets for public addresses and for those in ``allowed``; else AddressRefused.

    For aiohttp's connector, which hands in what getaddrinfo says of the one address that it is
    about to connect to.
    """

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, *_) = info
        address = ipaddress.ip_address(host)
        if not is_public(host) and not any(address in network for network in allowed):
            raise AddressRefused
        return socket.socket(family, kind, protocol)

    return make


def read_networks(text: str, *, field: str) -> tuple[Network, ...]:
    """Networks apart by commas, such as ``10.1.0.0/16, fd12::/48``. Raises InvalidInput."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise InvalidInput(
            "not a list of networks",
            field=field,
            remedy="write networks apart by commas, such as: 10.1.0.0/16, fd12:3456::/48",
        ) from None
