"""Toy's agreements: signed by a QR code, asked about, and ended."""

from urllib.parse import quote

from qiao.channels.conformance.example.codec import Document, moment, text
from qiao.channels.conformance.example.wire import ToyWire
from qiao.channels.requests import AgreementQuery, AgreementRequest, Context
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    AgreementRefused,
    NotFound,
    QrCode,
    Unknown,
)


class ToyAgreements(ToyWire):
    """The verbs about an agreement itself; a charge by one is a payment."""

    def sign(self, request: AgreementRequest, context: Context) -> Operation[AgreementOutcome]:
        if request.product not in self.manifest.agreement_products:
            raise InvalidInput("cannot be signed by it", field="product", remedy="give qr")
        fields = self.amount_fields(request.reference, request.rule.max_amount)
        answer = yield from self.ask("POST", "/agreements", fields, context)
        return self.agreement_outcome(answer, request.reference)

    def query_agreement(
        self, query: AgreementQuery, context: Context
    ) -> Operation[AgreementOutcome]:
        target = f"/agreements/{quote(query.reference, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        return self.agreement_outcome(answer, query.reference)

    def end_agreement(self, query: AgreementQuery, context: Context) -> Operation[AgreementOutcome]:
        target = f"/agreements/{quote(query.reference, safe='')}/end"
        answer = yield from self.ask("POST", target, {}, context)
        return self.agreement_outcome(answer, query.reference)

    def agreement_outcome(
        self, answer: Document, reference: str, *, notified: bool = False
    ) -> AgreementOutcome:
        """What an answer about an agreement says; raises AnswerUnreadable for a foreign one."""
        status = text(answer, "status")
        if status == "system_error":
            return Unknown(reason="Toy is out of order")
        self.check_ours(answer, reference)
        match status:
            case "waiting":
                action = QrCode(content=text(answer, "qr")) if "qr" in answer else None
                return AgreementPending(action=action)
            case "signed":
                return AgreementActive(
                    channel_reference=text(answer, "number"),
                    signed_at=moment(text(answer, "time")),
                )
            case "refused":
                return AgreementRefused(code="refused", channel_code=text(answer, "code"))
            case "ended":
                return AgreementEnded(ended_at=moment(text(answer, "time")))
            case "not_found" if not notified:
                return NotFound()
            case _:
                return Unknown(reason="Toy says something new")
