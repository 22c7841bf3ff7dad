"""Drives alipay-sdk-python (PyPI), Alipay's own SDK.

It takes no port from the gateway's address, so it is told how to connect; the request target stays
in the absolute form in which it sends it.
"""

import http.client
import json
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from alipay.aop.api.AlipayClientConfig import (  # type: ignore[import-not-found]
    AlipayClientConfig,
)
from alipay.aop.api.DefaultAlipayClient import (  # type: ignore[import-not-found]
    DefaultAlipayClient,
)
from alipay.aop.api.util import (  # type: ignore[import-not-found]
    SignatureUtils,
    WebUtils,
)

_clients: dict[str, Any] = {}


def _connection(url: str, query: str, timeout: float) -> tuple[str, http.client.HTTPConnection]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    return f"{url}?{query}", connection


WebUtils.get_http_connection = _connection


def open_client(settings: dict[str, str]) -> None:
    """``settings`` are the SDK's own names."""
    config = AlipayClientConfig()
    config.timeout = 60  # the machine may be busy
    for name, value in settings.items():
        setattr(config, name, value)
    _clients["it"] = DefaultAlipayClient(alipay_client_config=config)


def _request(name: str, content: dict[str, Any], options: dict[str, str]) -> Any:
    """``options``: notify_url, return_url, and every other parameter."""
    request = getattr(import_module(f"alipay.aop.api.request.{name}Request"), f"{name}Request")()
    if content:
        request.biz_content = content
    for option, value in options.items():
        if option in ("notify_url", "return_url"):
            setattr(request, option, value)
        else:
            request.add_other_text_param(option, value)
    return request


def execute(name: str, content: dict[str, Any], options: dict[str, str]) -> dict[str, Any]:
    """A call of the API, its answer verified and read into the SDK's own response."""
    response = getattr(import_module(f"alipay.aop.api.response.{name}Response"), f"{name}Response")
    read = response()
    text = _clients["it"].execute(_request(name, content, options))
    read.parse_response_content(text)
    known = {key.lstrip("_"): value for key, value in vars(read).items()}
    return {"is_success": read.is_success(), **json.loads(json.dumps(known, default=str))}


def page(name: str, content: dict[str, Any], options: dict[str, str], http_method: str) -> str:
    """The address, or the form, that sends the customer's browser to pay."""
    text: str = _clients["it"].page_execute(_request(name, content, options), http_method)
    return text


def app(name: str, content: dict[str, Any], options: dict[str, str]) -> str:
    """What the wallet's SDK is handed."""
    text: str = _clients["it"].sdk_execute(_request(name, content, options))
    return text


def verify(
    parameters: dict[str, str], public_key: str, without: list[str], charset: str = "utf-8"
) -> bool:
    """Whether these parameters, but for those left out, carry a signature by that key."""
    signed = {name: value for name, value in parameters.items() if name not in without}
    content = SignatureUtils.get_sign_content(signed).encode(charset)
    return bool(SignatureUtils.verify_with_rsa(public_key, content, parameters["sign"]))


def as_the_model_knows_it(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """What is left of a request's content in the SDK's own model of it."""
    model = getattr(import_module(f"alipay.aop.api.domain.{name}Model"), f"{name}Model")
    known: dict[str, Any] = model.from_alipay_dict(content).to_alipay_dict()
    return known


def unknown_to_the_response(name: str, content: dict[str, Any]) -> list[str]:
    """The fields of an answer that the SDK's own response of that name has not got."""
    response = getattr(import_module(f"alipay.aop.api.response.{name}Response"), f"{name}Response")
    return [field for field in content if not hasattr(response, field)]


def believe_encrypted(answer: str) -> str:
    """The ciphertext of an answer, once the SDK has cut it out and verified it.

    It can't decrypt it: on Python 3 its AES takes no text.
    """
    module = import_module("alipay.aop.api.DefaultAlipayClient")
    module.decrypt_content = lambda ciphertext, *_: ciphertext  # type: ignore[attr-defined]
    module.THREAD_LOCAL.logger, module.THREAD_LOCAL.uuid = None, ""
    ciphertext: str = _clients["it"]._DefaultAlipayClient__parse_response(answer.encode())
    return ciphertext
