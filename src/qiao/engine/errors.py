"""What a use case refuses, in the tree of qiao.domain.errors: nothing was changed."""

from qiao.domain.errors import InvalidInput


class Missing(InvalidInput):
    """There is no such thing, or it is another merchant's."""

    code = "not_found"


class Conflict(InvalidInput):
    """The request contradicts what is already there."""

    code = "conflict"

    def __init__(self, message: str, *, code: str, field: str, remedy: str) -> None:
        super().__init__(message, field=field, remedy=remedy)
        self.code = code


class Archived(InvalidInput):
    """It is in an archive, and no longer in the database."""

    code = "archived"


class NoRoute(InvalidInput):
    """Every account that could take the attempt is out of order; nothing was sent."""

    code = "no_route"
    why = "every channel account that could take this attempt is out of order"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            self.why,
            field="method.channel",
            remedy=f"ask again in {retry_after_seconds} seconds, or offer another way to pay",
        )
        self.retry_after_seconds = retry_after_seconds


class ChannelBusy(NoRoute):
    """Too many wait already for a channel that answers nobody just now; nothing was written."""

    why = "too many wait already for a channel that answers nobody just now"
