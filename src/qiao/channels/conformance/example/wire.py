"""Toy's wire: one account's settings, signed requests, and answers that are proven first."""

from collections.abc import Mapping
from typing import Final

import msgspec

from qiao.channels.conformance.example.codec import Document, money, read_document, text
from qiao.channels.conformance.example.signing import in_time, signed_by, signed_headers
from qiao.channels.interface import Capability, Manifest
from qiao.channels.requests import Context, Product
from qiao.channels.settings import Secret, Settings
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable, InvalidInput, InvalidSettings
from qiao.domain.money import Money

MANIFEST: Final = Manifest(
    id="toy",
    name={"en": "Toy", "zh": "玩具"},
    products=frozenset({Product.QR, Product.CODE, Product.PAGE}),
    currencies=frozenset({"CNY", "JPY", "KWD"}),
    capabilities=frozenset(Capability),
    authorization_products=frozenset({Product.QR, Product.CODE}),
    agreement_products=frozenset({Product.QR}),
    min_minor=1,
    max_minor=100_000_000,
    documentation_url="https://toy.example/docs",
)
_MIN_KEY_CHARACTERS: Final = 32


class ToySettings(Settings, frozen=True):
    """One account at Toy. ``gateway`` is its origin."""

    gateway: str
    merchant: str
    app: str
    key: Secret


class ToyWire:
    """What every verb of one account at Toy stands on."""

    manifest: Manifest = MANIFEST

    def __init__(self, settings: ToySettings) -> None:
        if len(settings.key) != _MIN_KEY_CHARACTERS:
            raise InvalidSettings(
                "not a key of 32 characters", field="settings.key", remedy="copy the whole key"
            )
        self.settings = settings

    def ask(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> Operation[Document]:
        """One request and its answer; raises AnswerForged, AnswerUnreadable."""
        response = yield self.request(method, target, fields, context)
        return self.read_answer(response, context)

    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        """A signed request; without ``fields`` it is a question."""
        body = b"" if fields is None else msgspec.json.encode(fields)
        message = f"{method}\n{target}\n{body.decode()}"
        return HttpRequest(
            method=method,
            url=self.settings.gateway + target,
            headers={
                "x-toy-merchant": self.settings.merchant,
                **signed_headers(self.settings.key, message, context),
            },
            body=body,
            effect=fields is not None,
        )

    def read_answer(self, response: HttpResponse, context: Context) -> Document:
        """Raises AnswerForged, AnswerUnreadable."""
        if not self.answer_is_authentic(response, context):
            raise AnswerForged
        return read_document(response.body)

    def answer_is_authentic(self, response: HttpResponse, context: Context) -> bool:
        body = response.body.decode("latin-1")
        fresh = in_time(response.headers, context.now())
        return fresh and signed_by(self.settings.key, response.headers, body)

    def amount_fields(self, reference: str, amount: Money) -> dict[str, str]:
        """Raises InvalidInput for a currency that Toy does not take."""
        self.check_currency(amount)
        return {
            "merchant": self.settings.merchant,
            "app": self.settings.app,
            "reference": reference,
            "amount": amount.to_major(),
            "currency": amount.currency,
        }

    def check_currency(self, amount: Money) -> None:
        if amount.currency not in self.manifest.currencies:
            raise InvalidInput("not a currency of Toy", field="currency", remedy="give CNY")

    def check_ours(self, answer: Document, reference: str) -> None:
        """Raises AnswerUnreadable for an answer about another account or number."""
        ours = (self.settings.merchant, self.settings.app, reference)
        if (text(answer, "merchant"), text(answer, "app"), text(answer, "reference")) != ours:
            raise AnswerUnreadable("the answer is about something else")

    def check_amount(self, answer: Document, amount: Money) -> None:
        """Raises AnswerUnreadable for another amount than was asked about."""
        if money(answer) != amount:
            raise AnswerUnreadable("the answer is about another amount")
