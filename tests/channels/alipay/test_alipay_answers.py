"""An answer is believed only when Alipay signed exactly the bytes of the right node."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.alipay.signing import members, request_content
from qiao.channels.requests import PaymentQuery
from qiao.channels.wire import HttpResponse
from qiao.domain.errors import AnswerForged, AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import AwaitCustomer, Pending

METHOD = "alipay.trade.query"
NAME = "alipay_trade_query_response"
QUERY = PaymentQuery(reference="att01", amount=Money(1230, "CNY"))
NODE = {
    "code": "10000",
    "msg": "Success",
    "out_trade_no": "att01",
    "trade_no": "T1",
    "total_amount": "12.30",
    "trade_status": "WAIT_BUYER_PAY",
}
WAITING = Pending(action=AwaitCustomer(), channel_reference="T1")
TEXT = json.dumps(NODE)
REST = TEXT[1:]


def read(alipay: Any, response: HttpResponse, **settings: object) -> Any:
    channel = alipay.channel(**settings)
    return alipay.drive(channel.query(QUERY, alipay.context), response)[1]


def body(text: str, **changes: Any) -> HttpResponse:
    return HttpResponse(status=200, body=text.encode(changes.get("codec", "utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        '{ "subject" : "a }{ \\" ],{" ,' + REST,
        '{"body":"\\u4e2d\\/\\\\",' + REST,
        '{"body":"中文 émoji 🦊",' + REST,
        '{"body":"},\\"sign\\":\\"AAAA\\"}",' + REST,
        '{"body":"\\\\",' + REST,
        '{"fund_bill_list":[{"amount":"12.30"},[]],"none":null,"number":1.20e1,' + REST,
        "{" + ", \t\r\n".join(reversed(TEXT[1:-1].split(", "))) + "\n}",
    ],
    ids=[
        "plain",
        "braces",
        "escapes",
        "unicode",
        "a sign in a string",
        "an escape at the end",
        "nested",
        "another order",
    ],
)
def test_the_node_is_verified_as_it_was_sent(alipay: Any, text: str) -> None:
    assert read(alipay, alipay.answer(METHOD, text)) == WAITING


def test_the_order_of_the_members_does_not_matter(alipay: Any) -> None:
    sign = alipay.sign(TEXT.encode())
    text = f' {{ "sign" : "{sign}" , "alipay_cert_sn":"x" ,\n"{NAME}" : {TEXT} }}\n'
    assert read(alipay, body(text)) == WAITING


def test_an_answer_in_gbk_is_verified_in_gbk(alipay: Any) -> None:
    """The second byte of 乗 is a backslash in GBK, and that of 亄 an opening brace."""
    text = json.dumps({**NODE, "subject": "乗亄亇"}, ensure_ascii=False)
    sign = alipay.sign(text.encode("gbk"))
    response = body(f'{{"{NAME}":{text},"sign":"{sign}"}}', codec="gbk")
    assert b"\\" in response.body
    assert read(alipay, response) == WAITING


def signed_by_other_key(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, alipay.other_key))


def signed_by_app_key(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, alipay.app_key))


def signed_with_sha1(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content, hash_=hashes.SHA1()))


def signed_another_node(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content.replace(b"12.30", b"12.40")))


def signed_without_spaces(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content.replace(b" ", b"")))


def cut_short(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content))[:-4]


def followed_by_more(alipay: Any) -> Callable[[bytes], str]:
    return lambda content: str(alipay.sign(content)) + "AAAA"


def empty(_: Any) -> Callable[[bytes], str]:
    return lambda _: ""


def not_base64(_: Any) -> Callable[[bytes], str]:
    return lambda _: "签名"


@pytest.mark.parametrize(
    "forger",
    [
        signed_by_other_key,
        signed_by_app_key,
        signed_with_sha1,
        signed_another_node,
        signed_without_spaces,
        cut_short,
        followed_by_more,
        empty,
        not_base64,
    ],
)
def test_a_signature_that_is_not_alipays_is_forged(
    alipay: Any, forger: Callable[[Any], Callable[[bytes], str]]
) -> None:
    with pytest.raises(AnswerForged):
        read(alipay, alipay.answer(METHOD, TEXT, sign=forger(alipay)))


def test_no_byte_of_the_node_can_be_changed(alipay: Any) -> None:
    good = alipay.answer(METHOD, TEXT).body
    start = good.index(TEXT.encode())
    for at in range(start, start + len(TEXT)):
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(AnswerUnreadable):
            read(alipay, HttpResponse(status=200, body=changed))


@pytest.mark.parametrize(
    "text",
    [
        f'{{"{NAME}":{TEXT}}}',
        f'{{"{NAME}":{TEXT},"sign":null}}',
        f'{{"{NAME}":{TEXT},"sign":["SIGN"]}}',
        f'{{"error_response":{TEXT}}}',
        f'{{"{NAME}":{{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}}}}',
        f'{{"{NAME}":{{"code":"10003"}}}}',
        f'{{"{NAME}":{{"code":"20000","sub_code":"isp.unknow-error"}}}}',
        f'{{"{NAME}":"text"}}',
        f'{{"{NAME}":[]}}',
    ],
    ids=str,
)
def test_what_is_not_signed_is_forged(alipay: Any, text: str) -> None:
    with pytest.raises(AnswerForged):
        read(alipay, body(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "<html>busy</html>",
        f'{{"{NAME}":NODE,"sign":"SIGN"',
        f'{{"{NAME}":NODE,"sign":"SIGN"}}}}',
        f'{{"{NAME}":NODE,"sign":"SIGN"}} {{}}',
        f'{{"{NAME}":NODE,"{NAME}":NODE,"sign":"SIGN"}}',
        f'{{"{NAME}":NODE,"{NAME[:-1]}\\u0065":NODE,"sign":"SIGN"}}',
        f'{{"{NAME}":NODE,"sign":"x","sign":"SIGN"}}',
        f'{{"{NAME}":NODE,"error_response":NODE,"sign":"SIGN"}}',
        '{"alipay_trade_pay_response":NODE,"sign":"SIGN"}',
        '{"error_response":NODE,"sign":"SIGN"}',
        f'{{"{NAME}":NODE,,"sign":"SIGN"}}',
        f'{{{NAME}:NODE,"sign":"SIGN"}}',
        f'{{"{NAME}":NODE "sign":"SIGN"}}',
        f'{{"{NAME}":' + "[" * 200_000,
        f'{{"{NAME}":NaN,"sign":"SIGN"}}',
    ],
)
def test_what_is_not_an_answer_to_the_question_is_unreadable(alipay: Any, text: str) -> None:
    whole = text.replace("NODE", TEXT).replace("SIGN", alipay.sign(TEXT.encode()))
    with pytest.raises(AnswerUnreadable):
        read(alipay, body(whole))


@pytest.mark.parametrize("status", [204, 302, 404, 500, 502])
def test_another_http_status_is_unreadable(alipay: Any, status: int) -> None:
    good = alipay.answer(METHOD, TEXT)
    with pytest.raises(AnswerUnreadable, match=str(status)):
        read(alipay, HttpResponse(status=status, body=good.body))


def test_bytes_of_no_character_set_are_unreadable(alipay: Any) -> None:
    with pytest.raises(AnswerUnreadable):
        read(alipay, HttpResponse(status=200, body=b'{"a":"\xff\xff"}'))


def test_a_signed_node_that_is_no_object_is_unreadable(alipay: Any) -> None:
    for text in ('["10000"]', "null", "10000", '"c29tZQ=="'):
        with pytest.raises(AnswerUnreadable):
            read(alipay, alipay.answer(METHOD, text))


def test_an_error_names_the_code_and_nothing_else(alipay: Any) -> None:
    node = {"code": "40004", "sub_code": "ACQ.ODD <script>", "sub_msg": "张三", "extra": "secret"}
    with pytest.raises(AnswerUnreadable) as error:
        read(alipay, alipay.answer(METHOD, node))
    assert str(error.value) == (
        "alipay.trade.query answered 40004_ACQ.ODD??script?: the outcome is open"
    )


def test_an_old_account_signs_with_sha1_and_nothing_else(alipay: Any) -> None:
    def sha1(content: bytes) -> str:
        return str(alipay.sign(content, hash_=hashes.SHA1()))

    channel = alipay.channel(sign_type="RSA")
    operation = channel.query(QUERY, alipay.context)
    request = next(operation)
    with pytest.raises(StopIteration) as end:
        operation.send(alipay.answer(METHOD, TEXT, sign=sha1))
    assert end.value.value == WAITING
    pairs = dict(pair.split("=", 1) for pair in request.url.partition("?")[2].split("&") if pair)
    assert pairs["sign_type"] == "RSA"
    with pytest.raises(AnswerForged):
        read(alipay, alipay.answer(METHOD, TEXT), sign_type="RSA")


AES_KEY = bytes(range(16))
AES = {"aes_key": base64.b64encode(AES_KEY).decode()}


def encrypted(alipay: Any, text: str, key: bytes = AES_KEY) -> str:
    return '"' + str(alipay.encrypt(key, text.encode())) + '"'


def test_content_is_encrypted_before_it_is_signed(alipay: Any) -> None:
    operation = alipay.channel(**AES).query(QUERY, alipay.context)
    received = alipay.received(next(operation))
    plain = alipay.decrypt(AES_KEY, received.pop("biz_content"))
    assert json.loads(plain) == {"out_trade_no": "att01"}
    assert received == alipay.common(METHOD, encrypt_type="AES")


def test_an_encrypted_answer_is_verified_with_its_quotes_and_then_decrypted(alipay: Any) -> None:
    response = alipay.answer(METHOD, encrypted(alipay, TEXT))
    assert read(alipay, response, **AES) == WAITING
    without_quotes = alipay.answer(
        METHOD, encrypted(alipay, TEXT), sign=lambda content: alipay.sign(content.strip(b'"'))
    )
    with pytest.raises(AnswerForged):
        read(alipay, without_quotes, **AES)


@pytest.mark.parametrize(
    ("text", "key"), [(TEXT, bytes(16)), ("no json", AES_KEY), ("[]", AES_KEY)]
)
def test_an_encrypted_answer_that_does_not_open_is_unreadable(
    alipay: Any, text: str, key: bytes
) -> None:
    with pytest.raises(AnswerUnreadable):
        read(alipay, alipay.answer(METHOD, encrypted(alipay, text, key)), **AES)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PADS = st.text(" \t\r\n", max_size=2)


@given(
    st.dictionaries(st.text(), JSON_VALUES, min_size=1, max_size=4),
    st.booleans(),
    PADS,
    PADS,
)
def test_every_member_is_found_with_its_own_bytes(
    values: dict[str, Any], ascii_only: bool, before: str, after: str
) -> None:
    raw = {name: json.dumps(value, ensure_ascii=ascii_only) for name, value in values.items()}
    text = ",".join(
        f"{before}{json.dumps(name)}{after}:{before}{piece}{after}" for name, piece in raw.items()
    )
    try:
        sent = f"{before}{{{text}}}{after}".encode()
        expected = {name: piece.encode() for name, piece in raw.items()}
    except UnicodeEncodeError:
        return
    assert {name: member.raw for name, member in members(sent).items()} == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_members_or_unreadable(sent: bytes) -> None:
    try:
        members(sent)
    except AnswerUnreadable:
        pass
    else:
        assert sent.strip().startswith(b"{")


@given(st.dictionaries(st.text("abz_", min_size=1), st.text(), max_size=6))
def test_the_signed_text_of_a_request_is_sorted_and_leaves_out_what_is_empty(
    parameters: dict[str, str],
) -> None:
    try:
        content = request_content({**parameters, "sign": "x"}).decode()
    except UnicodeEncodeError:
        return
    kept = sorted(name for name, text in parameters.items() if text)
    assert content == "&".join(f"{name}={parameters[name]}" for name in kept)


def test_in_certificate_mode_the_answer_names_a_configured_certificate(alipay: Any) -> None:
    def serial(number: int) -> str:
        return hashlib.md5(f"CN=Ant Test CA{number}".encode(), usedforsecurity=False).hexdigest()

    settings = {
        "alipay_public_key": None,
        "app_certificate": alipay.certificate(alipay.app_key, 11),
        "alipay_certificate": alipay.certificate(alipay.alipay_key, 12),
        "alipay_root_certificate": alipay.certificate(alipay.other_key, 13)
        + alipay.certificate(alipay.other_key, 14),
    }
    operation = alipay.channel(**settings).query(QUERY, alipay.context)
    received = alipay.received(next(operation))
    received.pop("biz_content")
    assert received == alipay.common(
        METHOD, app_cert_sn=serial(11), alipay_root_cert_sn=f"{serial(13)}_{serial(14)}"
    )
    good = alipay.answer(METHOD, TEXT, alipay_cert_sn=serial(12))
    assert read(alipay, good, **settings) == WAITING
    for response in (
        alipay.answer(METHOD, TEXT),
        alipay.answer(METHOD, TEXT, alipay_cert_sn=""),
        alipay.answer(METHOD, TEXT, alipay_cert_sn=serial(15)),
    ):
        with pytest.raises(AnswerForged, match="next_alipay_certificate"):
            read(alipay, response, **settings)

    other = {**settings, "next_alipay_certificate": alipay.certificate(alipay.other_key, 15)}
    new = alipay.answer(METHOD, TEXT, sign=signed_by_other_key(alipay), alipay_cert_sn=serial(15))
    assert read(alipay, new, **other) == WAITING
    assert read(alipay, good, **other) == WAITING
    mixed = alipay.answer(METHOD, TEXT, sign=signed_by_other_key(alipay), alipay_cert_sn=serial(12))
    with pytest.raises(AnswerForged):
        read(alipay, mixed, **other)
