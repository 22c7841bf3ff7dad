"""What the bank's channel says of agreements, which its customers call mandates."""

from collections.abc import Mapping
from typing import Any

import msgspec

from qiao.channels.requests import AgreementQuery, AgreementRequest, Context
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    NotFound,
    QrCode,
    Unknown,
)
from qiao.testing.bank_wire import PAID_AT, BankAsking


class BankAgreements(BankAsking):
    """Signing, asking and ending; a charge is a payment."""

    def sign(self, request: AgreementRequest, context: Context) -> Operation[AgreementOutcome]:
        if request.plan == "none":
            raise InvalidInput("no such plan", field="plan", remedy="give another")
        answer = yield self.ask(
            "sign", reference=request.reference, max_minor=request.rule.max_amount.minor
        )
        return mandate(request.reference, msgspec.json.decode(answer.body))

    def query_agreement(
        self, query: AgreementQuery, context: Context
    ) -> Operation[AgreementOutcome]:
        answer = yield self.ask("query_agreement", reference=query.reference)
        return mandate(query.reference, msgspec.json.decode(answer.body))

    def end_agreement(self, query: AgreementQuery, context: Context) -> Operation[AgreementOutcome]:
        answer = yield self.ask("end_agreement", reference=query.reference)
        return mandate(query.reference, msgspec.json.decode(answer.body))


def mandate(reference: str, told: Mapping[str, Any]) -> AgreementOutcome:
    match told["state"]:
        case "signed":
            return AgreementActive(channel_reference=f"bank-{reference}", signed_at=PAID_AT)
        case "waiting":
            return AgreementPending(action=QrCode(content=f"https://bank.invalid/{reference}"))
        case "ended":
            return AgreementEnded()
        case "absent":
            return NotFound()
        case _:
            return Unknown(reason="the bank says something new")
