"""What an API key may do: its scopes, until when, and from which addresses."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

import asyncpg

from qiao.domain.errors import InvalidInput
from qiao.transport.guard import Network

MAX_NETWORKS: Final = 64


class KeyScope(StrEnum):
    """What a request needs; none of them implies another."""

    PAYMENTS_WRITE = "payments:write"
    PAYMENTS_READ = "payments:read"
    REFUNDS_WRITE = "refunds:write"
    PROFIT_SHARES_WRITE = "profit_shares:write"
    TRANSFERS_WRITE = "transfers:write"
    SUBSCRIPTIONS_WRITE = "subscriptions:write"
    DISPUTES_WRITE = "disputes:write"
    LEDGER_READ = "ledger:read"
    ROUTING_READ = "routing:read"
    ROUTING_WRITE = "routing:write"
    WEBHOOKS_WRITE = "webhooks:write"
    AUDIT_READ = "audit:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """``scopes`` None: all, those that come later too. ``networks`` None: from anywhere."""

    scopes: frozenset[KeyScope] | None = None
    expires_at: datetime | None = None
    networks: tuple[Network, ...] | None = None

    @classmethod
    def read(
        cls,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        networks: Sequence[str] | None = None,
    ) -> Self:
        """From what somebody gave. Raises InvalidInput."""
        return cls(
            scopes=None if scopes is None else _scopes(scopes),
            expires_at=expires_at,
            networks=None if networks is None else _networks(networks),
        )

    @classmethod
    def of_row(cls, row: asyncpg.Record) -> Self:
        """From a key's row. A scope that this version does not know allows nothing here."""
        scopes, networks = row["scopes"], row["allowed_addresses"]
        known = {scope.value for scope in KeyScope}
        return cls(
            scopes=None if scopes is None else frozenset(KeyScope(s) for s in scopes if s in known),
            expires_at=row["expires_at"],
            networks=None if networks is None else tuple(map(ipaddress.ip_network, networks)),
        )

    def columns(self) -> tuple[list[str] | None, datetime | None, list[str] | None]:
        """scopes, expires_at and allowed_addresses, as a key's row keeps them."""
        return (
            None if self.scopes is None else sorted(self.scopes),
            self.expires_at,
            None if self.networks is None else [str(network) for network in self.networks],
        )

    def allows(self, needed: KeyScope | None) -> bool:
        """Whether it may do what needs the scope; None needs every one."""
        return self.scopes is None or needed in self.scopes

    def admits(self, address: str | None) -> bool:
        """Whether it may be used from there; an address that is not known is not admitted."""
        if self.networks is None:
            return True
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # how a socket for both families tells an IPv4 address
        return any(found in network for network in self.networks)

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def _scopes(given: Sequence[str]) -> frozenset[KeyScope]:
    every = [scope.value for scope in KeyScope]
    unknown = sorted(set(given) - set(every))
    if unknown or not given:
        raise InvalidInput(
            f"no such scope: {unknown[0]}" if unknown else "a key without a scope can do nothing",
            field="scopes",
            remedy=f"choose from: {', '.join(every)}",
        )
    return frozenset(map(KeyScope, given))


def _networks(given: Sequence[str]) -> tuple[Network, ...]:
    try:
        found = tuple(ipaddress.ip_network(one.strip()) for one in given)
    except ValueError:
        found = ()
    if not 1 <= len(found) <= MAX_NETWORKS:
        raise InvalidInput(
            "not a list of addresses",
            field="allowed_addresses",
            remedy=f"give 1 to {MAX_NETWORKS} addresses or networks, such as 203.0.113.7 or "
            "2001:db8:7::/48; a network ends where its prefix does",
        )
    return found
