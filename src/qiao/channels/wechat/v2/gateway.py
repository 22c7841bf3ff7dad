"""The API: signed requests, and answers that are read layer by layer.

``return_code`` says whether the request was heard at all; then the signature is checked; then
``result_code`` says what became of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from qiao.channels.requests import Context
from qiao.channels.wechat.v2.account import Account
from qiao.channels.wechat.v2.codec import read, signature, signed_by, write
from qiao.channels.wechat.v2.codes import FAILURES
from qiao.channels.wire import DEFAULT_TIMEOUT_SECONDS, HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable, NotificationRejected

MUTUAL_TLS: Final = "/secapi/"
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An authentic answer. ``code`` is empty for a success, otherwise without underscores."""

    code: str
    message: str
    fields: Mapping[str, str]

    @property
    def succeeded(self) -> bool:
        return self.fields.get("result_code") == "SUCCESS"

    def text(self, name: str) -> str:
        """A field that must be there; raises AnswerUnreadable."""
        return text_of(self.fields, name)

    def open(self) -> AnswerUnreadable:
        """The error for an answer that leaves it open what happened."""
        return AnswerUnreadable(f"it answered {self.code[:40] or 'no code'}: the outcome is open")


def text_of(fields: Mapping[str, str], name: str) -> str:
    """A field that must be there; raises AnswerUnreadable."""
    value = fields.get(name)
    if not value:
        raise AnswerUnreadable(f"there is no {name}")
    return value


def expect(fields: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Raise AnswerUnreadable unless the fields say what was asked for."""
    for name, value in asked.items():
        if fields.get(name) != value:
            raise AnswerUnreadable(f"it is about another {name}")


def expect_merchant(account: Account, fields: Mapping[str, str]) -> None:
    """Raises AnswerUnreadable unless the message is this merchant's and this app's."""
    settings = account.settings
    expect(fields, {"mch_id": settings.mchid})
    if account.partner:
        expect(fields, {"sub_mch_id": settings.sub_mchid or ""})
    if fields.get("appid") not in (settings.appid, settings.mini_program_appid or settings.appid):
        raise AnswerUnreadable("it is about another appid")


def loose(code: str) -> str:
    """Codes are spelled with and without underscores, by the age of the interface."""
    return code.replace("_", "").upper()


def rejected(error: AnswerUnreadable) -> NotificationRejected:
    """What is not readable, as the notification's error."""
    return NotificationRejected(f"not readable: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The API, as one account sees it."""

    account: Account

    def call(
        self,
        path: str,
        fields: Mapping[str, str | None],
        context: Context,
        *,
        effect: bool = True,
        bare: bool = False,
    ) -> Operation[Answer]:
        """Ask and read the answer. ``None`` and empty values are left out.

        ``bare``: without nonce_str and sign_type, which some addresses do not know.
        """
        response = yield self.request(path, fields, context, effect=effect, bare=bare)
        return self.read(response)

    def request(
        self,
        path: str,
        fields: Mapping[str, str | None],
        context: Context,
        *,
        effect: bool,
        bare: bool = False,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> HttpRequest:
        """The signed request, over mutual TLS where it moves money back. Raises InvalidInput."""
        settings = self.account.settings
        told = {
            "appid": settings.appid,
            "mch_id": settings.mchid,
            "sub_appid": settings.sub_appid,
            "sub_mch_id": settings.sub_mchid,
            "nonce_str": None if bare else context.nonce(),
            "sign_type": None if bare else settings.sign_type.value,
            **fields,
        }
        given = {name: text for name, text in told.items() if text}
        given["sign"] = self.sign(given)
        mutual = path.startswith(MUTUAL_TLS)
        return HttpRequest(
            method="POST",
            url=settings.gateway + path,
            headers={"content-type": "text/xml; charset=utf-8", "user-agent": "Qiao"},
            body=write(given),
            effect=effect,
            timeout_seconds=timeout_seconds,
            client_certificate=self.account.client_certificate if mutual else None,
            trusted_ca=settings.gateway_ca,
        )

    def sign(self, fields: Mapping[str, str]) -> str:
        """The account's signature over the fields."""
        settings = self.account.settings
        return signature(fields, settings.api_key, settings.sign_type)

    def read(self, response: HttpResponse) -> Answer:
        """The answer, once its signature has verified.

        Raises AnswerForged when WeChat Pay did not sign it, AnswerUnreadable for what is nobody's
        answer to this account.
        """
        if response.status != _OK:
            raise AnswerUnreadable(f"it answered with HTTP status {response.status}")
        fields = read(response.body)
        if fields.get("return_code") != "SUCCESS":
            return _failure(fields)
        problem = signature_problem(self.account, fields)
        if problem is not None:
            raise AnswerForged(problem)
        expect_merchant(self.account, fields)
        failed = fields.get("result_code") == "FAIL"
        return Answer(
            code=loose(fields.get("err_code", "")) if failed else "",
            message=fields.get("err_code_des", "") if failed else "",
            fields=fields,
        )


def signature_problem(account: Account, fields: Mapping[str, str]) -> str | None:
    """Why WeChat Pay did not sign these fields for this account; None when it did."""
    if not fields.get("sign"):
        return "it carries no signature"
    settings = account.settings
    if not signed_by(fields, settings.api_key, settings.sign_type):
        return f"its signature does not verify as {settings.sign_type.value}"
    return None


def _failure(fields: Mapping[str, str]) -> Answer:
    message = fields.get("return_msg", "")
    code = next((code for text, code in FAILURES.items() if message.startswith(text)), None)
    if fields.get("return_code") != "FAIL" or code is None:
        raise AnswerUnreadable("it did not hear the request, and not why it is known")
    return Answer(code=code, message=message, fields={})
