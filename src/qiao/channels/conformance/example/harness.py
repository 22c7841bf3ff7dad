"""Toy's counterpart, written without a line of the adapter's: its own JSON, its own HMAC."""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from qiao.channels.conformance.example.channel import ToyChannel
from qiao.channels.conformance.example.wire import MANIFEST, ToySettings
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.vocabulary import (
    Account,
    Forgery,
    NotApplicable,
    Situation,
    StatementSample,
    Status,
    Understood,
    Verb,
)
from qiao.channels.interface import ChannelType, EntryKind, StatementEntry
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.domain.money import Money
from qiao.domain.outcomes import Action, Redirect

_MERCHANTS: Final = {Account.OURS: "m-1", Account.OTHER_MERCHANT: "m-2", Account.OTHER_APP: "m-1"}
_KEYS: Final = {
    Account.OURS: "Kf3xW9pTq7LmZ2vRb8YhC4nJs6DgA1eU",
    Account.OTHER_MERCHANT: "Zy8QwErTy5UiOpAs3DfGhJkL2xCvBnM7",
}
_WORDS: Final = {
    Status.PENDING: "waiting",
    Status.SUCCEEDED: "paid",
    Status.REFUSED: "refused",
    Status.CLOSED: "closed",
    Status.NOT_FOUND: "not_found",
    Status.SYSTEM_ERROR: "system_error",
    Status.UNRECOGNISED: "levitating",
}
_AGREEMENTS: Final = (Verb.SIGN, Verb.QUERY_AGREEMENT, Verb.END_AGREEMENT)
_DECIMALS: Final = {"JPY": 0, "KWD": 3}
_STATEMENT: Final = b"""\
kind,reference,refund_reference,channel_reference,amount,currency,fee_minor,time
payment,att0001,,T1,12.34,CNY,7,2026-01-14T01:02:03Z
payment,att0002,,T2,1200,JPY,4,2026-01-14T02:00:00Z
refund,att0001,ref0001,T3,2.00,CNY,-1,2026-01-14T03:00:00Z
total,3,2634
"""


class ToyHarness(ConformanceHarness):
    """Toy's side of the wire."""

    channel_type = ChannelType(manifest=MANIFEST, settings=ToySettings, open=ToyChannel)
    gateways = ("https://toy.example/",)

    def settings(self, account: Account) -> Mapping[str, object]:
        return {
            "gateway": "https://toy.example",
            "merchant": _MERCHANTS[account],
            "app": "a-1",
            "key": _KEYS[account],
        }

    def secrets(self) -> Collection[str]:
        return [_KEYS[Account.OURS]]

    # What the channel sends

    def understand(self, sent: HttpRequest | Action) -> Understood:
        if isinstance(sent, Redirect):
            return self._understand_page(sent.url)
        if not isinstance(sent, HttpRequest):
            raise NotApplicable("only a page asks nothing of Toy")
        parts = urlsplit(sent.url)
        target = sent.url.removeprefix(f"{parts.scheme}://{parts.netloc}")
        fields = json.loads(sent.body) if sent.body else {}
        told = f"{sent.method}\n{target}\n{sent.body.decode()}"
        return Understood(
            operation=f"{sent.method} {target}",
            effect=sent.method == "POST",
            authentic=_verifies(sent.headers, told)
            and fields.get("merchant", "m-1") == sent.headers["x-toy-merchant"] == "m-1",
            reference=fields.get("reference") or (None if fields else target.split("/")[2]),
            amount=_money(fields) if "amount" in fields else None,
        )

    def _understand_page(self, url: str) -> Understood:
        parts = urlsplit(url)
        fields = dict(parse_qsl(parts.query))
        message = f"GET\n{parts.path}?{parts.query.partition('&x-toy-time=')[0]}\n"
        return Understood(
            operation="page",
            effect=True,
            authentic=_verifies(fields, message),
            reference=fields["reference"],
            amount=_money(fields),
        )

    # What the other side says

    def answer(self, request: HttpRequest, situation: Situation) -> HttpResponse:
        path = urlsplit(request.url).path
        if path.startswith("/files/"):
            if situation.forgery is not None:
                raise NotApplicable("Toy does not sign files")
            return HttpResponse(status=200, body=_STATEMENT)
        status = situation.status
        if situation.verb is Verb.CLOSE and request.method == "GET" and status is Status.CLOSED:
            status = Status.PENDING
        if situation.verb is Verb.REVERSE and request.method == "POST" and status is Status.CLOSED:
            status = Status.PENDING
        told = self._document(replace(situation, status=status))
        headers, body = _signed(told, situation.forgery, int(self.now.timestamp()))
        code = 500 if status is Status.SYSTEM_ERROR else 200
        return HttpResponse(status=code, headers=headers, body=body)

    def payment_notification(self, situation: Situation) -> HttpMessage:
        return self._notification("payment", situation)

    def refund_notification(self, situation: Situation) -> HttpMessage:
        return self._notification("refund", situation)

    def agreement_notification(self, situation: Situation) -> HttpMessage:
        return self._notification("agreement", situation)

    def _notification(self, kind: str, situation: Situation) -> HttpMessage:
        told = {"event": f"E{situation.event}", "kind": kind, **self._document(situation)}
        if situation.status is Status.EMPTY:
            told = {}
        time = int(self.now.timestamp()) + situation.sending
        headers, body = _signed(told, situation.forgery, time)
        return HttpMessage(method="POST", target="/notifications", headers=headers, body=body)

    def _document(self, situation: Situation) -> dict[str, Any]:
        if situation.status is Status.EMPTY:
            return {}
        holds = situation.verb in (Verb.AUTHORIZE, Verb.QUERY_AUTHORIZATION)
        held = holds and situation.status is Status.SUCCEEDED
        word = "held" if held else _WORDS[situation.status]
        if situation.verb in _AGREEMENTS:
            word = {"paid": "signed", "closed": "ended"}.get(word, word)
        told = {
            "status": word,
            "merchant": _MERCHANTS[situation.account],
            "app": "a-2" if situation.account is Account.OTHER_APP else "a-1",
            "reference": situation.reference,
            "payment_reference": situation.payment_reference,
            "amount": _major(situation.amount),
            "currency": situation.amount.currency,
            "number": f"T-{situation.reference}",
            "time": f"{self.now:%Y-%m-%dT%H:%M:%SZ}",
            "held_until": f"{self.now + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}",
            "payer": self.payer,
            "path": "/files/2026-01-14",
            "code": "NOT_ENOUGH",
        }
        asks = situation.verb in (Verb.CREATE, Verb.AUTHORIZE, Verb.SIGN)
        if asks and situation.product != "code":
            told["qr"] = "toy://pay/1"
        return told

    def statements(self) -> Sequence[StatementSample]:
        def entry(
            kind: EntryKind, refund: str | None, number: int, amount: Money, fee: int, at: timedelta
        ) -> StatementEntry:
            start = self.now.replace(day=14, hour=0)
            return StatementEntry(
                kind=kind,
                reference="att0002" if number == 2 else "att0001",
                refund_reference=refund,
                channel_reference=f"T{number}",
                amount=amount,
                fee_minor=fee,
                booked_at=start + at,
            )

        first = timedelta(hours=1, minutes=2, seconds=3)
        entries = (
            entry(EntryKind.PAYMENT, None, 1, Money(1234, "CNY"), 7, first),
            entry(EntryKind.PAYMENT, None, 2, Money(1200, "JPY"), 4, timedelta(hours=2)),
            entry(EntryKind.REFUND, "ref0001", 3, Money(200, "CNY"), -1, timedelta(hours=3)),
        )
        return [StatementSample(content=_STATEMENT, entries=entries)]


def _hmac(key: str, time: str, nonce: str, message: bytes) -> str:
    text = f"{time}\n{nonce}\n".encode() + message + f"\n&key={key}".encode()
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()


def _verifies(headers: Mapping[str, str], message: str) -> bool:
    time, nonce = headers["x-toy-time"], headers["x-toy-nonce"]
    expected = _hmac(_KEYS[Account.OURS], time, nonce, message.encode())
    return hmac.compare_digest(expected, headers["x-toy-signature"])


def _signed(
    told: Mapping[str, Any], forgery: Forgery | None, seconds: int
) -> tuple[dict[str, str], bytes]:
    """Headers and body, forged as wanted."""
    key = _KEYS[Account.OTHER_MERCHANT if forgery is Forgery.OTHER_KEY else Account.OURS]
    time = str(seconds - 86_400 if forgery is Forgery.STALE else seconds)
    nonce = f"n{time}"
    body = json.dumps(told).encode()
    signed = body
    if forgery is Forgery.OTHER_SIGNATURE:
        signed = json.dumps({**told, "number": "T-other"}).encode()
    headers = {
        "x-toy-time": time,
        "x-toy-nonce": nonce,
        "x-toy-signature": _hmac(key, time, nonce, signed),
    }
    match forgery:
        case Forgery.TAMPERED:
            body = json.dumps({**told, "number": "T-forged"}).encode()
        case Forgery.NO_SIGNATURE:
            del headers["x-toy-signature"]
        case Forgery.EMPTY_SIGNATURE:
            headers["x-toy-signature"] = ""
        case Forgery.OTHER_ALGORITHM:
            text = f"{time}\n{nonce}\n".encode() + body + f"\n&key={key}".encode()
            digest = hashlib.md5(text, usedforsecurity=False).hexdigest().upper()
            headers |= {"x-toy-signature": digest, "x-toy-algorithm": "MD5"}
        case _:
            pass
    return headers, body


def _major(amount: Money) -> str:
    places = _DECIMALS.get(amount.currency, 2)
    whole, rest = divmod(amount.minor, 10**places)
    return f"{whole}.{rest:0{places}d}" if places else str(whole)


def _money(fields: Mapping[str, str]) -> Money:
    places = _DECIMALS.get(fields["currency"], 2)
    whole, _, rest = fields["amount"].partition(".")
    if len(rest) != places:
        return Money(0, fields["currency"])
    return Money(int(whole + rest), fields["currency"])
