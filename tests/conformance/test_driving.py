"""The suite's own driver means by a failure what the transport means by it."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.conformance import driving
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable, InvalidInput
from qiao.transport import drive

BAD_INPUT = InvalidInput("no", field="amount", remedy="give one")
SCRIPTS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["answer", "connect", "lost"])), max_size=5
)
ENDS = st.sampled_from([None, BAD_INPUT, AnswerUnreadable("odd"), AnswerForged(), KeyError("x")])


def operation(effects: list[bool], end: Exception | None) -> Operation[str]:
    for effect in effects:
        yield HttpRequest(method="POST", url="https://a.example/", effect=effect)
    if end is not None:
        raise end
    return "done"


def by_transport(started: Operation[str], failures: list[str]) -> tuple[str, type]:
    """What the transport's rule makes of it: the outcome's type, or the error's."""
    exchange: Generator[HttpRequest, HttpResponse, Any] = drive.exchange(started)
    try:
        next(exchange)
        for failure in failures:
            match failure:
                case "connect":
                    exchange.throw(drive.ConnectFailed("refused"))
                case "lost":
                    exchange.throw(drive.AnswerLost("timed out"))
                case _:
                    exchange.send(HttpResponse(status=200))
    except StopIteration as end:
        return "outcome", type(end.value)
    except Exception as error:  # noqa: BLE001 - whatever gets out is compared
        return "error", type(error)
    raise AssertionError("the script is too short")


def by_suite(started: Operation[str], failures: list[str]) -> tuple[str, type]:
    def respond(index: int, _: HttpRequest) -> HttpResponse:
        match failures[index]:
            case "connect":
                raise driving.ConnectFailed("refused")
            case "lost":
                raise driving.AnswerLost("timed out")
            case _:
                return HttpResponse(status=200)

    result = driving.run(lambda: started, respond)
    if result.error is not None:
        return "error", type(result.error)
    return "outcome", type(result.outcome)


@given(SCRIPTS, ENDS)
def test_both_drivers_agree(script: list[tuple[bool, str]], end: Exception | None) -> None:
    effects, failures = [effect for effect, _ in script], [failure for _, failure in script]
    there, here = (run(operation(effects, end), failures) for run in (by_transport, by_suite))
    assert here == there


def test_an_operation_without_end_is_stopped() -> None:
    result = driving.run(lambda: operation([True] * 99, None), lambda *_: HttpResponse(status=200))
    assert isinstance(result.error, AssertionError)


def test_what_a_counterpart_raises_passes_through() -> None:
    def respond(_: int, __: HttpRequest) -> HttpResponse:
        raise LookupError("the harness's own mistake")

    with pytest.raises(LookupError):
        driving.run(lambda: operation([True], None), respond)
