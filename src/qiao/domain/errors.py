"""Every error that Qiao raises on purpose, in one tree.

QiaoError
├── InvalidInput            what the caller gave is wrong; carries field and remedy
│   ├── InvalidMoney        not an amount, or an amount that the currency cannot have
│   ├── InvalidId           not an id of the kind that was expected
│   └── InvalidSettings     an account's settings are incomplete or contradict each other
├── IllegalTransition       a state and an event that do not go together
├── AnswerUnreadable        a channel's answer could not be understood
│   └── AnswerForged        a channel's answer carries no signature, or one that does not verify
├── NotificationRejected    an incoming notification is not what it claims to be
└── DeadlineExceeded        the time that a request was given is over

The text of an error is safe to log: it never holds a key, a card number or a person's data.
"""


class QiaoError(Exception):
    """Something that Qiao knows how to name went wrong."""

    code = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class InvalidInput(QiaoError):
    """The request is wrong and nothing was done.

    ``field`` is a path into what was given (``amount``, ``settings.private_key``); ``remedy``
    says what to do about it.
    """

    code = "invalid_input"

    def __init__(self, message: str, *, field: str, remedy: str) -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.field}: {self.args[0]} — {self.remedy}"


class InvalidMoney(InvalidInput):
    """Not an amount of money."""

    code = "invalid_money"


class InvalidId(InvalidInput):
    """Not an id of the expected kind."""

    code = "invalid_id"


class InvalidSettings(InvalidInput):
    """An account's settings cannot work."""

    code = "invalid_settings"


class IllegalTransition(QiaoError):
    """The event does not happen in this state; nothing changed."""

    code = "illegal_transition"

    def __init__(self, *, kind: str, state: str, event: str) -> None:
        super().__init__(f"a {kind} that is {state!r} cannot become anything by {event!r}")
        self.kind = kind
        self.state = state
        self.event = event


class AnswerUnreadable(QiaoError):
    """The channel answered, but not in its own language; the outcome is unknown."""

    code = "answer_unreadable"


class AnswerForged(AnswerUnreadable):
    """The channel's answer is not signed by the channel; the outcome is unknown."""

    code = "answer_forged"


class NotificationRejected(QiaoError):
    """The notification is not authentic, or not for this account."""

    code = "notification_rejected"


class DeadlineExceeded(QiaoError):
    """The request's time is over; what of it was committed stays, and nothing was guessed."""

    code = "deadline_exceeded"
