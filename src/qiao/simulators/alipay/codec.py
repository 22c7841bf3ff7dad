"""Alipay's side of the wire: read and verify requests, sign answers and notifications.

Source: https://opendocs.alipay.com/common/02khjm (signatures), facts of Alipay OpenAPI.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from qiao.crypto.aes import DecryptionFailed, decrypt_cbc, encrypt_cbc
from qiao.crypto.certificates import Certificate, alipay_root_serial
from qiao.crypto.rsa import RsaHash, load_private_key, load_public_key, sign, verifies
from qiao.simulators.alipay.credentials import App, Credentials

CHINA: Final = timezone(timedelta(hours=8))
TOLERANCE: Final = timedelta(minutes=15)
HASHES: Final = {"RSA2": RsaHash.SHA256, "RSA": RsaHash.SHA1}
CHARSETS: Final = {"utf-8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030"}


class Refusal(Exception):
    """Alipay refuses: ``code`` and ``sub_code`` as in its documentation, for people ``text``."""

    def __init__(self, code: str, sub_code: str, text: str, *, signed: bool = True) -> None:
        super().__init__(sub_code)
        self.code, self.sub_code, self.text, self.signed = code, sub_code, text, signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose signature has verified."""

    app: App
    method: str
    parameters: Mapping[str, str]
    content: Mapping[str, Any]

    @property
    def seller_id(self) -> str:
        return self.app.auth_seller_id or self.app.seller_id


def china_time(moment: datetime) -> str:
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


class Codec:
    """Reads and signs with Alipay's own key; keys are loaded once."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._private = load_private_key(credentials.alipay_private_key)
        self._apps = {app.app_id: app for app in credentials.apps.values()}
        self._keys = {app_id: load_public_key(app.public_key) for app_id, app in self._apps.items()}
        self._serials = {
            app_id: Certificate.from_pem(app.app_certificate).alipay_serial
            for app_id, app in self._apps.items()
            if app.app_certificate
        }
        self._root = alipay_root_serial(credentials.root_certificate)
        self._own = Certificate.from_pem(credentials.alipay_certificate).alipay_serial

    def merge(self, query: str, body: bytes) -> dict[str, str]:
        """Parameters may stand in the query and in the body; ``charset`` says how to read them."""
        raw = [
            *parse_qsl(query, keep_blank_values=True, encoding="latin-1"),
            *parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1"),
        ]
        charset = CHARSETS.get(dict(raw).get("charset", "utf-8").lower(), "utf-8")
        return {name: value.encode("latin-1").decode(charset, "replace") for name, value in raw}

    def read(self, parameters: Mapping[str, str], now: datetime) -> Request:
        """Prove who asks. Raises Refusal as the gateway does."""
        app = self._app(parameters)
        charset = CHARSETS.get(parameters.get("charset", "").lower())
        if charset is None:
            raise Refusal("40002", "isv.invalid-charset", "字符集错误")
        if parameters.get("sign_type") != app.sign_type:
            raise Refusal("40002", "isv.invalid-signature-type", "签名类型无效")
        text = _sorted_text(parameters, without={"sign"})
        key, hash_ = self._keys[app.app_id], HASHES[app.sign_type]
        if not verifies(key, text.encode(charset), parameters.get("sign", ""), hash_):
            raise Refusal("40002", "isv.invalid-signature", "验签出错，请检查应用私钥和公钥")
        self._check_serials(app, parameters)
        _check_time(parameters.get("timestamp", ""), now)
        if app.auth_token and parameters.get("app_auth_token") != app.auth_token:
            raise Refusal("20001", "aop.invalid-app-auth-token", "无效的应用授权令牌")
        return Request(
            app=app,
            method=parameters["method"],
            parameters=parameters,
            content=_content(app, parameters),
        )

    def answer(
        self,
        parameters: Mapping[str, str],
        method: str,
        node: Mapping[str, Any],
        *,
        signed: bool = True,
        wrongly: bool = False,
    ) -> bytes:
        """The answer in the request's charset, signed over the node's own bytes."""
        app = self._apps.get(parameters.get("app_id", ""))
        charset = CHARSETS.get(parameters.get("charset", "utf-8").lower(), "utf-8")
        text = json.dumps(node, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        if app and app.aes_key and parameters.get("encrypt_type") == "AES":
            text = f'"{encrypt_cbc(_aes(app), text.encode())}"'
        parts = [f'"{method.replace(".", "_")}_response":{text}']
        if app and signed:
            if app.app_certificate:
                parts.append(f'"alipay_cert_sn":"{self._own}"')
            signature = self._signature(app, text.encode(charset), wrongly=wrongly)
            parts.append(f'"sign":"{signature}"')
        return ("{" + ",".join(parts) + "}").encode(charset)

    def form(self, app: App, fields: Mapping[str, str], *, wrongly: bool = False) -> bytes:
        """Fields of a notification or of a return to the merchant, signed, as a form.

        It is written in the ``charset`` that it names.
        """
        charset = CHARSETS[fields["charset"].lower()]
        told = {name: value for name, value in fields.items() if value}
        if app.app_certificate:
            told["alipay_cert_sn"] = self._own
        signature = self._signature(
            app, _sorted_text(told, without=set()).encode(charset), wrongly=wrongly
        )
        whole = {**told, "sign_type": app.sign_type, "sign": signature}
        return urlencode(whole, encoding=charset).encode("ascii")

    def _signature(self, app: App, content: bytes, *, wrongly: bool) -> str:
        return sign(self._private, content + b"!" * wrongly, HASHES[app.sign_type])

    def _app(self, parameters: Mapping[str, str]) -> App:
        if not parameters.get("method"):
            raise Refusal("40001", "isv.missing-method", "缺少方法名参数", signed=False)
        app = self._apps.get(parameters.get("app_id", ""))
        if app is None:
            raise Refusal("40002", "isv.invalid-app-id", "无效的AppID参数", signed=False)
        if not parameters.get("sign"):
            raise Refusal("40001", "isv.missing-signature", "缺少签名参数")
        return app

    def _check_serials(self, app: App, parameters: Mapping[str, str]) -> None:
        wanted = self._serials.get(app.app_id)
        if wanted is None:
            return
        given = (parameters.get("app_cert_sn"), parameters.get("alipay_root_cert_sn"))
        if given[0] != wanted:
            raise Refusal("40002", "isv.app-cert-sn-invalid", "应用公钥证书SN无效")
        if given[1] != self._root:
            raise Refusal("40002", "isv.alipay-root-cert-sn-invalid", "支付宝根证书SN无效")


def _check_time(text: str, now: datetime) -> None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
    except ValueError:
        raise Refusal("40002", "isv.invalid-timestamp", "非法的时间戳参数") from None
    if abs(moment - now) > TOLERANCE:
        raise Refusal("40002", "isv.invalid-timestamp", "非法的时间戳参数")


def _content(app: App, parameters: Mapping[str, str]) -> dict[str, Any]:
    text = parameters.get("biz_content", "{}")
    if app.aes_key and "biz_content" in parameters:
        if parameters.get("encrypt_type") != "AES":
            raise Refusal("40002", "isv.invalid-encrypt-type", "加密类型无效")
        try:
            text = decrypt_cbc(_aes(app), text).decode()
        except (DecryptionFailed, UnicodeDecodeError):
            raise Refusal("40002", "isv.decryption-error-unknown", "解密出错") from None
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refusal("40002", "isv.invalid-parameter", "biz_content不是JSON对象")
    return content


def _aes(app: App) -> bytes:

    return base64.b64decode(app.aes_key or "")


def _sorted_text(parameters: Mapping[str, str], *, without: set[str]) -> str:
    return "&".join(
        f"{name}={parameters[name]}"
        for name in sorted(parameters)
        if name not in without and parameters[name] != ""
    )
