"""API v2's side of the wire: read a request's layers, sign what is answered, seal a refund.

Source: facts of WeChat Pay API v2, on signature, response layers and notifications.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lxml import etree

from qiao.crypto.aes import encrypt_ecb
from qiao.simulators.wechat.credentials import Credentials, Merchant

MD5: Final = "MD5"
HMAC_SHA256: Final = "HMAC-SHA256"
NUMBERS: Final = ("_fee", "_count")
BARE: Final = ("appid", "mch_id", "sign")
REQUIRED: Final = (*BARE, "nonce_str")


class Failure(Exception):
    """The request was not heard: ``return_code`` FAIL, unsigned, with ``return_msg``."""

    def __init__(self, message: str, *, error_code: str = "") -> None:
        super().__init__(message)
        self.message, self.error_code = message, error_code

    def body(self) -> bytes:
        told = {"return_code": "FAIL", "return_msg": self.message, "error_code": self.error_code}
        return document(told)


class Refused(Exception):
    """The request was heard, and refused: ``result_code`` FAIL, signed, with ``err_code``."""

    def __init__(self, code: str, description: str, **more: str) -> None:
        super().__init__(code)
        self.code, self.description, self.more = code, description, more

    def fields(self) -> dict[str, str]:
        told = {"result_code": "FAIL", "err_code": self.code, "err_code_des": self.description}
        return {**told, **self.more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose signature has verified; fields that are empty are left out."""

    merchant: Merchant
    fields: Mapping[str, str]
    sign_type: str

    @property
    def owner(self) -> str:
        """The merchant number whose orders these are."""
        return self.merchant.sub_mchid or self.merchant.mchid

    def text(self, name: str, *, most: int = 512) -> str:
        """A field that must be there. Raises Failure."""
        if name not in self.fields:
            raise Failure(f"缺少参数{name}")
        if len(self.fields[name].encode()) > most:
            raise Failure(f"invalid {name}")
        return self.fields[name]


class Codec:
    """Verifies, signs and seals with the merchants' shared keys."""

    def __init__(self, credentials: Credentials) -> None:
        self._merchants = {one.mchid: one for one in credentials.merchants.values()}

    def read(self, body: bytes, *, bare: bool = False) -> Request:
        """Who asks, and what; ``bare`` where there is no nonce. Raises Failure."""
        return self.check(parse(body), bare=bare)

    def check(self, told: Mapping[str, str], *, bare: bool) -> Request:
        """The same of what is read already. Raises Failure."""
        fields = {name: text for name, text in told.items() if text}
        for name in BARE if bare else REQUIRED:
            if name not in fields:
                raise Failure(f"缺少参数{name}")
        merchant = self._merchants.get(fields["mch_id"])
        sub = fields.get("sub_mch_id")
        if merchant is None or sub != merchant.sub_mchid:
            raise Failure("商户号mch_id或sub_mch_id不存在")
        sign_type = fields.get("sign_type", MD5)
        if sign_type not in (MD5, HMAC_SHA256):
            raise Failure("invalid sign_type")
        expected = sign(fields, merchant.api_key, sign_type)
        if not hmac.compare_digest(expected.encode(), fields["sign"].encode()):
            raise Failure("签名错误")
        if fields["appid"] != merchant.appid:
            raise Failure("商户号mch_id与appid不匹配")
        return Request(merchant=merchant, fields=fields, sign_type=sign_type)

    def answer(self, request: Request, told: Mapping[str, str], *, wrongly: bool = False) -> bytes:
        """The signed answer, under the algorithm of the request."""
        who = {"return_code": "SUCCESS", "return_msg": "OK", **identity(request.merchant)}
        return self.message({**who, **told}, request.merchant, request.sign_type, wrongly=wrongly)

    def message(
        self, told: Mapping[str, str], merchant: Merchant, sign_type: str, *, wrongly: bool = False
    ) -> bytes:
        """Signed XML; with the signature of other words when it is to be wrong."""
        fields = {**told, "nonce_str": secrets.token_hex(16)}
        signed = {**fields, "attach": "wrongly"} if wrongly else fields
        fields["sign"] = sign(signed, merchant.api_key, sign_type)
        return document(fields)

    def seal(self, merchant: Merchant, told: Mapping[str, str]) -> str:
        """A refund, encrypted under the MD5 of the merchant's key."""
        key = hashlib.md5(merchant.api_key.encode(), usedforsecurity=False).hexdigest().encode()
        return encrypt_ecb(key, document(told, root="root"))

    def verifies(
        self, merchant: Merchant, told: Mapping[str, str], sign_type: str, given: str
    ) -> bool:
        """Whether the merchant signed what its customer's wallet was handed."""
        expected = sign(told, merchant.api_key, sign_type)
        return hmac.compare_digest(expected.encode(), given.encode())


def sign(fields: Mapping[str, str], key: str, sign_type: str) -> str:
    """Upper-case hex over the fields in the order of their names, the key behind them."""
    parts = [f"{name}={fields[name]}" for name in sorted(fields) if name != "sign" and fields[name]]
    content = ("&".join(parts) + f"&key={key}").encode()
    if sign_type == MD5:
        return hashlib.md5(content, usedforsecurity=False).hexdigest().upper()
    return hmac.new(key.encode(), content, "sha256").hexdigest().upper()


def identity(merchant: Merchant) -> dict[str, str]:
    """Who a message is for, as every message tells it."""
    who = {"appid": merchant.appid, "mch_id": merchant.mchid}
    return {**who, "sub_mch_id": merchant.sub_mchid} if merchant.sub_mchid else who


def document(fields: Mapping[str, str], *, root: str = "xml") -> bytes:
    """Texts in CDATA, amounts and counts bare, as WeChat Pay writes them; nothing that is empty."""
    made = etree.Element(root)
    for name, text in fields.items():
        if text:
            bare = name.rstrip("_0123456789").endswith(NUMBERS)
            etree.SubElement(made, name).text = text if bare else etree.CDATA(text)
    return etree.tostring(made, encoding="utf-8")


def parse(body: bytes) -> dict[str, str]:
    """The fields of ``<xml>``. Raises Failure, for a document type too."""
    if not body:
        raise Failure("post数据为空")
    safe = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(body, safe)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        raise Failure("XML格式错误") from None
    if root.getroottree().docinfo.internalDTD is not None or root.tag != "xml":
        raise Failure("XML格式错误")
    names = [str(one.tag) for one in root]
    if len(set(names)) != len(names) or any(len(one) for one in root):
        raise Failure("XML格式错误")
    return {str(one.tag): one.text or "" for one in root}
