"""Time-outs and cut connections: nothing sent, or nobody knows; and nothing is sent twice."""

from collections import Counter

from qiao.channels.conformance.driving import AnswerLost, ConnectFailed, Run
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import Trial, payment_trial, products, trials
from qiao.channels.conformance.vocabulary import NotApplicable, Situation, Status, Verb, require
from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.domain.outcomes import NotSent, Succeeded, Unknown


@promise("a connection that fails is NotSent only while nothing before it had an effect")
def check_connection_failures_are_told_apart(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            for status in trial.statuses:
                with tried.case(f"{trial.title}, {status}"):
                    _require_told_apart(harness, trial, trial.told(status))


def _require_told_apart(harness: ConformanceHarness, trial: Trial, told: Situation) -> None:
    genuine = trial.asked(harness, told)
    effects = [harness.understand(request).effect for request in genuine.requests]
    for index in range(len(effects)):
        result = _broken_at(harness, trial, told, index, ConnectFailed("refused"))
        kinds = (Unknown,) if any(effects[:index]) else (NotSent, Unknown) if index else (NotSent,)
        require(
            result.error is not None or isinstance(result.outcome, kinds),
            f"request {index + 1} could not be sent, and it came out as {result}",
        )


@promise("a lost answer is Unknown: at every point the operation can be ended, without a word")
def check_lost_answers_end_the_operation(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for trial in trials(harness):
            for status in trial.statuses:
                with tried.case(f"{trial.title}, {status}"):
                    told = trial.told(status)
                    for index in range(len(trial.asked(harness, told).requests)):
                        result = _broken_at(harness, trial, told, index, AnswerLost("timed out"))
                        require(
                            isinstance(result.outcome, Unknown),
                            f"answer {index + 1} was lost, and it came out as {result}",
                        )


def _broken_at(
    harness: ConformanceHarness,
    trial: Trial,
    told: Situation,
    index: int,
    failure: ConnectFailed | AnswerLost,
) -> Run:
    def respond(number: int, request: HttpRequest) -> HttpResponse:
        if number == index:
            raise failure
        return harness.answer(request, told)

    return trial.run(harness, told, respond=respond)


@promise("after a time-out the same number can be asked about, and tells what happened")
def check_time_outs_can_be_resolved(harness: ConformanceHarness) -> None:
    with cases() as tried:
        for product in products(harness):
            with tried.case(product):
                trial = payment_trial(harness, product, harness.money())
                channel = harness.open()
                asked = trial.run(harness, trial.situation, channel=channel)
                if not asked.requests:
                    raise NotApplicable("it asks nothing of the channel")

                def lose(_: int, __: HttpRequest) -> HttpResponse:
                    raise AnswerLost("timed out")

                trial.run(harness, trial.situation, channel=channel, respond=lose)
                query = next(t for t in trials(harness) if t.situation.verb is Verb.QUERY)
                told = query.run(harness, query.told(Status.SUCCEEDED), channel=channel)
                require(isinstance(told.outcome, Succeeded), f"was paid, and came out as {told}")


@promise("no operation sends the same request with an effect twice")
def check_effects_are_sent_once(harness: ConformanceHarness) -> None:
    undecided = (Status.SYSTEM_ERROR, Status.UNRECOGNISED, Status.EMPTY)
    with cases() as tried:
        for trial in trials(harness):
            for status in (*trial.statuses, *undecided):
                with tried.case(f"{trial.title}, {status}"):
                    _require_once(harness, trial.asked(harness, trial.told(status)))
            with tried.case(f"{trial.title}, an answer that cannot be read"):
                trial.asked(harness, trial.situation)
                answered = trial.run(harness, trial.situation, respond=_bad_gateway)
                _require_once(harness, answered)


def _bad_gateway(_: int, __: HttpRequest) -> HttpResponse:
    return HttpResponse(status=502, body=b"<html>Bad Gateway</html>")


def _require_once(harness: ConformanceHarness, result: Run) -> None:
    seen = Counter(
        (request.method, request.url.partition("?")[0], told.operation, told.reference, told.amount)
        for request in result.requests
        if (told := harness.understand(request)).effect
    )
    twice = [name for (_, _, name, _, _), times in seen.items() if times > 1]
    require(not twice, f"sends {', '.join(twice)} more than once")
