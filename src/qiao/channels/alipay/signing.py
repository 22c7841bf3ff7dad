"""The texts that are signed, and the exact piece of an answer that its signature is over.

A request signs every parameter but ``sign``; a notification leaves ``sign_type`` out as well; an
answer's signature is over the JSON value of its node, byte for byte as it was sent. Source:
https://opendocs.alipay.com/common/02mse7 (签名) and facts of Alipay OpenAPI.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from qiao.channels.alipay.account import Account
from qiao.crypto import rsa
from qiao.domain.errors import AnswerUnreadable

_SPACE: Final = " \t\r\n"
_CODECS: Final = ("utf-8", "gb18030")


def _no_constant(_: str) -> NoReturn:
    message = "JSON has no NaN"
    raise ValueError(message)


_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)
"""Numbers stay text: an amount never becomes a float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One top-level member of an answer: its exact bytes, and what they say."""

    raw: bytes
    value: Any


def request_content(parameters: Mapping[str, str]) -> bytes:
    """What a request signs: sorted, nothing encoded, empty values and ``sign`` left out."""
    return "&".join(
        f"{name}={parameters[name]}"
        for name in sorted(parameters)
        if parameters[name] and name != "sign"
    ).encode()


def signed(account: Account, parameters: Mapping[str, str]) -> dict[str, str]:
    """``parameters`` without the empty ones, and with their ``sign``."""
    present = {name: value for name, value in parameters.items() if value}
    content = request_content(present)
    return {**present, "sign": rsa.sign(account.private_key, content, account.hash)}


def notification_content(
    parameters: Mapping[bytes, bytes], *, with_sign_type: bool = False
) -> bytes:
    """What a notification's signature is over, in the bytes that its form held.

    Most families leave ``sign_type`` out; some keep it in.
    """
    left_out = {b"sign"} if with_sign_type else {b"sign", b"sign_type"}
    return b"&".join(
        name + b"=" + parameters[name] for name in sorted(parameters) if name not in left_out
    )


def members(body: bytes) -> dict[str, Member]:
    """The top-level members of a JSON object, each with its exact bytes.

    Raises AnswerUnreadable for anything else, and for a name that is there twice: two readers
    could disagree about which of them the signature is over.
    """
    text, codec = _decoded(body)
    try:
        found, end = _members(text, codec)
    except (ValueError, RecursionError):
        raise AnswerUnreadable("not a JSON object") from None
    if text[end:].strip(_SPACE):
        raise AnswerUnreadable("something follows the JSON object")
    return found


def parsed_object(text: str) -> dict[str, Any]:
    """A JSON object, its numbers as text; raises AnswerUnreadable."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise AnswerUnreadable("not JSON") from None
    if not isinstance(value, dict):
        raise AnswerUnreadable("not a JSON object")
    return value


def _decoded(body: bytes) -> tuple[str, str]:
    """The text and its codec. In GBK a second byte may look like a brace, so text is scanned."""
    for codec in _CODECS:
        try:
            return body.decode(codec), codec
        except UnicodeDecodeError:
            continue
    raise AnswerUnreadable("neither UTF-8 nor GBK")


def _members(text: str, codec: str) -> tuple[dict[str, Member], int]:
    """Raises ValueError where the text is not an object."""
    found: dict[str, Member] = {}
    at = _expect(text, _skip(text, 0), "{")
    while True:
        name, at = _DECODER.raw_decode(text, _skip(text, at))
        if not isinstance(name, str) or name in found:
            message = "a name is no text, or there twice"
            raise ValueError(message)
        start = _skip(text, _expect(text, _skip(text, at), ":"))
        value, at = _DECODER.raw_decode(text, start)
        found[name] = Member(raw=text[start:at].encode(codec), value=value)
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        at = _expect(text, at, ",")


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        message = f"no {character} at {at}"
        raise ValueError(message)
    return at + 1
