"""XML and its signature: flat fields under ``<xml>``, signed with the account's shared key.

Source: https://pay.weixin.qq.com/doc/v2/merchant/4011985891 (signature), and the warning about
external entities that WeChat Pay sent to merchants in July 2018.
"""

import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from qiao.crypto.keyed_digest import KeyedDigest, keyed_digest, same_digest
from qiao.domain.errors import AnswerUnreadable, InvalidInput

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}", re.ASCII)
_OURS: Final = {
    "auth_code": "auth_code",
    "body": "description",
    "device_info": "store",
    "notify_url": "notify_url",
    "openid": "payer",
    "refund_desc": "reason",
    "scene_info": "client_ip",
    "spbill_create_ip": "client_ip",
}
"""Which of our words each field's text came from."""


def signature(fields: Mapping[str, str], key: str, algorithm: KeyedDigest) -> str:
    """Over every field that is not empty, by name, but for ``sign`` itself; and then the key."""
    given = sorted((name, text) for name, text in fields.items() if text and name != "sign")
    content = "&".join(f"{name}={text}" for name, text in (*given, ("key", key)))
    return keyed_digest(algorithm, key, content)


def signed_by(fields: Mapping[str, str], key: str, algorithm: KeyedDigest) -> bool:
    """Whether the other side, which has the key, signed the fields under that algorithm."""
    return same_digest(signature(fields, key, algorithm), fields.get("sign", ""))


def write(fields: Mapping[str, str]) -> bytes:
    """The message. Raises InvalidInput for text that XML cannot carry.

    Text is escaped and not put into CDATA, where a carriage return would not survive.
    """
    root = etree.Element("xml")
    for name, text in fields.items():
        try:
            etree.SubElement(root, name).text = text
        except ValueError:
            raise InvalidInput(
                "holds a character that XML cannot carry",
                field=_OURS.get(name, name),
                remedy="leave control characters out",
            ) from None
    return etree.tostring(root, encoding="utf-8")


def read(body: bytes, *, root: str = "xml") -> dict[str, str]:
    """The fields of a message; raises AnswerUnreadable.

    A document type is refused before anything in it could be expanded or fetched, and so is a
    field that comes twice: the one that is verified must be the one that is read.
    """
    if b"<!DOCTYPE" in body:
        raise AnswerUnreadable("it has a document type, which is refused")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True
    )
    try:
        document = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        raise AnswerUnreadable("it is not XML") from None
    if document.getroottree().docinfo.internalDTD is not None:  # in another encoding
        raise AnswerUnreadable("it has a document type, which is refused")
    if document.tag != root:
        raise AnswerUnreadable(f"it is not <{root}>")
    fields: dict[str, str] = {}
    for element in document:
        name = element.tag
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(element):
            raise AnswerUnreadable("it holds something besides fields")
        if name in fields:
            raise AnswerUnreadable("a field comes twice")
        fields[name] = element.text or ""
    return fields
