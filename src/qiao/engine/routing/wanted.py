"""What is known of an attempt before its account is chosen: what rules may ask about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from qiao.channels.requests import Product
from qiao.domain.money import Money
from qiao.engine.records import CaptureMode

ANY_CHANNEL: Final = "auto"
"""The channel of a method that leaves the channel to the rules."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NUMBERS: Final = frozenset({"amount", "hour"})
TEXTS: Final = frozenset(
    {
        "app",
        "capture",
        "code_prefix",
        "country",
        "currency",
        "date",
        "device",
        "preference",
        "product",
        "requested",
        "weekday",
    }
)
METADATA: Final = "metadata."
"""A column of this prefix asks about one key of the payment's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An attempt to be made. ``channel`` is the one asked for, or ANY_CHANNEL.

    ``subject`` is what a volume split counts: the same one always falls to the same side.
    ``code_prefix`` is the first two digits of a payment code, which tell whose wallet showed it.
    """

    subject: str
    amount: Money
    product: Product
    channel: str
    at: datetime
    methods: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    country: str | None = None
    device: str | None = None
    preference: str | None = None
    code_prefix: str | None = None
    app_id: str | None = None
    """The app that the payment belongs to; accounts of another one are not for it."""
    capture: CaptureMode = CaptureMode.AUTOMATIC
    profit_sharing: bool = False
    account_id: str | None = None
    """The only account that will do: it told the payer's id, which no other one understands."""

    @property
    def holds(self) -> bool:
        """Whether the amount is to be held, and taken later."""
        return self.capture is CaptureMode.MANUAL

    def inputs(self, zone: ZoneInfo) -> dict[str, Any]:
        """What a rule sees, by name; the time is the merchant's own."""
        there = self.at.astimezone(zone)
        return {
            "amount": self.amount.minor,
            "currency": self.amount.currency,
            "app": self.app_id,
            "capture": self.capture.value,
            "country": self.country,
            "product": self.product.value,
            "device": self.device,
            "requested": None if self.channel == ANY_CHANNEL else self.channel,
            "preference": self.preference,
            "code_prefix": self.code_prefix,
            "hour": there.hour,
            "weekday": WEEKDAYS[there.weekday()],
            "date": there.date().isoformat(),
            "metadata": dict(self.metadata),
        }

    def asked(self) -> dict[str, str]:
        """What is not found elsewhere in the books: kept with the attempt, for the dry run."""
        known = {
            "channel": self.channel,
            "country": self.country,
            "device": self.device,
            "preference": self.preference,
            "code_prefix": self.code_prefix,
        }
        return {name: text for name, text in known.items() if text is not None}
