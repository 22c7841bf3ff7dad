"""What the bank's channel says of shares and disputes, and how it asks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from qiao.channels.disputes import (
    Dispute,
    DisputeKind,
    DisputeQuery,
    DisputeReply,
    DisputeSpan,
    DisputeState,
)
from qiao.channels.requests import (
    Context,
    ProfitSharingQuery,
    ProfitSharingRequest,
    ReceiverRequest,
    ShareReturnQuery,
    ShareReturnRequest,
)
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    BindingOutcome,
    BindingRefused,
    Bound,
    DisputeAnswered,
    DisputeAnswerRefused,
    DisputeOutcome,
    NotFound,
    PartlyShared,
    ShareResult,
    SharingOutcome,
    TransferOutcome,
    TransferPending,
    Transferred,
    TransferRefused,
    Unbound,
    Unknown,
)

PAID_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class BankAsking:
    """How the bank is asked: at the branch where the account is."""

    branch: str

    def ask(self, verb: str, **document: object) -> HttpRequest:
        return HttpRequest(
            method="POST",
            url=f"https://bank.invalid/{self.branch}/{verb}",
            body=msgspec.json.encode(document),
            effect=not verb.startswith("query"),
        )


class BankSharing(BankAsking):
    """Profit sharing at the bank."""

    def share_profit(
        self, request: ProfitSharingRequest, context: Context
    ) -> Operation[SharingOutcome]:
        answer = yield self.ask(
            "share",
            reference=request.reference,
            payment=request.payment_reference,
            shares=[[one.receiver, one.amount.minor] for one in request.shares],
            finish=request.finish,
        )
        return _sharing(request.reference, msgspec.json.decode(answer.body))

    def query_profit_sharing(
        self, query: ProfitSharingQuery, context: Context
    ) -> Operation[SharingOutcome]:
        answer = yield self.ask(
            "query_share", reference=query.reference, payment=query.payment_reference
        )
        return _sharing(query.reference, msgspec.json.decode(answer.body))

    def return_share(
        self, request: ShareReturnRequest, context: Context
    ) -> Operation[TransferOutcome]:
        answer = yield self.ask(
            "return_share",
            reference=request.reference,
            payment=request.payment_reference,
            sharing=request.sharing_reference,
            receiver=request.share.receiver,
            amount=request.amount.minor,
        )
        return transferred(request.reference, request.amount, msgspec.json.decode(answer.body))

    def query_share_return(
        self, query: ShareReturnQuery, context: Context
    ) -> Operation[TransferOutcome]:
        answer = yield self.ask(
            "query_return", reference=query.reference, payment=query.payment_reference
        )
        return transferred(query.reference, query.amount, msgspec.json.decode(answer.body))

    def bind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        if request.receiver_type != "person":
            raise InvalidInput("not a kind", field="receiver_type", remedy="give: person")
        return _binding((yield self.ask("bind", receiver=request.receiver)))

    def unbind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        return _binding((yield self.ask("unbind", receiver=request.receiver)))


class BankDisputes(BankAsking):
    """Disputes at the bank: complaints, and chargebacks that take the money first."""

    def list_disputes(self, span: DisputeSpan, context: Context) -> Operation[tuple[Dispute, ...]]:
        answer = yield self.ask("query_disputes", since=span.since.timestamp())
        return tuple(_dispute(one) for one in msgspec.json.decode(answer.body))

    def query_dispute(self, query: DisputeQuery, context: Context) -> Operation[Dispute | NotFound]:
        answer = yield self.ask("query_dispute", number=query.number)
        told = msgspec.json.decode(answer.body)
        return _dispute(told, phone=told["phone"]) if told else NotFound()

    def reply_to_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        return _taken((yield self.ask("reply", number=reply.number, text=reply.text)))

    def finish_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        return _taken((yield self.ask("finish", number=reply.number, text=reply.text)))


def _taken(answer: HttpResponse) -> DisputeOutcome:
    if msgspec.json.decode(answer.body)["state"] == "taken":
        return DisputeAnswered()
    return DisputeAnswerRefused(code="dispute_not_open", channel_code="NO")


def _dispute(told: Mapping[str, Any], *, phone: str | None = None) -> Dispute:
    due = told["due_by"]
    return Dispute(
        number=told["number"],
        kind=DisputeKind(told["kind"]),
        state=DisputeState(told["state"]),
        amount=Money(told["amount"], "CNY"),
        reason="quality",
        opened_at=datetime.fromtimestamp(told["opened_at"], UTC),
        due_by=None if due is None else datetime.fromtimestamp(due, UTC),
        payment_reference=told["payment"],
        withdrawn=Money(told["withdrawn"], "CNY") if told["withdrawn"] else None,
        text=told["text"],
        phone=phone,
    )


def transferred(reference: str, amount: Money, told: Mapping[str, Any]) -> TransferOutcome:
    if "amount" in told and told["amount"] != amount.minor:
        return Unknown(reason="the bank tells another amount")
    match told["state"]:
        case "paid":
            return Transferred(
                amount=amount, channel_reference=f"bank-{reference}", transferred_at=PAID_AT
            )
        case "waiting":
            return TransferPending(channel_reference=f"bank-{reference}")
        case "refused" | "returned":
            return TransferRefused(code="refused", channel_code="NO", channel_message="not there")
        case "absent":
            return NotFound()
        case _:
            return Unknown(reason="the bank says something new")


def _sharing(reference: str, told: Mapping[str, Any]) -> SharingOutcome:
    """Each receiver by itself, as the bank tells them."""
    if told["state"] != "shared":
        return transferred(reference, Money(0, "CNY"), told)
    got = [(amount, state) for _, amount, state in told["shares"]]
    if any(state == "waiting" for _, state in got):
        return TransferPending(channel_reference=f"bank-{reference}")
    amount = Money(sum(minor for minor, state in got if state == "paid"), "CNY")
    results = tuple(
        ShareResult(arrived=state == "paid", channel_code="" if state == "paid" else "GONE")
        for _, state in got
    )
    if got and not amount.minor:
        return TransferRefused(code="declined", channel_code="GONE")
    if all(one.arrived for one in results):
        return Transferred(
            amount=amount, channel_reference=f"bank-{reference}", transferred_at=PAID_AT
        )
    return PartlyShared(
        amount=amount,
        results=results,
        channel_reference=f"bank-{reference}",
        transferred_at=PAID_AT,
    )


def _binding(answer: HttpResponse) -> BindingOutcome:
    match msgspec.json.decode(answer.body)["state"]:
        case "bound":
            return Bound()
        case "unbound":
            return Unbound()
        case _:
            return BindingRefused(code="payee_not_allowed", channel_code="NO")
