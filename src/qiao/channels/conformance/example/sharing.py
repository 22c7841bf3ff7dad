"""Toy's profit sharing: shares, their returns, and who may get them."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from qiao.channels.conformance.example.codec import Document, text
from qiao.channels.requests import (
    Context,
    ProfitSharingQuery,
    ProfitSharingRequest,
    ReceiverRequest,
    ShareReturnQuery,
    ShareReturnRequest,
)
from qiao.channels.wire import Operation
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    BindingOutcome,
    BindingRefused,
    Bound,
    SharingOutcome,
    TransferOutcome,
    Unbound,
)


class Wire(Protocol):
    """What of it is the same for all money that goes out: :class:`.ToyChannel` has it."""

    def move(
        self,
        target: str,
        fields: Mapping[str, str] | None,
        reference: str,
        amount: Money,
        context: Context,
    ) -> Operation[TransferOutcome]: ...

    def ask(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> Operation[Document]: ...

    def amount_fields(self, reference: str, amount: Money) -> dict[str, str]: ...

    def check_ours(self, answer: Document, reference: str) -> None: ...


class ToySharing:
    """The verbs of the three capabilities, for the channel to have."""

    def share_profit(
        self: Wire, request: ProfitSharingRequest, context: Context
    ) -> Operation[SharingOutcome]:
        total = Money(
            sum(s.amount.minor for s in request.shares), request.shares[0].amount.currency
        )
        fields = {
            **self.amount_fields(request.reference, total),
            "payment_reference": request.payment_reference,
            "receivers": ",".join(f"{s.receiver}:{s.amount.minor}" for s in request.shares),
        }
        return (yield from self.move("/sharings", fields, request.reference, total, context))

    def query_profit_sharing(
        self: Wire, query: ProfitSharingQuery, context: Context
    ) -> Operation[SharingOutcome]:
        target = f"/sharings/{quote(query.reference, safe='')}"
        return (yield from self.move(target, None, query.reference, query.amount, context))

    def return_share(
        self: Wire, request: ShareReturnRequest, context: Context
    ) -> Operation[TransferOutcome]:
        fields = {
            **self.amount_fields(request.reference, request.amount),
            "sharing": request.sharing_reference,
            "receiver": request.share.receiver,
        }
        return (
            yield from self.move("/returns", fields, request.reference, request.amount, context)
        )

    def query_share_return(
        self: Wire, query: ShareReturnQuery, context: Context
    ) -> Operation[TransferOutcome]:
        target = f"/returns/{quote(query.reference, safe='')}"
        return (yield from self.move(target, None, query.reference, query.amount, context))

    def bind_receiver(
        self: Wire, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        return (yield from _binding(self, "/receivers", request, Bound(), context))

    def unbind_receiver(
        self: Wire, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        return (yield from _binding(self, "/receivers/removed", request, Unbound(), context))


def _binding(
    wire: Wire, target: str, request: ReceiverRequest, done: BindingOutcome, context: Context
) -> Operation[BindingOutcome]:
    fields = {"reference": request.reference, "receiver": request.receiver}
    answer = yield from wire.ask("POST", target, fields, context)
    wire.check_ours(answer, request.reference)
    match text(answer, "status"):
        case "paid":
            return done
        case "refused":
            return BindingRefused(code="refused", channel_code=text(answer, "code"))
        case _:
            raise AnswerUnreadable("Toy does not say whether the receiver is bound")
