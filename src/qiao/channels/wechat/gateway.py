"""Builds every request to WeChat Pay and reads every answer, proven before it is believed.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012365342 (签名验签) and facts of WeChat Pay
API v3.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from qiao.channels.requests import Context
from qiao.channels.wechat.account import Account
from qiao.channels.wechat.fields import Fields, safe
from qiao.channels.wechat.signing import authorization, forgery
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable

OK: Final = 200
NO_CONTENT: Final = 204
_REFUSALS: Final = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What WeChat Pay itself said; ``fields`` are those of the object asked for."""

    operation: str
    status: int
    fields: Fields = field(repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the operation did its work; the business result is in the fields."""
        return self.status == OK

    @property
    def code(self) -> str:
        """The error's own code, empty for every other answer."""
        code = self.fields.values.get("code")
        return safe(code) if isinstance(code, str) and not self.succeeded else ""

    @property
    def reason(self) -> str:
        """The code of a refusal (4xx), in the one spelling of the tables; empty otherwise.

        WeChat Pay has written many codes both with underscores and without.
        """
        return plain_code(self.code) if self.status in _REFUSALS else ""

    @property
    def message(self) -> str:
        """The error's text, for people."""
        message = self.fields.values.get("message")
        return message if isinstance(message, str) else ""

    def open(self) -> AnswerUnreadable:
        """The error for an answer that leaves it open what happened."""
        said = f"{self.status} {self.code}".rstrip()
        return AnswerUnreadable(f"{self.operation} answered {said}: the outcome is open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """WeChat Pay, as one account sees it."""

    account: Account

    def get(self, path: str, query: Mapping[str, str], context: Context) -> Operation[Answer]:
        """Ask, and read the answer."""
        target = f"{path}?{urlencode(query)}" if query else path
        response = yield self.request("GET", target, "", context, effect=False)
        return self.read(path, response, context)

    def post(
        self, path: str, content: Mapping[str, Any], context: Context, *, serial: str | None = None
    ) -> Operation[Answer]:
        """Have something done, and read the answer; ``serial`` names the key of what is encrypted.

        The body is ASCII: whatever stands in a text, its signature is over the bytes that go out.
        """
        body = json.dumps(content, separators=(",", ":"))
        response = yield self.request("POST", path, body, context, effect=True, serial=serial)
        return self.read(path, response, context)

    def request(
        self,
        method: str,
        target: str,
        body: str,
        context: Context,
        *,
        effect: bool,
        serial: str | None = None,
        **options: float,
    ) -> HttpRequest:
        """The signed request; ``target`` is path and query, ``options`` are HttpRequest's own."""
        account = self.account
        headers = {
            "authorization": authorization(
                account,
                method=method,
                target=target,
                body=body,
                now=context.now(),
                nonce=context.nonce(),
            ),
            "accept": "application/json",
            "user-agent": "qiao",
        }
        if body:
            headers["content-type"] = "application/json"
        named = serial or account.public_key_id
        if named is not None:
            headers["wechatpay-serial"] = named
        return HttpRequest(
            method=method,
            url=f"{account.settings.gateway}{target}",
            headers=headers,
            body=body.encode(),
            effect=effect,
            **options,
        )

    def read(self, operation: str, response: HttpResponse, context: Context) -> Answer:
        """The answer, once its signature has verified.

        Raises AnswerForged when WeChat Pay did not sign it, errors included, and AnswerUnreadable
        when it is not an answer.
        """
        problem = forgery(self.account, response.headers, response.body, context.now())
        if problem is not None:
            raise AnswerForged(f"{operation} answered HTTP {response.status}, but {problem}")
        if response.status == NO_CONTENT:
            fields = Fields(source=operation, values={})
        else:
            fields = Fields.read(operation, response.body)
        return Answer(operation=operation, status=response.status, fields=fields)


def plain_code(code: str) -> str:
    """A code as the tables spell it: capitals, no underscores."""
    return code.replace("_", "").upper()
