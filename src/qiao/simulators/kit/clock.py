"""Time that may run faster than the wall's, so that a day of retries fits into a minute."""

import asyncio
from datetime import UTC, datetime


class ScaledClock:
    """The wall's time, with delays divided by ``scale``: 60 makes a minute last a second."""

    def __init__(self, *, scale: float = 1.0) -> None:
        if scale <= 0:
            message = "the scale of time is above zero"
            raise ValueError(message)
        self.scale = scale

    def now(self) -> datetime:
        """The wall's time, UTC: the channel's timestamps stay true whatever the scale."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of the channel's time."""
        await asyncio.sleep(seconds / self.scale)
