"""Toy's translator: every verb and every capability, over signed JSON."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

from qiao.channels.conformance.example.agreements import ToyAgreements
from qiao.channels.conformance.example.codec import (
    Document,
    moment,
    money,
    read_document,
    read_statement,
    text,
)
from qiao.channels.conformance.example.disputes import ToyDisputes
from qiao.channels.conformance.example.sharing import ToySharing
from qiao.channels.conformance.example.signing import in_time, signed_by, signed_headers
from qiao.channels.interface import (
    AgreementNotification,
    Notification,
    OtherNotification,
    PaymentNotification,
    RefundNotification,
    StatementEntry,
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
    StatementRequest,
)
from qiao.channels.wire import HttpMessage, HttpReply, Operation
from qiao.domain.errors import (
    AnswerUnreadable,
    InvalidInput,
    NotificationRejected,
)
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Action,
    Authorized,
    AwaitCustomer,
    Closed,
    Declined,
    NotFound,
    PaymentOutcome,
    Pending,
    QrCode,
    Redirect,
    Succeeded,
    Unknown,
)

_REFERENCE: Final = re.compile(r"[0-9a-zA-Z]{6,32}", re.ASCII)
_AUTH_CODE: Final = re.compile(r"[0-9]{16,24}", re.ASCII)


class ToyChannel(ToyAgreements, ToySharing, ToyDisputes):
    """One account at Toy."""

    # Payments

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        fields = self.payment_fields(request)
        if request.product is Product.PAGE:
            query = urlencode(fields)
            signed = signed_headers(self.settings.key, f"GET\n/pay?{query}\n", context)
            return Pending(
                action=Redirect(url=f"{self.settings.gateway}/pay?{query}&{urlencode(signed)}")
            )
        answer = yield from self.ask("POST", "/payments", fields, context)
        return self.payment_outcome(answer, request.reference, request.amount)

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        target = f"/payments/{quote(query.reference, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        return self.payment_outcome(answer, query.reference, query.amount)

    def close(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        known = yield from self.query(query, context)
        if not isinstance(known, Pending):
            return known
        return (yield from self.end("close", query, context))

    def reverse(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        outcome = yield from self.end("reverse", query, context)
        if isinstance(outcome, Pending):
            return (yield from self.query(query, context))
        return outcome

    def end(self, how: str, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        """Ask for the end of a payment: ``close`` or ``reverse``."""
        target = f"/payments/{quote(query.reference, safe='')}/{how}"
        answer = yield from self.ask("POST", target, {}, context)
        return self.payment_outcome(answer, query.reference, query.amount)

    def payment_fields(self, request: PaymentRequest) -> dict[str, str]:
        """What Toy wants to know of a payment; raises InvalidInput."""
        self.check_payment(request)
        fields = {
            **self.amount_fields(request.reference, request.amount),
            "product": request.product.value,
            "subject": request.description,
            "notify_url": request.notify_url,
        }
        if request.product is Product.CODE:
            fields["auth_code"] = request.auth_code or ""
        return fields

    def check_payment(self, request: PaymentRequest) -> None:
        """Raises InvalidInput."""
        if request.product not in self.manifest.products:
            raise InvalidInput(
                "not a product of Toy", field="product", remedy="give qr, code, page"
            )
        if not self.manifest.min_minor <= request.amount.minor <= self.manifest.max_minor:
            raise InvalidInput(
                "outside Toy's limits", field="amount", remedy="see the channel's manifest"
            )
        if not _REFERENCE.fullmatch(request.reference):
            raise InvalidInput("not a number for Toy", field="reference", remedy="use 0-9, a-z")
        if request.product is Product.CODE and not _AUTH_CODE.fullmatch(request.auth_code or ""):
            raise InvalidInput("not a payment code", field="auth_code", remedy="scan it again")

    def payment_outcome(
        self, answer: Document, reference: str, amount: Money, *, notified: bool = False
    ) -> PaymentOutcome:
        """What an answer about a payment says; raises AnswerUnreadable for a foreign one."""
        status = text(answer, "status")
        if status == "system_error":
            return Unknown(reason="Toy is out of order")
        self.check_ours(answer, reference)
        match status:
            case "waiting":
                return Pending(action=self.action(answer))
            case "paid":
                self.check_amount(answer, amount)
                return Succeeded(
                    amount=money(answer),
                    channel_reference=text(answer, "number"),
                    paid_at=moment(text(answer, "time")),
                )
            case "refused":
                code = text(answer, "code")
                return Declined(code="declined", channel_code=code)
            case "closed":
                return Closed()
            case "not_found" if not notified:
                return NotFound()
            case _:
                return Unknown(reason="Toy says something new")

    def action(self, answer: Document) -> Action:
        """What the customer has to do now."""
        if "qr" in answer:
            return QrCode(content=text(answer, "qr"))
        return AwaitCustomer()

    def charge(self, request: AgreementCharge, context: Context) -> Operation[PaymentOutcome]:
        fields = self.charge_fields(request, context)
        answer = yield from self.ask("POST", "/charges", fields, context)
        return self.payment_outcome(answer, request.reference, request.amount)

    def charge_fields(self, request: AgreementCharge, _: Context) -> dict[str, str]:
        """What Toy wants to know of a charge; raises InvalidInput."""
        return {
            **self.amount_fields(request.reference, request.amount),
            "agreement": request.agreement_reference,
        }

    # Authorizations and captures

    def authorize(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        fields = self.payment_fields(request)
        if request.product not in self.manifest.authorization_products:
            raise InvalidInput("cannot be held", field="product", remedy="give qr, code")
        answer = yield from self.ask("POST", "/authorizations", fields, context)
        return self.authorization_outcome(answer, request.reference, request.amount)

    def query_authorization(
        self, query: AuthorizationQuery, context: Context
    ) -> Operation[PaymentOutcome]:
        target = f"/authorizations/{quote(query.reference, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        return self.authorization_outcome(answer, query.reference, query.amount)

    def void(self, query: AuthorizationQuery, context: Context) -> Operation[PaymentOutcome]:
        target = f"/authorizations/{quote(query.reference, safe='')}/void"
        answer = yield from self.ask("POST", target, {}, context)
        return self.authorization_outcome(answer, query.reference, query.amount)

    def authorization_outcome(
        self, answer: Document, reference: str, amount: Money
    ) -> PaymentOutcome:
        """What an answer about an authorization says: it never tells of money that was taken."""
        if answer.get("status") == "held":
            self.check_ours(answer, reference)
            self.check_amount(answer, amount)
            return Authorized(
                amount=money(answer),
                channel_reference=text(answer, "number"),
                expires_at=moment(text(answer, "held_until")),
            )
        outcome = self.payment_outcome(answer, reference, amount)
        return Unknown(reason="taken, not held") if isinstance(outcome, Succeeded) else outcome

    def capture(self, request: CaptureRequest, context: Context) -> Operation[PaymentOutcome]:
        fields = self.capture_fields(request, context)
        answer = yield from self.ask("POST", "/captures", fields, context)
        return self.payment_outcome(answer, request.reference, request.amount)

    def capture_fields(self, request: CaptureRequest, _: Context) -> dict[str, str]:
        """What Toy wants to know of a capture; raises InvalidInput."""
        return {
            **self.amount_fields(request.reference, request.amount),
            "authorization": request.authorization.reference,
        }

    def query_capture(self, query: CaptureQuery, context: Context) -> Operation[PaymentOutcome]:
        target = f"/captures/{quote(query.reference, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        return self.payment_outcome(answer, query.reference, query.amount)

    # Payers and statements

    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        query = urlencode({"app": self.settings.app, "redirect_url": redirect_url, "state": state})
        return f"{self.settings.gateway}/authorize?{query}"

    def identify(self, code: str, context: Context) -> Operation[str | None]:
        answer = yield from self.ask("POST", "/payers", {"code": code}, context)
        status = text(answer, "status")
        if status == "refused":
            return None
        if status != "paid":
            raise AnswerUnreadable("Toy does not say who pays")
        return text(answer, "payer")

    def download_statement(
        self, request: StatementRequest, context: Context
    ) -> Operation[bytes | None]:
        answer = yield from self.ask("GET", f"/statements/{request.day:%Y-%m-%d}", None, context)
        status = text(answer, "status")
        if status == "not_found":
            return None
        if status != "paid":
            raise AnswerUnreadable("Toy does not say where the statement is")
        file = yield self.request("GET", text(answer, "path"), None, context)
        if file.status != 200:
            raise AnswerUnreadable("the statement could not be fetched")
        return file.body

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        return read_statement(statement)

    # Notifications

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        if not self.notification_is_authentic(message, context):
            raise NotificationRejected
        try:
            return self.read_notification(read_document(message.body))
        except AnswerUnreadable as error:
            raise NotificationRejected(str(error)) from None

    def notification_is_authentic(self, message: HttpMessage, context: Context) -> bool:
        body = message.body.decode("latin-1")
        fresh = in_time(message.headers, context.now())
        return fresh and signed_by(self.settings.key, message.headers, body)

    def read_notification(self, told: Document) -> Notification:
        """Raises AnswerUnreadable for a message that is not ours or lacks its fields."""
        event, kind, reference = text(told, "event"), text(told, "kind"), text(told, "reference")
        if kind == "agreement":
            outcome = self.agreement_outcome(told, reference, notified=True)
            return AgreementNotification(id=event, reference=reference, outcome=outcome)
        if kind not in ("payment", "refund"):
            return OtherNotification(id=event, kind=kind)
        amount = money(told)
        if kind == "payment":
            paid = self.payment_outcome(told, reference, amount, notified=True)
            return PaymentNotification(id=event, reference=reference, outcome=paid)
        return RefundNotification(
            id=event,
            payment_reference=text(told, "payment_reference"),
            reference=reference,
            outcome=self.refund_outcome(told, reference, amount),
        )

    def acknowledge(self, *, accepted: bool) -> HttpReply:
        return HttpReply(status=200 if accepted else 400, body=b"ok" if accepted else b"no")
