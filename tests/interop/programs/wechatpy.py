"""Drives wechatpy (PyPI), the SDK of WeChat Pay API v2 that Python shops use most.

Its gateway is an attribute of the class. It never verifies an answer by itself, so that its own
check is called here.
"""

from pathlib import Path
from typing import Any

import xmltodict  # type: ignore[import-untyped]
from wechatpy.pay import WeChatPay  # type: ignore[import-not-found]
from wechatpy.pay.utils import (  # type: ignore[import-not-found]
    calculate_signature,
    calculate_signature_hmac,
    dict_to_xml,
)

_clients: dict[str, Any] = {}


def open_client(gateway: str, keys: dict[str, Any], folder: str, files: dict[str, str]) -> None:
    """``files`` are PEM texts: the merchant's ``cert`` and ``key``, and the gateway's ``ca``."""
    paths = {name: Path(folder) / f"{name}.pem" for name in files}
    for name, text in files.items():
        paths[name].touch(mode=0o600)
        paths[name].write_text(text)
    kind = type("Client", (WeChatPay,), {"API_BASE_URL": f"{gateway}/"})
    client = kind(mch_cert=str(paths["cert"]), mch_key=str(paths["key"]), **keys)
    client._http.verify = str(paths["ca"])
    client._http.trust_env = False
    _clients["it"] = client


def call(method: str, **arguments: Any) -> Any:
    """One call of the API (``order.create``): the fields of its answer, or a bill's text."""
    name, _, verb = method.partition(".")
    return getattr(getattr(_clients["it"], name), verb)(**arguments)


def verifies(fields: dict[str, Any]) -> bool:
    """Whether an answer is signed by MD5."""
    checked: bool = _clients["it"].check_signature(fields)
    return checked


def signed(body: str, sign_type: str) -> bool:
    """Whether a message in XML carries the signature that the SDK would put there."""
    fields = dict(xmltodict.parse(body, strip_whitespace=False)["xml"])
    return bool(fields.pop("sign") == _sign(fields, sign_type))


def write(fields: dict[str, str], sign_type: str) -> str:
    """A message as the SDK signs and writes one."""
    text: str = dict_to_xml(fields, _sign(fields, sign_type))
    return text


def payment_result(body: str) -> Any:
    """A notification of a payment, verified (MD5); raises when it is not believed."""
    return _clients["it"].parse_payment_result(body)


def refund_result(body: str) -> Any:
    """A notification of a refund, decrypted."""
    return _clients["it"].parse_refund_notify_result(body)


def _sign(fields: dict[str, Any], sign_type: str) -> str:
    compute = calculate_signature if sign_type == "MD5" else calculate_signature_hmac
    text: str = compute(fields, _clients["it"].api_key)
    return text
