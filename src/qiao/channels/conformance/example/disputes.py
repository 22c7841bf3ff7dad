"""Toy's disputes: what customers complain of, and what they are answered."""

from datetime import timedelta
from urllib.parse import quote

from qiao.channels.conformance.example.codec import Document, moment, money, text
from qiao.channels.conformance.example.wire import ToyWire
from qiao.channels.disputes import (
    Dispute,
    DisputeKind,
    DisputeQuery,
    DisputeReply,
    DisputeSpan,
    DisputeState,
)
from qiao.channels.requests import Context
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.outcomes import DisputeAnswered, DisputeAnswerRefused, DisputeOutcome, NotFound

TO_ANSWER = timedelta(days=3)


class ToyDisputes(ToyWire):
    """The verbs of the capability."""

    def list_disputes(self, span: DisputeSpan, context: Context) -> Operation[tuple[Dispute, ...]]:
        target = f"/disputes/since/{int(span.since.timestamp())}"
        answer = yield from self.ask("GET", target, None, context)
        return (_dispute(answer),)

    def query_dispute(self, query: DisputeQuery, context: Context) -> Operation[Dispute | NotFound]:
        target = f"/disputes/{quote(query.number, safe='')}"
        answer = yield from self.ask("GET", target, None, context)
        self.check_ours(answer, query.number)
        return NotFound() if text(answer, "status") == "not_found" else _dispute(answer)

    def reply_to_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        return (yield from self.say("/disputes/replies", reply, context))

    def finish_dispute(self, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        return (yield from self.say("/disputes/ends", reply, context))

    def say(self, target: str, reply: DisputeReply, context: Context) -> Operation[DisputeOutcome]:
        fields = {"reference": reply.number, "text": reply.text}
        answer = yield from self.ask("POST", target, fields, context)
        self.check_ours(answer, reply.number)
        match text(answer, "status"):
            case "paid":
                return DisputeAnswered()
            case "refused":
                return DisputeAnswerRefused(code="refused", channel_code=text(answer, "code"))
            case _:
                raise AnswerUnreadable("Toy does not say whether it took the answer")


def _dispute(answer: Document) -> Dispute:
    if text(answer, "status") != "paid":
        raise AnswerUnreadable("Toy says something new of a dispute")
    opened_at = moment(text(answer, "time"))
    return Dispute(
        number=text(answer, "reference"),
        kind=DisputeKind.COMPLAINT,
        state=DisputeState.NEEDS_RESPONSE,
        amount=money(answer),
        reason="quality",
        opened_at=opened_at,
        due_by=opened_at + TO_ANSWER,
        payment_reference=text(answer, "payment_reference"),
    )
