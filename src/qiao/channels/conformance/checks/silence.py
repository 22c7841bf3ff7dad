"""No secret in anything that may be logged, shown or stored."""

import base64
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from qiao.channels.conformance.checks.notifications import notices
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.trials import trials
from qiao.channels.conformance.vocabulary import Account, Status, require
from qiao.channels.conformance.wires import understood
from qiao.channels.wire import HttpResponse
from qiao.domain.errors import InvalidSettings, QiaoError

_PEM_LINE: Final = re.compile(r"-----[A-Z0-9 ]+-----")
_WINDOW: Final = 24
"""How many characters of a secret in a row give it away: shorter ones are part of every key."""


class Secrets:
    """Finds a harness's secrets, also in part, in base64, in hex and percent-encoded."""

    def __init__(self, harness: ConformanceHarness) -> None:
        self._pieces: set[str] = set()
        for secret in harness.secrets():
            bare = re.sub(r"\s+", "", _PEM_LINE.sub("", secret))
            require(len(bare) >= 8, "a secret of the harness has fewer than 8 characters")
            for form in _forms(bare):
                last = max(1, len(form) - _WINDOW + 1)
                self._pieces |= {form[i : i + _WINDOW] for i in range(last)}

    def in_(self, text: str) -> bool:
        """Whether a secret stands in ``text``."""
        bare = re.sub(r"\s+|\\n", "", text)
        return any(piece in bare for piece in self._pieces)


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield raw.hex()
    # The last characters of base64 depend on what follows the secret.
    yield base64.b64encode(raw).decode("ascii").rstrip("=")[:-1]


@promise("the settings and the channel show no secret")
def check_settings_show_no_secret(harness: ConformanceHarness) -> None:
    secrets = Secrets(harness)
    settings = harness.channel_type.settings.read(harness.settings(Account.OURS))
    shown = (repr(settings), str(settings), repr(harness.channel), str(harness.channel))
    require(not any(secrets.in_(text) for text in shown), "a representation shows a secret")


@promise("wrong settings are InvalidSettings by name, and the error shows no secret")
def check_settings_errors_show_no_secret(harness: ConformanceHarness) -> None:
    secrets = Secrets(harness)
    kind = harness.channel_type
    with cases() as tried:
        for title, values in _wrong_settings(harness.settings(Account.OURS)):
            with tried.case(title):
                try:
                    kind.open(kind.settings.read(values))
                except InvalidSettings as error:
                    told = "".join(traceback.format_exception_only(error))
                    require(not secrets.in_(told), "the error shows a secret")
                    require(error.field.startswith("settings"), "the error does not name the field")
                except Exception as error:  # noqa: BLE001 - the suite judges whatever is raised
                    require(condition=False, message=f"raised {type(error).__name__}")


def _wrong_settings(right: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name, value in right.items():
        yield f"without {name}", {key: v for key, v in right.items() if key != name}
        yield f"{name} is a number", {**right, name: 17}
        yield f"{name} is a list", {**right, name: [value]}
        if isinstance(value, str) and value:
            yield f"half of {name}", {**right, name: value[: len(value) // 2]}
            yield f"{name} and more", {**right, name: f"{value}!"}
            yield f"{name} twice", {**right, name: value + value}
    yield "one too many", {**right, "no_such_setting": next(iter(right.values()))}


@promise("no request carries a secret, but where the channel's wire itself wants one")
def check_requests_carry_no_secret(harness: ConformanceHarness) -> None:
    secrets = Secrets(harness)
    with cases() as tried:
        for trial in trials(harness):
            with tried.case(trial.title):
                result = trial.run(harness, trial.situation)
                for request in map(harness.without_declared_secrets, result.requests):
                    head = " ".join(f"{name}: {value}" for name, value in request.headers.items())
                    text = f"{request.url} {head} {request.body.decode('latin-1')}"
                    require(not secrets.in_(text), "a request carries a secret")
                if not result.requests:
                    require(not secrets.in_(repr(result.outcome)), "an action carries a secret")
                    understood(harness, result)


@promise("no outcome and no error shows a secret, whatever is answered")
def check_outcomes_show_no_secret(harness: ConformanceHarness) -> None:
    secrets = Secrets(harness)
    undecided = (Status.SYSTEM_ERROR, Status.UNRECOGNISED, Status.EMPTY)
    garbage = HttpResponse(status=200, body=b"{}")
    with cases() as tried:
        for trial in trials(harness):
            for status in (*trial.statuses, *undecided):
                with tried.case(f"{trial.title}, {status}"):
                    result = trial.run(harness, trial.told(status))
                    require(not secrets.in_(repr(result.outcome)), "the outcome shows a secret")
            with tried.case(f"{trial.title}, garbage"):
                result = trial.run(harness, trial.situation, respond=lambda _, __: garbage)
                require(not secrets.in_(repr(result.outcome)), "the outcome shows a secret")
        with tried.case("a notification that is rejected"):
            require(not secrets.in_(_rejection(harness)), "the error shows a secret")


def _rejection(harness: ConformanceHarness) -> str:
    """What is said about a notification of another account."""
    _, told, build = notices(harness)[0]
    try:
        foreign = build(replace(told, account=Account.OTHER_MERCHANT))
        harness.channel.authenticate(foreign, harness.context())
    except QiaoError as error:
        return repr(error) + str(error)
    return ""
