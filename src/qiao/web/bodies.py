"""Read JSON bodies strictly: no duplicate keys, no floats, no other types than were asked for.

Litestar reads ``"1"`` and ``1.0`` as 1; where the field is money that must not happen. The hook
here runs first and refuses what the handler's own type of ``data`` does not hold exactly.
"""

import hashlib
import json
import re
from typing import Any, NoReturn

import msgspec
from litestar import Request

from qiao.engine.runtime import IdempotencyKey
from qiao.web.problems import Refused

MAX_BODY_BYTES = 64 * 1024
IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)


async def check_body(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that is not exactly what the handler takes; Litestar's ``before_request``."""
    field = request.route_handler.parsed_data_field
    if field is None:
        return
    body = await request.body()
    read_strictly(body, field.annotation)


def read_strictly(body: bytes, kind: Any) -> Any:
    """The body as a ``kind``; raises Refused naming the field and the remedy."""
    try:
        STRICT.decode(body.decode())
        return msgspec.json.decode(body, type=kind, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        path = re.search(r"`\$\.?([^`]*)`$", text)
        named = re.search(r"(?:required|unknown) field `([^`]+)`", text)
        parts = [path[1] if path else "", named[1] if named else ""]
        raise Refused(
            400,
            "invalid_input",
            text.partition(" - at ")[0],
            field=".".join(part for part in parts if part) or "body",
            remedy="see the request's schema in /v1/openapi.json",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise Refused(
            400,
            "malformed_body",
            "the body is not JSON",
            field="body",
            remedy="send one JSON object in UTF-8",
        ) from None


def idempotency_key(request: Request[Any, Any, Any], body: bytes) -> IdempotencyKey | None:
    """The key of the request, bound to its method, path and body. Raises Refused."""
    key = request.headers.get("idempotency-key")
    return None if key is None else bound_key(key, request.method, request.url.path, body)


def bound_key(key: str, method: str, path: str, body: bytes) -> IdempotencyKey:
    """Raises Refused when it is not one."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(
            400,
            "invalid_input",
            "not an idempotency key",
            field="Idempotency-Key",
            remedy="give 1 to 128 printable ASCII characters without spaces, such as a UUID",
        )
    head = f"{method} {path}\n".encode()
    return IdempotencyKey(key=key, body_digest=hashlib.sha256(head + body).digest())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(
                400,
                "duplicate_key",
                "a name occurs twice in one object",
                field=name[:100],
                remedy="give every name once",
            )
        for text in (name, value):
            if isinstance(text, str) and ("\0" in text or not _is_unicode(text)):
                raise Refused(
                    400,
                    "invalid_input",
                    "a text holds a character that cannot be kept",
                    field=name[:100] if text is value else "body",
                    remedy="leave out NUL and lone surrogates",
                )
        found[name] = value
    return found


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(text: str) -> NoReturn:
    raise Refused(
        400,
        "float_refused",
        f"{text[:40]} is not a whole number",
        field="body",
        remedy="give amounts in whole minor units (fen, cents), without a decimal point",
    )


STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_float)
