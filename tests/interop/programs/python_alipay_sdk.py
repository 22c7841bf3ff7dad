"""Drives python-alipay-sdk (PyPI), the SDK of Alipay that Python shops use most."""

from typing import Any
from urllib.parse import parse_qs

from alipay import AliPay, DCAliPay, ISVAliPay  # type: ignore[import-not-found]
from alipay.utils import AliPayConfig  # type: ignore[import-not-found]

_clients: dict[str, Any] = {}


def open_client(gateway: str, keys: dict[str, str]) -> None:
    """``keys`` name certificates in certificate mode, and a token for a service provider."""
    kinds = {"alipay_root_cert_string": DCAliPay, "app_auth_token": ISVAliPay}
    kind = next((kinds[name] for name in kinds if name in keys), AliPay)
    client = kind(**keys)
    client._gateway, client._config = gateway, AliPayConfig(timeout=60)  # the machine may be busy
    _clients["it"] = client


def call(method: str, **arguments: Any) -> Any:
    """One call of the API, its answer verified; or the signed text where there is no answer."""
    return getattr(_clients["it"], f"api_alipay_{method}")(**arguments)


def server_api(method: str, content: dict[str, Any]) -> Any:
    """A call for which the SDK has no method of its own."""
    return _clients["it"].server_api(f"alipay.{method}", content)


def verify(parameters: dict[str, str]) -> bool:
    """A notification, or the return of a browser."""
    told = dict(parameters)
    signature = told.pop("sign")
    believed: bool = _clients["it"].verify(told, signature)
    return believed


def sign(parameters: dict[str, str]) -> str:
    """The signature under which the SDK would send these parameters."""
    text: str = _clients["it"].sign_data(dict(parameters))
    return parse_qs(text)["sign"][0]


def serials() -> dict[str, str]:
    """What the SDK reads in the account's certificates."""
    names = ("app_cert_sn", "alipay_root_cert_sn")
    return {name: getattr(_clients["it"], name) for name in names}


def root_serial(bundle: str) -> str:
    """The serial of a bundle of root certificates."""
    serial: str = DCAliPay.get_root_cert_sn(bundle)
    return serial
