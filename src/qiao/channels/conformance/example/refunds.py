"""Toy's refunds and transfers: money that goes out, and what became of it."""

from collections.abc import Mapping
from urllib.parse import quote

from qiao.channels.conformance.example.codec import Document, money, text
from qiao.channels.conformance.example.wire import ToyWire
from qiao.channels.requests import (
    Context,
    RefundQuery,
    RefundRequest,
    TransferQuery,
    TransferRequest,
)
from qiao.channels.wire import Operation
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    NotFound,
    Refunded,
    RefundOutcome,
    RefundPending,
    RefundRefused,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
    Unknown,
)


class ToyRefunds(ToyWire):
    """The verbs about refunds and transfers; profit sharing stands on ``move`` too."""

    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        fields = self.refund_fields(request, context)
        answer = yield from self.ask("POST", "/refunds", fields, context)
        return self.refund_outcome(answer, request.reference, request.amount)

    def refund_fields(self, request: RefundRequest, _: Context) -> dict[str, str]:
        """What Toy wants to know of a refund; raises InvalidInput."""
        return {
            **self.amount_fields(request.reference, request.amount),
            "payment_reference": request.payment_reference,
            "reason": request.reason or "",
        }

    def query_refund(self, query: RefundQuery, context: Context) -> Operation[RefundOutcome]:
        target = f"/refunds/{quote(query.reference, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        return self.refund_outcome(answer, query.reference, query.amount)

    def refund_outcome(self, answer: Document, reference: str, amount: Money) -> RefundOutcome:
        """What an answer about a refund says; raises AnswerUnreadable for a foreign one."""
        status = text(answer, "status")
        if status == "system_error":
            return Unknown(reason="Toy is out of order")
        self.check_ours(answer, reference)
        match status:
            case "waiting":
                return RefundPending()
            case "paid":
                self.check_amount(answer, amount)
                return Refunded(amount=money(answer), channel_reference=text(answer, "number"))
            case "refused":
                return RefundRefused(code="refused", channel_code=text(answer, "code"))
            case "not_found":
                return NotFound()
            case _:
                return Unknown(reason="Toy says something new")

    def transfer(self, request: TransferRequest, context: Context) -> Operation[TransferOutcome]:
        fields = {
            **self.amount_fields(request.reference, request.amount),
            "payee": request.payee,
        }
        return (
            yield from self.move("/transfers", fields, request.reference, request.amount, context)
        )

    def query_transfer(self, query: TransferQuery, context: Context) -> Operation[TransferOutcome]:
        target = f"/transfers/{quote(query.reference, safe='')}"
        return (yield from self.move(target, None, query.reference, query.amount, context))

    def move(
        self,
        target: str,
        fields: Mapping[str, str] | None,
        reference: str,
        amount: Money,
        context: Context,
    ) -> Operation[TransferOutcome]:
        """Send money away (or, without ``fields``, ask whether it went)."""
        answer = yield from self.ask("GET" if fields is None else "POST", target, fields, context)
        outcome = self.refund_outcome(answer, reference, amount)
        match outcome:
            case Refunded():
                return Transferred(amount=outcome.amount, channel_reference=text(answer, "number"))
            case RefundPending():
                return TransferPending()
            case RefundRefused():
                return TransferRefused(code="refused", channel_code=outcome.channel_code)
            case _:
                return outcome
