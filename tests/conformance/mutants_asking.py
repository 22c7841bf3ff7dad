"""Toys that ask wrongly, tell secrets or misread statements: one for each of those promises."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qiao.channels.conformance.example import MANIFEST, ToyChannel, ToySettings
from qiao.channels.conformance.example.codec import Document
from qiao.channels.interface import Capability, StatementEntry
from qiao.channels.requests import (
    AgreementCharge,
    CaptureRequest,
    Context,
    PaymentQuery,
    PaymentRequest,
    Product,
    RefundRequest,
    StatementRequest,
)
from qiao.channels.settings import Settings
from qiao.channels.wire import HttpRequest, HttpResponse, Operation
from qiao.domain.errors import AnswerForged, AnswerUnreadable, InvalidInput, InvalidSettings
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    Closed,
    PaymentOutcome,
    Pending,
    RefundOutcome,
    RefundPending,
    RefundRefused,
    TransferOutcome,
)


class HasNoChineseName(ToyChannel):
    manifest = replace(MANIFEST, name={"en": "Toy"})


class HoldsNothing(ToyChannel):
    manifest = replace(MANIFEST, authorization_products=frozenset())


class HidesTransfers(ToyChannel):
    manifest = replace(MANIFEST, capabilities=frozenset(Capability) - {Capability.TRANSFERS})


class BoastsOfTransfers(ToyChannel):
    query_transfer = None  # type: ignore[assignment]  # the verb is missing


class OffersWhatItCloses(ToyChannel):
    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        outcome = yield from super().create(request, context)
        qr = request.product is Product.QR and isinstance(outcome, Pending)
        return Closed() if qr else outcome


class TakesAnyProduct(ToyChannel):
    def check_payment(self, request: PaymentRequest) -> None:
        product = request.product if request.product in MANIFEST.products else Product.QR
        super().check_payment(replace(request, product=product))


class TakesAnyCurrency(ToyChannel):
    def check_currency(self, amount: Money) -> None:
        pass


class TakesAnyAmount(ToyChannel):
    def check_payment(self, request: PaymentRequest) -> None:
        super().check_payment(replace(request, amount=Money(1, request.amount.currency)))


class ThinksEveryCurrencyHasCents(ToyChannel):
    def amount_fields(self, reference: str, amount: Money) -> dict[str, str]:
        cents = Money(amount.minor, "CNY").to_major()
        return {**super().amount_fields(reference, amount), "amount": cents}


class DeclaresNoEffect(ToyChannel):
    """Reversing seems a mere question."""

    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        request = super().request(method, target, fields, context)
        return replace(request, effect=False) if target.endswith("/reverse") else request


class CannotBeGivenUp(ToyChannel):
    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        try:
            return (yield from super().query(query, context))
        except GeneratorExit:
            raise RuntimeError("cannot stop now") from None


class RemembersTimeOuts(ToyChannel):
    """Takes a payment whose answer was lost for one that never was."""

    def __init__(self, settings: ToySettings) -> None:
        super().__init__(settings)
        self.lost: set[str] = set()

    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        try:
            return (yield from super().create(request, context))
        except GeneratorExit:
            self.lost.add(request.reference)
            raise

    def query(self, query: PaymentQuery, context: Context) -> Operation[PaymentOutcome]:
        if query.reference in self.lost:
            return Closed()
        return (yield from super().query(query, context))


class TriesAgain(ToyChannel):
    def ask(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> Operation[Document]:
        answer = yield from super().ask(method, target, fields, context)
        if answer.get("status") == "system_error":
            return (yield from super().ask(method, target, fields, context))
        return answer


class RefusedRefundIsPending(ToyChannel):
    def refund(self, request: RefundRequest, context: Context) -> Operation[RefundOutcome]:
        outcome = yield from super().refund(request, context)
        return RefundPending() if isinstance(outcome, RefundRefused) else outcome


class NumbersPaymentsAnew(ToyChannel):
    counter = itertools.count(1)

    def payment_fields(self, request: PaymentRequest) -> dict[str, str]:
        number = f"{request.reference[:20]}{next(self.counter):08d}"
        return {**super().payment_fields(request), "reference": number}


class NumbersRefundsAnew(ToyChannel):
    def refund_fields(self, request: RefundRequest, context: Context) -> dict[str, str]:
        return {**super().refund_fields(request, context), "reference": context.nonce()}


class NumbersRefundsByTheHour(ToyChannel):
    def refund_fields(self, request: RefundRequest, context: Context) -> dict[str, str]:
        number = f"{request.reference}{context.now():%H}"
        return {**super().refund_fields(request, context), "reference": number}


class NumbersCapturesAnew(ToyChannel):
    def capture_fields(self, request: CaptureRequest, context: Context) -> dict[str, str]:
        return {**super().capture_fields(request, context), "reference": context.nonce()}


class NumbersChargesAnew(ToyChannel):
    def charge_fields(self, request: AgreementCharge, context: Context) -> dict[str, str]:
        return {**super().charge_fields(request, context), "reference": context.nonce()}


class SignsNothing(ToyChannel):
    manifest = replace(MANIFEST, agreement_products=frozenset())


class NumbersTransfersAnew(ToyChannel):
    def move(
        self,
        target: str,
        fields: Mapping[str, str] | None,
        reference: str,
        amount: Money,
        context: Context,
    ) -> Operation[TransferOutcome]:
        anew = None if fields is None else {**fields, "reference": context.nonce()}
        return (yield from super().move(target, anew, reference, amount, context))


class CutsNumbersShort(ToyChannel):
    def payment_fields(self, request: PaymentRequest) -> dict[str, str]:
        return {**super().payment_fields(request), "reference": request.reference[:16]}


class RefundsElsewhere(ToyChannel):
    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        request = super().request(method, target, fields, context)
        if not target.startswith("/refunds"):
            return request
        return replace(request, url=f"https://toy-backup.example{target}")


class SignsAnotherRequest(ToyChannel):
    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        other = super().request(method, f"{target}/", fields, context)
        return replace(super().request(method, target, fields, context), headers=other.headers)


class PutsTextIntoAHeader(ToyChannel):
    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        request = super().request(method, target, fields, context)
        subject = (fields or {}).get("subject", "")
        return replace(request, headers={**request.headers, "x-toy-subject": subject})


class ComplainsTooLate(ToyChannel):
    def create(self, request: PaymentRequest, context: Context) -> Operation[PaymentOutcome]:
        outcome = yield from super().create(request, context)
        if "\r" in request.description and request.product is not Product.PAGE:
            raise InvalidInput("two lines", field="description", remedy="write one line")
        return outcome


class ForgetsTheState(ToyChannel):
    def authorization_url(self, *, redirect_url: str, state: str) -> str:
        return super().authorization_url(redirect_url=redirect_url, state="")


class OpenSettings(Settings, frozen=True):
    gateway: str
    merchant: str
    app: str
    key: str


class ShowsItsKey(ToyChannel):
    settings_type: Any = OpenSettings


class ShowsAWrongKey(ToyChannel):
    def __init__(self, settings: ToySettings) -> None:
        if len(settings.key) != 32:
            raise InvalidSettings(
                f"{settings.key} is not a key", field="settings.key", remedy="copy the whole key"
            )
        super().__init__(settings)


class CrashesOnAWrongKey(ToyChannel):
    def __init__(self, settings: ToySettings) -> None:
        if len(settings.key) != 32:
            raise ValueError("wrong key")
        super().__init__(settings)


class SendsItsKey(ToyChannel):
    def request(
        self, method: str, target: str, fields: Mapping[str, str] | None, context: Context
    ) -> HttpRequest:
        request = super().request(method, target, fields, context)
        return replace(request, headers={**request.headers, "x-toy-key": self.settings.key})


class TellsItsKey(ToyChannel):
    def read_answer(self, response: HttpResponse, context: Context) -> Document:
        try:
            return super().read_answer(response, context)
        except AnswerForged:
            raise AnswerForged(f"not signed with {self.settings.key}") from None


class LosesSignsOfFees(ToyChannel):
    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        entries = super().parse_statement(statement)
        return [replace(entry, fee_minor=abs(entry.fee_minor)) for entry in entries]


class ReadsWhatIsLeft(ToyChannel):
    """Passes over a statement's total, and believes whatever lines there are."""

    def parse_statement(self, statement: bytes) -> Sequence[StatementEntry]:
        head, *lines = statement.split(b"\n")
        for left in range(len(lines), 0, -1):
            for count, total in itertools.product(range(4), (0, 1234, 2434, 1434, 1400, 2634)):
                whole = b"\n".join([head, *lines[:left], f"total,{count},{total}".encode(), b""])
                try:
                    return super().parse_statement(whole)
                except AnswerUnreadable:
                    continue
        return super().parse_statement(statement)


class TrimsTheStatement(ToyChannel):
    def download_statement(
        self, request: StatementRequest, context: Context
    ) -> Operation[bytes | None]:
        content = yield from super().download_statement(request, context)
        return content.strip() if content else content


MUTANTS: list[tuple[str, type[ToyChannel]]] = [
    ("manifest_is_complete", HasNoChineseName),
    ("manifest_is_complete", HoldsNothing),
    ("manifest_is_complete", SignsNothing),
    ("capabilities_match_verbs", HidesTransfers),
    ("capabilities_match_verbs", BoastsOfTransfers),
    ("declared_products_work", OffersWhatItCloses),
    ("other_products_are_refused", TakesAnyProduct),
    ("other_currencies_are_refused", TakesAnyCurrency),
    ("limits_are_enforced", TakesAnyAmount),
    ("amounts_arrive_exactly", ThinksEveryCurrencyHasCents),
    ("connection_failures_are_told_apart", DeclaresNoEffect),
    ("lost_answers_end_the_operation", CannotBeGivenUp),
    ("time_outs_can_be_resolved", RemembersTimeOuts),
    ("effects_are_sent_once", TriesAgain),
    ("refused_refunds_are_refusals", RefusedRefundIsPending),
    ("payment_numbers_are_stable", NumbersPaymentsAnew),
    ("refund_numbers_are_stable", NumbersRefundsAnew),
    ("refund_numbers_are_stable", NumbersRefundsByTheHour),
    ("capture_numbers_are_stable", NumbersCapturesAnew),
    ("charge_numbers_are_stable", NumbersChargesAnew),
    ("transfer_numbers_are_stable", NumbersTransfersAnew),
    ("numbers_are_kept_apart", CutsNumbersShort),
    ("requests_stay_at_the_gateway", RefundsElsewhere),
    ("requests_are_authentic", SignsAnotherRequest),
    ("requests_are_well_formed", PutsTextIntoAHeader),
    ("input_errors_come_first", ComplainsTooLate),
    ("authorization_url_leads_back", ForgetsTheState),
    ("settings_show_no_secret", ShowsItsKey),
    ("settings_errors_show_no_secret", ShowsAWrongKey),
    ("settings_errors_show_no_secret", CrashesOnAWrongKey),
    ("requests_carry_no_secret", SendsItsKey),
    ("outcomes_show_no_secret", TellsItsKey),
    ("statements_are_read_exactly", LosesSignsOfFees),
    ("damaged_statements_are_unreadable", ReadsWhatIsLeft),
    ("statements_are_downloaded", TrimsTheStatement),
]
"""The promise, and a channel that breaks it and no other."""
