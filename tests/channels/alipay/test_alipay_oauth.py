"""The payer's id: where the browser goes, and what becomes of the code that it brings back."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from qiao.channels.wire import HttpResponse
from qiao.domain.errors import AnswerForged, AnswerUnreadable

METHOD = "alipay.system.oauth.token"
TOKEN = {"access_token": "hush", "expires_in": "3600", "refresh_token": "hush"}


def identify(alipay: Any, response: Any) -> Any:
    return alipay.drive(alipay.channel().identify("c0de", alipay.context), response)


def test_the_browser_goes_to_alipay_and_comes_back(alipay: Any) -> None:
    back = "https://shop.example/back?order=1&x=中"
    for base in (
        "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm",
        "http://localhost:8000/oauth",
    ):
        url = alipay.channel(oauth_authorize_url=base).authorization_url(
            redirect_url=back, state="s&1"
        )
        assert url.startswith(base + "?")
        assert dict(parse_qsl(urlsplit(url).query, strict_parsing=True)) == {
            "app_id": alipay.app_id,
            "scope": "auth_base",
            "redirect_uri": back,
            "state": "s&1",
        }


@pytest.mark.parametrize(
    ("fields", "payer"),
    [
        ({"open_id": "0abc"}, "0abc"),
        ({"user_id": "2088000000000009"}, "2088000000000009"),
        ({"open_id": "0abc", "user_id": "2088000000000009"}, "0abc"),
        ({"code": "10000", "open_id": "0abc"}, "0abc"),
    ],
    ids=["open id", "user id", "both", "with a code"],
)
def test_a_code_tells_the_payer(alipay: Any, fields: dict[str, str], payer: str) -> None:
    requests, result = identify(alipay, alipay.answer(METHOD, {**TOKEN, **fields}))
    assert result == payer
    assert alipay.received(requests[0]) == alipay.common(
        METHOD, grant_type="authorization_code", code="c0de"
    )
    assert "c0de" not in requests[0].url


def test_a_refused_code_tells_nobody(alipay: Any) -> None:
    node = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.code-invalid"}
    signed = alipay.answer(METHOD, node, name="error_response")
    unsigned = HttpResponse(status=200, body=json.dumps({"error_response": node}).encode())
    assert identify(alipay, signed)[1] is None
    assert identify(alipay, unsigned)[1] is None


def test_every_other_failure_is_unreadable(alipay: Any) -> None:
    for node in (
        {"code": "20000", "sub_code": "isp.unknow-error"},
        {"code": "40002", "sub_code": "isv.invalid-signature"},
        {},
        TOKEN,
    ):
        with pytest.raises(AnswerUnreadable):
            identify(alipay, alipay.answer(METHOD, node))


def test_an_unsigned_payer_is_forged(alipay: Any) -> None:
    sent = {"alipay_system_oauth_token_response": {**TOKEN, "open_id": "0abc"}}
    with pytest.raises(AnswerForged):
        identify(alipay, HttpResponse(status=200, body=json.dumps(sent).encode()))
