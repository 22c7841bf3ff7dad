"""Who asks, as the audit log names them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something, for the audit log: ``kind`` is api_key, command, operator or system.

    ``origin`` is where from: an address, or a machine's name.
    """

    kind: str
    id: str
    origin: str | None = None


SYSTEM: Final = Actor(kind="system", id="qiao")
