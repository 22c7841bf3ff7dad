"""The API: signed requests, and answers that are read only once their signature verifies.

Sources: https://pay.weixin.qq.com/doc/v3/merchant/4012365336 (requests), 4013053249 (answers).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from qiao.channels.requests import Context
from qiao.channels.wechat.account import Account
from qiao.channels.wire import DEFAULT_TIMEOUT_SECONDS, HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable, NotificationRejected

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
TOLERANCE: Final = timedelta(minutes=5)
_OK: Final = range(200, 300)
_OURS: Final = range(400, 500)
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An authentic answer. ``code`` is empty for a success, otherwise without underscores."""

    status: int
    code: str
    message: str
    fields: Mapping[str, Any]

    @property
    def succeeded(self) -> bool:
        return self.status in _OK

    @property
    def refused(self) -> bool:
        """Whether it is a refusal of the request, not a failure of WeChat Pay's own."""
        return self.status in _OURS

    def text(self, name: str) -> str:
        """A field that must be there; raises AnswerUnreadable."""
        return text_of(self.fields, name)

    def expect(self, **asked: str | None) -> None:
        """Raise AnswerUnreadable unless every field echoes what was asked; None is not compared."""
        expect(self.fields, asked)

    def open(self) -> AnswerUnreadable:
        """The error for an answer that leaves it open what happened."""
        return AnswerUnreadable(f"it answered {self.status} {self.code[:40]}: the outcome is open")


def text_of(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerUnreadable(f"there is no {name}")
    return value


def optional(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def object_of(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if not isinstance(value, dict):
        raise AnswerUnreadable(f"there is no {name}")
    return value


def expect(fields: Mapping[str, Any], asked: Mapping[str, str | None]) -> None:
    for name, value in asked.items():
        if value is not None and fields.get(name) != value:
            raise AnswerUnreadable(f"it is about another {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The API, as one account sees it."""

    account: Account

    def call(
        self,
        method: str,
        path: str,
        context: Context,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Operation[Answer]:
        """Ask and read the answer. ``None`` values are left out; GET has no effect."""
        response = yield self.request(method, path, context, query=query, body=body)
        return self.read(response, context)

    def request(
        self,
        method: str,
        path: str,
        context: Context,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> HttpRequest:
        """The signed request. ``path`` may be a whole URL at the gateway."""
        url = path if "://" in path else self.account.settings.gateway + path
        if given := {name: text for name, text in (query or {}).items() if text is not None}:
            url = f"{url}?{urlencode(given)}"
        content = b""
        if body is not None:
            content = json.dumps(
                without_none(body), ensure_ascii=False, separators=(",", ":")
            ).encode()
        headers = {
            "authorization": self._authorization(method, url, content, context),
            "accept": "application/json",
            "user-agent": "Qiao",
            "wechatpay-serial": self.account.announced,
        }
        if body is not None:
            headers["content-type"] = "application/json"
        return HttpRequest(
            method=method,
            url=url,
            headers=headers,
            body=content,
            effect=method != "GET",
            timeout_seconds=timeout_seconds,
        )

    def read(self, response: HttpResponse, context: Context) -> Answer:
        """The answer, once its signature has verified.

        Raises AnswerForged when WeChat Pay did not sign it, AnswerUnreadable for a failure of its
        own. Only who it does not know (401) may get an unsigned refusal.
        """
        unsigned = "wechatpay-signature" not in response.headers
        if not (unsigned and response.status == _UNAUTHORIZED):
            self._verify(response, context.now())
        if response.status not in _OK and response.status not in _OURS:
            raise AnswerUnreadable(f"it answered with HTTP status {response.status}")
        fields = read_object(response.body) if response.body else {}
        failed = response.status not in _OK
        code, message = fields.get("code"), fields.get("message")
        return Answer(
            status=response.status,
            code=loose(code) if failed and isinstance(code, str) else "",
            message=message if failed and isinstance(message, str) else "",
            fields=fields,
        )

    def _verify(self, response: HttpResponse, now: datetime) -> None:
        problem = signature_problem(self.account, response.headers, response.body, now)
        if problem is not None:
            raise AnswerForged(problem)

    def _authorization(self, method: str, url: str, body: bytes, context: Context) -> str:
        settings, parts = self.account.settings, urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        timestamp, nonce = str(int(context.now().timestamp())), context.nonce()
        content = f"{method}\n{target}\n{timestamp}\n{nonce}\n{body.decode()}\n"
        told = {
            "mchid": settings.mchid,
            "nonce_str": nonce,
            "timestamp": timestamp,
            "serial_no": self.account.serial_no,
            "signature": self.account.sign(content),
        }
        return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in told.items())


def signature_problem(
    account: Account, headers: Mapping[str, str], body: bytes, now: datetime
) -> str | None:
    """Why WeChat Pay did not sign these bytes just now; None when it did."""
    names = ("timestamp", "nonce", "signature", "serial")
    timestamp, nonce, signature, serial = (headers.get(f"wechatpay-{name}", "") for name in names)
    if headers.get("wechatpay-signature-type", SCHEME) != SCHEME:
        return "it is signed by another algorithm than the account's"
    if not (timestamp.isascii() and timestamp.isdigit() and nonce and signature and serial):
        return "it carries no signature"
    if len(timestamp) > 12 or abs(_moment(timestamp) - now) > TOLERANCE:
        return "it was signed long ago, or the clock is wrong"
    if serial.upper() not in account.platform_keys:
        return "it is signed by a key that is not configured: add it to platform_keys"
    if not nonce.isascii() or not account.verifies(
        serial, f"{timestamp}\n{nonce}\n".encode() + body + b"\n", signature, now
    ):
        return "its signature does not verify"
    return None


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; raises AnswerUnreadable."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AnswerUnreadable("it is not a JSON object")
    return found


def rejected(error: AnswerUnreadable) -> NotificationRejected:
    """What is authentic and still not readable, as the notification's error."""
    return NotificationRejected(f"authentic, but not readable: {error}")


def loose(code: str) -> str:
    """Codes are spelled with and without underscores, by the age of the interface."""
    return code.replace("_", "").upper()


def without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its empty members, at every depth."""
    return {
        name: without_none(inner) if isinstance(inner, dict) else inner
        for name, inner in value.items()
        if inner is not None and inner != {}
    }


def _moment(timestamp: str) -> datetime:
    return datetime.fromtimestamp(int(timestamp), UTC)
