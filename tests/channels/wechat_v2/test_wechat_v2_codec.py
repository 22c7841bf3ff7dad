"""Signatures as WeChat Pay published them, and XML that cannot be turned against us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from qiao.channels.wechat.v2 import codec
from qiao.crypto.keyed_digest import KeyedDigest
from qiao.domain.errors import AnswerUnreadable, InvalidInput
from qiao.simulators.wechat.v2 import codec as simulated

MICROPAY = {
    "appid": "wxd930ea5d5a258f4f",
    "auth_code": "123456",
    "body": "test",
    "device_info": "123",
    "mch_id": "1900000109",
    "nonce_str": "960f228109051b9969f76c82bde183ac",
    "out_trade_no": "1400755861",
    "spbill_create_ip": "127.0.0.1",
    "total_fee": "1",
}
"""WeChat Pay's example of a payment code, in its documents of 2014; SDKs test themselves by it."""
SECURITY = {
    "appid": "wxd930ea5d5a258f4f",
    "body": "test",
    "device_info": "1000",
    "mch_id": "10000100",
    "nonce_str": "ibuaiVcKdpRxkhJA",
}
"""The example of the chapter on signatures (安全规范)."""
VECTORS = [
    (MICROPAY, "8934e7d15453e97507ef794cf7b0519d", "MD5", "729A68AC3DE268DBD9ADE442382E7B24"),
    (
        MICROPAY,
        "8934e7d15453e97507ef794cf7b0519d",
        "HMAC-SHA256",
        "F0BC24E76CC164C44AD833618BE7964B3544CE4E5EA06F069A263EA9C433CC50",
    ),
    (MICROPAY, "key", "MD5", "1454C32E885B8D9E4A05E976D1C45B88"),
    (
        MICROPAY,
        "key",
        "HMAC-SHA256",
        "A58C01F990B45A4D0E496F835B2739E391C6C734927B1DA740DC873E607FB42A",
    ),
    (SECURITY, "192006250b4c09247ec02edce69f6a2d", "MD5", "9A0A8659F005D6984697E2CA0A9CF3B7"),
    (
        SECURITY,
        "192006250b4c09247ec02edce69f6a2d",
        "HMAC-SHA256",
        "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6",
    ),
]


@pytest.mark.parametrize(("fields", "key", "sign_type", "digest"), VECTORS)
def test_published_signatures(
    fields: dict[str, str], key: str, sign_type: str, digest: str
) -> None:
    algorithm = KeyedDigest(sign_type)
    assert codec.signature(fields, key, algorithm) == digest
    assert simulated.sign(fields, key, sign_type) == digest
    read = codec.read(codec.write({**fields, "sign": digest}))
    assert codec.signed_by(read, key, algorithm)
    for other in KeyedDigest:
        assert codec.signed_by(read, key, other) is (other is algorithm)


def test_empty_is_left_out_and_zero_is_not() -> None:
    key, algorithm = VECTORS[0][1], KeyedDigest.MD5
    plain = codec.signature(MICROPAY, key, algorithm)
    assert codec.signature({**MICROPAY, "attach": ""}, key, algorithm) == plain
    assert codec.signature({**MICROPAY, "sign": "X"}, key, algorithm) == plain
    assert codec.signature({**MICROPAY, "coupon_fee": "0"}, key, algorithm) != plain
    assert codec.signature({**MICROPAY, "nobody_knows": "it"}, key, algorithm) != plain


def test_numbers_come_with_and_without_cdata() -> None:
    body = b"<xml>\n<a>1</a>\n<b><![CDATA[1]]></b><c/><d><![CDATA[]]></d><e>&lt;&#13;</e></xml>"
    assert codec.read(body) == {"a": "1", "b": "1", "c": "", "d": "", "e": "<\r"}


BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha"}">' for i in range(12))
REFUSED = {
    "nothing": b"",
    "not xml": b"<xml><a>",
    "another root": b"<html><a>1</a></html>",
    "a document type": b"<!DOCTYPE xml><xml><a>1</a></xml>",
    "a document type in UTF-16": "<!DOCTYPE xml><xml><a>1</a></xml>".encode("utf-16"),
    "a document type in UTF-7": b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE xml+AD4-'
    b"<xml><a>1</a></xml>",
    "a file": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><a>&f;</a></xml>',
    "a bomb": f"<!DOCTYPE x [{BOMB}]><xml><a>&e11;</a></xml>".encode(),
    "an entity of nobody's": b"<xml><a>&f;</a></xml>",
    "a field twice": b"<xml><a>1</a><a>2</a></xml>",
    "a field in a field": b"<xml><a><b>1</b></a></xml>",
    "a comment in a field": b"<xml><a>1<!-- 2 -->3</a></xml>",
    "an instruction": b"<xml><?php 1 ?><a>1</a></xml>",
    "a namespace": b'<xml xmlns:q="urn:q"><q:a>1</q:a></xml>',
    "an unknown encoding": b'<?xml version="1.0" encoding="klingon"?><xml><a>1</a></xml>',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_read(body: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        codec.read(body)


XML_TEXT = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"],
        exclude_characters="\ufffe\uffff",
        include_characters="\r\n\t",
    ),
    min_size=1,
)


@given(st.dictionaries(st.sampled_from([*MICROPAY, "attach"]), XML_TEXT, min_size=1))
def test_every_text_that_xml_can_carry_arrives_and_verifies(fields: dict[str, str]) -> None:
    key = VECTORS[0][1]
    for algorithm in KeyedDigest:
        sent = codec.write({**fields, "sign": codec.signature(fields, key, algorithm)})
        heard = simulated.parse(sent)
        assert heard.pop("sign") == simulated.sign(fields, key, algorithm.value)
        assert heard == fields
        assert {str(one.tag): one.text for one in etree.fromstring(sent)} == codec.read(sent)


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[31m", "\ud800", "\ufffe"])
def test_other_text_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        codec.write({"body": text})
    assert error.value.field == "description"


@given(st.binary(max_size=300))
def test_rubbish_is_unreadable_and_never_a_crash(body: bytes) -> None:
    for read in (codec.read, simulated.parse):
        try:
            assert isinstance(read(body), dict)
        except (AnswerUnreadable, simulated.Failure) as error:
            assert str(error)
