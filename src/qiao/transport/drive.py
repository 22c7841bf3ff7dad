"""The rule of what a failure means, apart from any HTTP library.

Nothing sent → NotSent. Anything else that ends without an answer that can be read and trusted →
Unknown. In an operation of several requests, a later one that was not sent makes the whole unknown
as soon as an earlier one may have had an effect.
"""

from collections.abc import Generator
from typing import Final, TypeVar

from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.outcomes import NotSent, Unknown

Result = TypeVar("Result")

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""The longest answer that is read: a busy merchant's statement fits, an endless one does not."""


class ConnectFailed(Exception):
    """No connection came about: not one byte of the request went out. Raised by a sender."""


class AnswerLost(Exception):
    """The request may have arrived, its answer did not. Raised by a sender."""


Exchange = Generator[HttpRequest, HttpResponse, Result | NotSent | Unknown]


def exchange(operation: Operation[Result]) -> Exchange[Result]:
    """``operation`` with every failure mapped; the driver throws ConnectFailed or AnswerLost in.

    Errors that the operation raises before its first request (bad input) pass through.
    """
    effect_sent = False
    try:
        request = next(operation)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    while True:
        try:
            response = yield request
        except ConnectFailed as error:
            operation.close()
            if effect_sent:
                return Unknown(reason=f"an earlier request was sent; then: {error}")
            return NotSent(reason=str(error))
        except AnswerLost as error:
            operation.close()
            return Unknown(reason=str(error))
        effect_sent = effect_sent or request.effect
        try:
            request = operation.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except AnswerUnreadable as error:
            return Unknown(reason=f"{error.code}: {error}")
