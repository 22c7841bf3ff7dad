"""A bank in memory and its channel, for tests of what stands above channels.

The channel is a real sans-I/O channel; ``BankTransport`` drives it against the ``Bank`` object in
place of sockets and can lose a request, its answer, or the connection. The bank keeps the truth
that a test compares Qiao's books with.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from qiao.channels.interface import (
    AgreementNotification,
    Capability,
    ChannelType,
    DisputeNotification,
    Manifest,
    Notification,
    PaymentNotification,
    RefundNotification,
)
from qiao.channels.requests import (
    AgreementCharge,
    AuthorizationQuery,
    CaptureQuery,
    CaptureRequest,
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundQuery,
    RefundRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.settings import Secret, Settings
from qiao.channels.wire import HttpMessage, HttpReply, HttpRequest, HttpResponse, Operation
from qiao.crypto.keyed_digest import hmac_sha256
from qiao.domain.errors import InvalidInput, NotificationRejected
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Authorized,
    AwaitCustomer,
    Closed,
    Declined,
    NotFound,
    NotSent,
    PaymentOutcome,
    Pending,
    QrCode,
    Refunded,
    RefundOutcome,
    RefundRefused,
    Succeeded,
    TransferOutcome,
    Unknown,
)
from qiao.testing.bank_agreements import BankAgreements, mandate
from qiao.testing.bank_wire import PAID_AT, BankDisputes, BankSharing, transferred
from qiao.testing.vault import DECLINED_CODE, Bank, Order, Payout
from qiao.transport.drive import AnswerLost, ConnectFailed, exchange

__all__ = [
    "BANK",
    "DECLINED_CODE",
    "MANIFEST",
    "Bank",
    "BankChannel",
    "BankSettings",
    "BankTransport",
    "Fault",
    "Order",
    "Payout",
    "ProcessDied",
    "Shop",
]

Result = TypeVar("Result")

CODES = {
    "poor": "insufficient_funds",
    "ended": "agreement_ended",
    "too_much": "agreement_limit_exceeded",
}
MANIFEST = Manifest(
    id="bank",
    name={"zh": "银行", "en": "Bank"},
    products=frozenset({Product.QR, Product.CODE, Product.H5}),
    currencies=frozenset({"CNY"}),
    capabilities=frozenset(
        {
            Capability.AGREEMENTS,
            Capability.CODE_REVERSAL,
            Capability.DISPUTES,
            Capability.PROFIT_SHARING,
            Capability.SEPARATE_CAPTURE,
            Capability.SHARE_RECEIVERS,
            Capability.SHARE_RETURNS,
            Capability.TRANSFERS,
        }
    ),
    authorization_products=frozenset({Product.QR, Product.CODE}),
    agreement_products=frozenset({Product.QR}),
    max_minor=100_000_00,
    documentation_url="https://bank.invalid/",
)


class BankSettings(Settings, frozen=True, kw_only=True):
    """``key`` signs what the bank tells; ``branch`` is where the account is, if it has several."""

    key: Secret
    branch: str = "main"


class Fault(StrEnum):
    """What happens to one request, besides nothing."""

    NOT_CONNECTED = "not_connected"
    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    DIES_BEFORE = "dies_before"
    DIES_AFTER = "dies_after"


class ProcessDied(Exception):
    """Our process ended in the middle of a request: nothing after it happens."""


class BankChannel(BankAgreements, BankSharing, BankDisputes):
    """The bank's channel. Nothing in it knows about faults."""

    def __init__(self, settings: BankSettings) -> None:
        self._key = settings.key.encode()
        self.branch = settings.branch

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        if request.product is Product.CODE and not request.auth_code:
            raise InvalidInput("no code", field="auth_code", remedy="scan the customer's code")
        answer = yield self.ask(
            "create",
            reference=request.reference,
            amount=request.amount.minor,
            product=request.product,
            auth_code=request.auth_code,
            notify_url=request.notify_url,
        )
        return _payment(request.reference, answer)

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        return _payment(query.reference, (yield self.ask("query", reference=query.reference)))

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        return _payment(query.reference, (yield self.ask("close", reference=query.reference)))

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        return _payment(query.reference, (yield self.ask("close", reference=query.reference)))

    def authorize(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        if request.product is Product.CODE and not request.auth_code:
            raise InvalidInput("no code", field="auth_code", remedy="scan the customer's code")
        answer = yield self.ask(
            "authorize",
            reference=request.reference,
            amount=request.amount.minor,
            product=request.product,
            auth_code=request.auth_code,
            notify_url=request.notify_url,
        )
        return _authorization(request.reference, answer)

    def query_authorization(
        self, query: AuthorizationQuery, context: Context
    ) -> Operation[PaymentOutcome]:
        return _authorization(query.reference, (yield self.ask("query", reference=query.reference)))

    def void(self, query: AuthorizationQuery, context: Context) -> Operation[PaymentOutcome]:
        return _authorization(query.reference, (yield self.ask("void", reference=query.reference)))

    def capture(self, request: CaptureRequest, context: Context) -> Operation[PaymentOutcome]:
        answer = yield self.ask(
            "capture",
            reference=request.reference,
            authorization=request.authorization.reference,
            amount=request.amount.minor,
        )
        return _payment(request.reference, answer)

    def query_capture(self, query: CaptureQuery, context: Context) -> Operation[PaymentOutcome]:
        answer = yield self.ask(
            "query_capture",
            reference=query.reference,
            authorization=query.authorization.reference,
        )
        return _payment(query.reference, answer)

    def charge(self, request: AgreementCharge, context: Context) -> Operation[PaymentOutcome]:
        answer = yield self.ask(
            "charge",
            reference=request.reference,
            mandate=request.agreement_reference,
            amount=request.amount.minor,
            notify_url=request.notify_url,
        )
        return _payment(request.reference, answer)

    def transfer(self, request: TransferRequest, context: Context) -> Operation[TransferOutcome]:
        if not request.payee:
            raise InvalidInput("missing", field="payee", remedy="say who gets the money")
        answer = yield self.ask(
            "transfer",
            reference=request.reference,
            payee=request.payee,
            amount=request.amount.minor,
        )
        return transferred(request.reference, request.amount, msgspec.json.decode(answer.body))

    def query_transfer(self, query: TransferQuery, context: Context) -> Operation[TransferOutcome]:
        answer = yield self.ask("query_transfer", reference=query.reference)
        return transferred(query.reference, query.amount, msgspec.json.decode(answer.body))

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        answer = yield self.ask(
            "refund",
            reference=request.reference,
            payment=request.payment_reference,
            amount=request.amount.minor,
        )
        return _refund(request.reference, msgspec.json.decode(answer.body))

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]:
        answer = yield self.ask(
            "query_refund", reference=query.reference, payment=query.payment_reference
        )
        return _refund(query.reference, msgspec.json.decode(answer.body))

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        expected = hmac_sha256(self._key, message.body).hex()
        if not hmac.compare_digest(expected, message.headers.get("signature", "")):
            raise NotificationRejected("the signature is not the bank's")
        told = msgspec.json.decode(message.body)
        if told["about"] == "mandate":
            return AgreementNotification(
                id=told["id"],
                reference=told["reference"],
                outcome=mandate(told["reference"], told),
            )
        if told["about"] == "dispute":
            return DisputeNotification(id=told["id"], number=told["number"])
        if told["about"] == "payment":
            outcome = _payment_outcome(told["reference"], told)
            return PaymentNotification(id=told["id"], reference=told["reference"], outcome=outcome)
        return RefundNotification(
            id=told["id"],
            payment_reference=told["payment"],
            reference=told["reference"],
            outcome=_refund(told["reference"], {"state": "refunded", **told}),
        )

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        return HttpReply(status=200 if accepted else 400, body=b"yes" if accepted else b"no")


def _payment(reference: str, answer: HttpResponse) -> PaymentOutcome:
    return _payment_outcome(reference, msgspec.json.decode(answer.body))


def _payment_outcome(reference: str, told: Mapping[str, Any]) -> PaymentOutcome:
    match told["state"]:
        case "paid":
            return Succeeded(
                amount=Money(told["amount"], "CNY"),
                channel_reference=f"bank-{reference}",
                paid_at=PAID_AT,
            )
        case "waiting" if told["product"] == Product.CODE:
            return Pending(action=AwaitCustomer())
        case "waiting":
            return Pending(action=QrCode(content=f"https://bank.invalid/{reference}"))
        case "held":
            return Authorized(
                amount=Money(told["amount"], "CNY"), channel_reference=f"bank-{reference}"
            )
        case "closed":
            return Closed()
        case "declined":
            code = CODES.get(told.get("code", ""), told.get("code", "declined"))
            return Declined(code=code, channel_code="NO", channel_message="not today")
        case _:
            return NotFound()


def _authorization(reference: str, answer: HttpResponse) -> PaymentOutcome:
    """Once it was captured nothing is held any more: its money has another number."""
    outcome = _payment(reference, answer)
    return Closed() if isinstance(outcome, Succeeded) else outcome


def _refund(reference: str, told: Mapping[str, Any]) -> RefundOutcome:
    match told["state"]:
        case "refunded":
            return Refunded(
                amount=Money(told["amount"], "CNY"), channel_reference=f"bank-{reference}"
            )
        case "refused":
            return RefundRefused(code="refused", channel_code="NO", channel_message="not enough")
        case _:
            return NotFound()


BANK = ChannelType(manifest=MANIFEST, settings=BankSettings, open=BankChannel)


@dataclass
class Shop:
    """The merchant's side: the webhooks that came. Answers with the next of ``answers``, or 200."""

    inbox: list[HttpRequest] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def answer(self, request: HttpRequest) -> HttpResponse:
        self.inbox.append(request)
        return HttpResponse(status=self.answers.pop(0) if self.answers else 200)


@dataclass
class BankTransport:
    """Drives operations against ``bank``; takes the next of ``faults`` for each request to it."""

    bank: Bank
    shop: Shop = field(default_factory=Shop)
    faults: list[Fault | None] = field(default_factory=list)
    outage: bool = False
    """The bank is away: half of what is sent is lost, half does not go out."""
    sent: list[str] = field(default_factory=list)
    """The verb of every request that arrived at the bank."""
    lost: int = 0
    down: set[str] = field(default_factory=set)
    """Branches that nobody can connect to."""

    async def run(self, operation: Operation[Result]) -> Result | NotSent | Unknown:
        driven = exchange(operation)
        try:
            request = next(driven)
            while True:
                try:
                    response = self._send(request)
                except (ConnectFailed, AnswerLost) as error:
                    request = driven.throw(error)
                else:
                    request = driven.send(response)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _send(self, request: HttpRequest) -> HttpResponse:
        if not request.url.startswith("https://bank.invalid/"):
            return self.shop.answer(request)
        fault = self.faults.pop(0) if self.faults else None
        if self.outage:
            self.lost += 1
            fault = Fault.NOT_CONNECTED if self.lost % 2 else Fault.REQUEST_LOST
        if fault is Fault.DIES_BEFORE:
            raise ProcessDied
        if fault is Fault.NOT_CONNECTED or request.url.split("/")[-2] in self.down:
            raise ConnectFailed("refused")
        if fault is Fault.REQUEST_LOST:
            raise AnswerLost("reset before the bank read it")
        response = self.bank.answer(request)
        self.sent.append(request.url.rpartition("/")[2])
        if fault is Fault.DIES_AFTER:
            raise ProcessDied
        if fault is Fault.ANSWER_LOST:
            raise AnswerLost("reset before the answer")
        return response
