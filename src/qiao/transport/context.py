"""The real clock and real randomness, for operations that run outside tests."""

import secrets
from datetime import UTC, datetime

from qiao.channels.requests import Context


def system_context() -> Context:
    """What a channel may not fetch for itself, from this machine."""
    return Context(now=lambda: datetime.now(UTC), nonce=lambda: secrets.token_hex(16))
