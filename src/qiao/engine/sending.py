"""Look before an operation leaves: its first request is made, and its input checked, beforehand."""

from typing import TypeVar

from qiao.channels.wire import HttpRequest, Operation

Result = TypeVar("Result")


def primed(operation: Operation[Result]) -> Operation[Result]:
    """``operation`` run up to its first request, which the given back one yields first.

    Raises what the operation raises there (InvalidInput), so that nothing bad is ever committed.
    """
    try:
        first = next(operation)
    except StopIteration as end:
        return _of_no_requests(end.value)
    return _rest(operation, first)


def _of_no_requests(result: Result) -> Operation[Result]:
    nothing: tuple[HttpRequest, ...] = ()
    yield from nothing
    return result


def _rest(operation: Operation[Result], request: HttpRequest) -> Operation[Result]:
    try:
        while True:
            response = yield request
            try:
                request = operation.send(response)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
    finally:
        operation.close()
