"""Errors as RFC 9457 problem details: a stable code, the field at fault, and what to do."""

import re
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException

from qiao.domain.errors import DeadlineExceeded, InvalidInput
from qiao.engine.errors import Archived, Conflict, Missing, NoRoute
from qiao.store.errors import StoreUnavailable

log = structlog.get_logger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong with a request. Nothing was changed, unless the code is internal_error."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    field: str | None = None
    remedy: str | None = None
    error: str | None = None
    """The title again, where ``POST /pay`` promised it under this name."""


class Refused(Exception):
    """A door refuses a request before it reaches a use case."""

    def __init__(self, status: int, code: str, title: str, **more: str) -> None:
        super().__init__(title)
        self.problem = problem(status, code, title, **more)


def problem(status: int, code: str, title: str, **more: str | None) -> Problem:
    return Problem(type=f"urn:qiao:problem:{code}", title=title, status=status, code=code, **more)


BY_STATUS = {
    401: ("unauthorized", "who asks is not known"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take this method"),
    413: ("body_too_large", "the body is too large"),
}
OF_INPUT = {Missing: 404, Archived: 404, Conflict: 409, NoRoute: 503}


def describe(error: Exception) -> Problem:
    """The problem that an error is. Only what Qiao raises on purpose tells anything."""
    match error:
        case Refused():
            return error.problem
        case InvalidInput():
            status = next((code for kind, code in OF_INPUT.items() if isinstance(error, kind)), 400)
            return problem(
                status, error.code, str(error.args[0]), field=error.field, remedy=error.remedy
            )
        case StoreUnavailable():
            return problem(
                503,
                "unavailable",
                "the database does not answer",
                remedy="send the request again, with the same Idempotency-Key",
            )
        case DeadlineExceeded():
            return problem(
                504,
                error.code,
                "the request's time is over; what it began goes on or is asked about",
                remedy="send the request again, with the same Idempotency-Key",
            )
        case ValidationException():
            return problem(400, "invalid_input", **_parameter(error))
        case HTTPException():
            code, title = BY_STATUS.get(error.status_code, ("bad_request", "not a good request"))
            return problem(error.status_code, code, title, detail=error.detail or None)
        case _:
            return problem(
                500,
                "internal_error",
                "something went wrong here",
                remedy="send the request again, with the same Idempotency-Key",
            )


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    told, headers = describe_for(request.scope.get("path_template"), error)
    if told.status == 405:
        headers["allow"] = ", ".join(sorted(_methods(request)))
    return Response(
        msgspec.json.encode(told),
        status_code=told.status,
        headers=headers,
        media_type=MediaType.JSON,
    )


def _parameter(error: ValidationException) -> dict[str, str]:
    """What Litestar found wrong with a parameter: its name, the reason and the remedy."""
    remedy = "see the operation's parameters in /v1/openapi.json"
    wrong = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    if "key" in wrong:
        return {"title": wrong["message"], "field": wrong["key"], "remedy": remedy}
    missing = re.search(r"'([^']+)'", error.detail)
    field = missing[1] if missing else "request"
    return {"title": error.detail.partition(" for ")[0], "field": field, "remedy": remedy}


def describe_for(route: str | None, error: Exception) -> tuple[Problem, dict[str, str]]:
    """The problem, and the headers under which it goes out. What is our own fault is logged."""
    told = describe(error)
    if told.status >= 500 and not isinstance(error, DeadlineExceeded | NoRoute):  # no fault of ours
        log.error("request_failed", route=route, error=type(error).__name__, exc_info=error)
    headers = {"content-type": "application/problem+json"}
    if told.status == 401:
        headers["www-authenticate"] = "Bearer"
    if told.status == 503:
        seconds = error.retry_after_seconds if isinstance(error, NoRoute) else 1
        headers["retry-after"] = str(seconds)
    return told, headers


def _methods(request: Request[Any, Any, Any]) -> set[str]:
    """The methods that the address takes (RFC 9110, 15.5.6)."""
    parts = [part for part in request.url.path.split("/") if part]
    found: set[str] = set()
    for route in request.app.routes:
        names = [one if isinstance(one, str) else None for one in route.path_components]
        if len(names) == len(parts) and all(
            name in (None, part) for name, part in zip(names, parts, strict=True)
        ):
            found |= set(getattr(route, "methods", ()))
    return found
