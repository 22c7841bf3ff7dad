"""Time for tests of what is bounded in seconds."""


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds
