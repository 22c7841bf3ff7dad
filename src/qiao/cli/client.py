"""A client of the REST door, for the commands that any merchant's developer may use."""

import os
from typing import Any

import httpx

from qiao.domain.errors import InvalidInput, QiaoError

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 30.0


class RequestFailed(QiaoError):
    """The server did not answer, or answered without saying what was wrong."""

    code = "request_failed"


class Client:
    """Speaks to ``QIAO_URL`` with ``QIAO_API_KEY``. Raises InvalidInput, RequestFailed."""

    def __init__(self) -> None:
        key = os.environ.get("QIAO_API_KEY")
        if not key:
            raise InvalidInput(
                "there is no API key",
                field="QIAO_API_KEY",
                remedy="set it to a key from: qiao key issue MERCHANT",
            )
        self.url = os.environ.get("QIAO_URL") or DEFAULT_URL
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )

    def get(self, path: str, **query: str | int) -> Any:
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._ask("POST", path, json=body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("PUT", path, json=body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise RequestFailed(
                f"no answer from {self._http.base_url} ({type(error).__name__}); "
                "is it running (qiao serve), and is QIAO_URL its address?"
            ) from None
        if answer.is_success:
            return answer.json() if answer.content else None
        if answer.headers.get("content-type") != "application/problem+json":
            raise RequestFailed(f"{self._http.base_url} answered {answer.status_code}")
        told = answer.json()
        if answer.is_server_error:
            raise RequestFailed(f"{self._http.base_url} answered: {told['title']}")
        raise InvalidInput(
            told["title"],
            field=told.get("field", told["code"]),
            remedy=told.get("remedy", told.get("detail", "see the server's log")),
        )
