"""Toy's profit sharing: shares, their returns, and who may get them."""

from urllib.parse import quote

from qiao.channels.conformance.example.codec import text
from qiao.channels.conformance.example.refunds import ToyRefunds
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


class ToySharing(ToyRefunds):
    """The verbs of the three capabilities."""

    def share_profit(
        self, request: ProfitSharingRequest, context: Context
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
        self, query: ProfitSharingQuery, context: Context
    ) -> Operation[SharingOutcome]:
        target = f"/sharings/{quote(query.reference, safe='')}"
        return (yield from self.move(target, None, query.reference, query.amount, context))

    def return_share(
        self, request: ShareReturnRequest, context: Context
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
        self, query: ShareReturnQuery, context: Context
    ) -> Operation[TransferOutcome]:
        target = f"/returns/{quote(query.reference, safe='')}"
        return (yield from self.move(target, None, query.reference, query.amount, context))

    def bind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        return (yield from self.binding("/receivers", request, Bound(), context))

    def unbind_receiver(
        self, request: ReceiverRequest, context: Context
    ) -> Operation[BindingOutcome]:
        return (yield from self.binding("/receivers/removed", request, Unbound(), context))

    def binding(
        self, target: str, request: ReceiverRequest, done: BindingOutcome, context: Context
    ) -> Operation[BindingOutcome]:
        fields = {"reference": request.reference, "receiver": request.receiver}
        answer = yield from self.ask("POST", target, fields, context)
        self.check_ours(answer, request.reference)
        match text(answer, "status"):
            case "paid":
                return done
            case "refused":
                return BindingRefused(code="refused", channel_code=text(answer, "code"))
            case _:
                raise AnswerUnreadable("Toy does not say whether the receiver is bound")
