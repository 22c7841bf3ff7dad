"""Whatever bytes come: nothing crashes and nothing is believed."""

import itertools
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.conformance.checks.notifications import heard, notices
from qiao.channels.conformance.expected import SETTLED
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.randomness import random_settings
from qiao.channels.conformance.trials import Trial, trials
from qiao.channels.conformance.vocabulary import NotApplicable, Verb, require
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse

_ENTITIES: Final = "".join(
    f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(12)
)
KNOWN_GARBAGE: Final = (
    b"",
    b"\x00",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"0",
    b"NaN",
    b'{"status": NaN}',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"<html><body>502 Bad Gateway</body></html>",
    b"<xml></xml>",
    b"<xml><return_code>SUCCESS</return_code></xml>",
    f"<!DOCTYPE x [{_ENTITIES}]><xml><a>&e11;</a></xml>".encode(),
    b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><a>&f;</a></xml>',
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"9" * 5_000,
    b'{"amount":' + b"9" * 5_000 + b"}",
    b"a=1&a=2&sign=&sign_type=none",
    b"%ff%fe=%00&=&&&",
)
STATUSES: Final = (100, 200, 201, 202, 204, 301, 302, 304, 400, 401, 403, 404, 409, 429, 500, 502)
"""A success, a redirect, a refusal, a failure: whatever a proxy in between may say."""
SUCCESSES: Final = range(200, 300)


def bodies() -> st.SearchStrategy[bytes]:
    """Bytes that no channel sends."""
    return st.one_of(st.sampled_from(KNOWN_GARBAGE), st.binary(max_size=200))


def header_values() -> st.SearchStrategy[str]:
    """What a header may hold that a client library lets through: ISO 8859-1."""
    return st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The ``index``-th answer of an operation, and what it was when it was genuine."""

    trial: Trial
    index: int
    genuine: HttpResponse

    def __str__(self) -> str:
        return f"{self.trial.title}, answer {self.index + 1}"


def _points(harness: ConformanceHarness) -> list[Point]:
    found: list[Point] = []
    for trial in trials(harness):

        def keep(index: int, request: HttpRequest, trial: Trial = trial) -> HttpResponse:
            answer = harness.answer(request, trial.situation)
            found.append(Point(trial=trial, index=index, genuine=answer))
            return answer

        trial.run(harness, trial.situation, respond=keep)
    return found


def _require_unbelieved(harness: ConformanceHarness, point: Point, garbage: HttpResponse) -> None:
    trial = point.trial
    both_succeed = garbage.status in SUCCESSES and point.genuine.status in SUCCESSES
    if both_succeed and garbage.body == point.genuine.body:
        return  # what is signed may well be empty, and then it is no garbage
    result = trial.run(
        harness,
        trial.situation,
        respond=lambda index, request: (
            garbage if index == point.index else harness.answer(request, trial.situation)
        ),
    )
    said = f"{point}: HTTP {garbage.status} with garbage came out as {result}"
    require(result.error is None, said)
    if trial.situation.verb is Verb.DOWNLOAD_STATEMENT and isinstance(result.outcome, bytes):
        # A statement's file is mostly unsigned; what it says is checked when it is parsed.
        require(garbage.status in SUCCESSES, said)
    else:
        require(not isinstance(result.outcome, SETTLED), said)


@promise("an answer that nobody can read is Unknown, whatever its status, and never a crash")
def check_garbage_answers_are_unknown(harness: ConformanceHarness) -> None:
    points = _points(harness)
    if not points:
        raise NotApplicable("it asks nothing of the channel")
    with cases() as tried:
        for point in points:
            for status, body in zip(itertools.cycle(STATUSES), KNOWN_GARBAGE, strict=False):
                with tried.case("garbage"):
                    _require_unbelieved(harness, point, replace(point.genuine, body=body))
                    _require_unbelieved(harness, point, HttpResponse(status=status, body=body))
    names = sorted({name for point in points for name in point.genuine.headers})
    headers = st.dictionaries(st.sampled_from(names or ["date"]), header_values())

    @random_settings(harness)
    @given(st.sampled_from(points), st.sampled_from(STATUSES), bodies(), headers)
    def garble(point: Point, status: int, body: bytes, head: dict[str, str]) -> None:
        garbage = HttpResponse(status=status, headers=head, body=body)
        _require_unbelieved(harness, point, garbage)

    garble()


@promise("a notification that nobody can read is rejected, and never a crash")
def check_garbage_notifications_are_rejected(harness: ConformanceHarness) -> None:
    _, told, build = notices(harness)[0]
    genuine = build(told)
    names = sorted(genuine.headers) or ["date"]
    heads = st.one_of(
        st.just(dict(genuine.headers)),
        st.dictionaries(st.sampled_from(names), header_values()),
        st.fixed_dictionaries({name: header_values() for name in names}),
    )
    targets = st.one_of(st.just(genuine.target), st.text(max_size=40))
    methods = st.sampled_from(["POST", "GET", "PUT"])

    @random_settings(harness)
    @given(methods, targets, heads, st.one_of(bodies(), st.just(genuine.body)))
    def garble(method: str, target: str, head: dict[str, str], body: bytes) -> None:
        message = HttpMessage(method=method, target=target, headers=head, body=body)
        notification = heard(harness, message)
        # Where everything that is signed stands in the body, what surrounds it may be anything.
        require(notification is None or body == genuine.body, "garbage was accepted")

    garble()
