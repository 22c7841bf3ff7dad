"""Builds every request to Alipay's gateway and reads every answer, proven before it is believed.

Source: https://opendocs.alipay.com/open-v3/054kaq (common parameters and gateway codes) and
facts of Alipay OpenAPI.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from qiao.channels.alipay.account import Account
from qiao.channels.alipay.signing import Member, members, parsed_object, signed
from qiao.channels.alipay.texts import time_text
from qiao.channels.requests import Context
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.crypto.aes import DecryptionFailed, decrypt_cbc, encrypt_cbc
from qiao.domain.errors import AnswerForged, AnswerUnreadable

SUCCESS: Final = "10000"
BUSINESS_FAILURE: Final = "40004"
_GATEWAY_REFUSALS: Final = frozenset({"20001", "40001", "40002", "40006"})
_OK: Final = 200
_IN_BODY: Final = ("app_auth_token", "biz_content", "code", "feedback_content")
"""What is long, or a secret that the log of some proxy would keep with the URL."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway said of one method; ``sub_code`` is the reason for a failure.

    It is Alipay's own word, except that a refusal by the gateway itself may come unsigned.
    """

    method: str
    code: str
    sub_code: str
    message: str
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the method did its work; the business result is in the fields."""
        return self.code == SUCCESS

    @property
    def business_code(self) -> str:
        """Why the business was refused (``ACQ.…``), empty for every other answer."""
        return self.sub_code.removeprefix("aop.") if self.code == BUSINESS_FAILURE else ""

    @property
    def refused_by_gateway(self) -> bool:
        """Whether the request got no further than the gateway: nothing came of it."""
        return self.code in _GATEWAY_REFUSALS and not self.sub_code.startswith("isp.")

    def text(self, name: str) -> str:
        """A field that must be there; raises AnswerUnreadable."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value:
            raise AnswerUnreadable(f"{self.method} answered without {name}")
        return value

    def optional(self, name: str) -> str | None:
        """A field that may be missing or empty; raises AnswerUnreadable if it is no text."""
        return self.text(name) if self.fields.get(name) not in (None, "") else None

    def expect(self, name: str, asked: str) -> None:
        """Raise AnswerUnreadable unless the field echoes what was asked."""
        if self.text(name) != asked:
            raise AnswerUnreadable(f"{self.method} answered about another {name}")

    def open(self) -> AnswerUnreadable:
        """The error for an answer that leaves it open what happened."""
        said = _UNSAFE.sub("?", f"{self.code}_{self.sub_code}".rstrip("_"))[:80]
        return AnswerUnreadable(f"{self.method} answered {said}: the outcome is open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The gateway, as one account sees it."""

    account: Account

    def call(
        self, method: str, content: Mapping[str, Any] | None, context: Context, **options: Any
    ) -> Operation[Answer]:
        """Ask and read the answer; ``options`` are those of :meth:`request`."""
        response = yield self.request(method, content, context, **options)
        return self.read(method, response)

    def request(
        self,
        method: str,
        content: Mapping[str, Any] | None,
        context: Context,
        *,
        effect: bool = True,
        **common: str | None,
    ) -> HttpRequest:
        """The signed POST: common parameters in the URL, where ``charset`` must be; the rest not.

        ``common`` are further parameters beside biz_content, such as ``notify_url``.
        """
        parameters = self._parameters(method, content, context, common)
        in_url = {name: text for name, text in parameters.items() if name not in _IN_BODY}
        in_body = {name: text for name, text in parameters.items() if name in _IN_BODY}
        return HttpRequest(
            method="POST",
            url=f"{self.account.settings.gateway}?{urlencode(in_url)}",
            headers={"content-type": "application/x-www-form-urlencoded;charset=utf-8"},
            body=urlencode(in_body).encode("ascii"),
            effect=effect,
        )

    def browser_url(
        self, method: str, content: Mapping[str, Any], context: Context, **common: str | None
    ) -> str:
        """Where to send the customer's browser: the signed request itself."""
        parameters = self._parameters(method, content, context, common)
        return f"{self.account.settings.gateway}?{urlencode(parameters)}"

    def order_text(
        self, method: str, content: Mapping[str, Any], context: Context, **common: str | None
    ) -> str:
        """The signed request for the wallet's app SDK, which sends it."""
        return urlencode(self._parameters(method, content, context, common))

    def read(self, method: str, response: HttpResponse) -> Answer:
        """The answer, once its signature has verified.

        Raises AnswerForged when it is not signed by Alipay, AnswerUnreadable when it is not an
        answer to ``method``. Only a refusal by the gateway itself may lack a signature: Alipay has
        no key to choose when it does not even know the app.
        """
        if response.status != _OK:
            raise AnswerUnreadable(f"{method} was answered with HTTP status {response.status}")
        found = members(response.body)
        expected = f"{method.replace('.', '_')}_response"
        names = [name for name in (expected, "error_response") if name in found]
        if len(names) != 1:
            raise AnswerUnreadable(f"the answer is not one to {method}")
        node = found[names[0]]
        signature = _text(found.get("sign"))
        if signature:
            self._verify(node, signature, found.get("alipay_cert_sn"))
            answer = _answer(method, self._plain(node))
        else:
            answer = _unsigned(method, node)
        if answer.succeeded and names[0] != expected:
            raise AnswerUnreadable(f"an error that says success is no answer to {method}")
        return answer

    def _parameters(
        self,
        method: str,
        content: Mapping[str, Any] | None,
        context: Context,
        common: Mapping[str, str | None],
    ) -> dict[str, str]:
        settings, account = self.account.settings, self.account
        parameters = {
            "app_id": settings.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": settings.sign_type,
            "timestamp": time_text(context.now()),
            "version": "1.0",
            "app_cert_sn": account.app_serial,
            "alipay_root_cert_sn": account.root_serial,
            "app_auth_token": settings.app_auth_token or "",
            **{name: text or "" for name, text in common.items()},
        }
        if content is not None:
            text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
            if account.aes_key is not None:
                text = encrypt_cbc(account.aes_key, text.encode())
                parameters["encrypt_type"] = "AES"
            parameters["biz_content"] = text
        return signed(account, parameters)

    def _verify(self, node: Member, signature: str, certificate: Member | None) -> None:
        serial = None
        if self.account.certificate_mode:
            serial = _text(certificate)
            if serial not in self.account.alipay_keys:
                raise AnswerForged(
                    "the answer is signed with a certificate that is not configured: "
                    "if Alipay changed its own, download it and set next_alipay_certificate"
                )
        if not self.account.verifies(node.raw, signature, serial):
            raise AnswerForged

    def _plain(self, node: Member) -> Any:
        """The node's value; an encrypted one is a JSON string of base64."""
        if not isinstance(node.value, str):
            return node.value
        if self.account.aes_key is None:
            raise AnswerUnreadable("the answer is encrypted, but the account has no aes_key")
        try:
            return parsed_object(decrypt_cbc(self.account.aes_key, node.value).decode())
        except (DecryptionFailed, UnicodeDecodeError):
            raise AnswerUnreadable("the answer does not decrypt with aes_key") from None


def _answer(method: str, value: object) -> Answer:
    """Raises AnswerUnreadable when the node is no object.

    ``alipay.system.oauth.token`` alone succeeds without saying so.
    """
    if not isinstance(value, dict):
        raise AnswerUnreadable(f"the answer to {method} is not an object")
    code = value.get("code", SUCCESS if "access_token" in value else "")
    sub_code, message = value.get("sub_code"), value.get("sub_msg") or value.get("msg")
    return Answer(
        method=method,
        code=code if isinstance(code, str) else "",
        sub_code=sub_code if isinstance(sub_code, str) else "",
        message=message if isinstance(message, str) else "",
        fields=value,
    )


def _unsigned(method: str, node: Member) -> Answer:
    """A refusal by the gateway itself; raises AnswerForged for everything else."""
    if isinstance(node.value, dict):
        answer = _answer(method, node.value)
        if answer.refused_by_gateway:
            return answer
        raise AnswerForged(f"unsigned: {answer.open()}")
    raise AnswerForged


def _text(member: Member | None) -> str:
    return member.value if member is not None and isinstance(member.value, str) else ""
