"""What the author of a channel supplies: the account, and the other side of the wire."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import ClassVar

from qiao.channels.conformance.vocabulary import (
    Account,
    NotApplicable,
    Situation,
    StatementSample,
    Understood,
)
from qiao.channels.interface import Channel, ChannelType
from qiao.channels.requests import (
    AgreementCharge,
    AgreementRequest,
    AuthorizationQuery,
    CaptureRequest,
    ChargeRule,
    Context,
    PaymentRequest,
    Product,
    ProfitSharingRequest,
    ReceiverRequest,
    RefundRequest,
    Share,
    ShareReturnRequest,
    TransferRequest,
)
from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.domain.ids import IdKind, new_id, order_number
from qiao.domain.money import Money
from qiao.domain.outcomes import Action
from qiao.domain.periods import PeriodUnit

_nonces = itertools.count(1)


class ConformanceHarness(ABC):
    """One channel under test, and its counterpart.

    The counterpart is written from the channel's documentation and never with the adapter's code,
    so that one mistake cannot hide the other. Everything is plain bytes: no server runs.
    Whatever the wire cannot express raises NotApplicable with the reason.
    """

    channel_type: ChannelType
    gateways: Collection[str]
    """How every request's URL begins: ``https://api.example.com/``, as in the settings."""
    now: datetime = datetime(2026, 1, 15, 4, 0, tzinfo=UTC)
    """The time (UTC) at which everything happens; certificates and keys are valid then."""
    payer: str = "payer-0001"
    """An id of a payer, in the channel's form."""
    auth_code: str = "130000000000000001"
    """What a scanned payment code looks like."""
    payee: str = "payee-0001"
    receiver_type: str = "merchant"
    dispute_number: str = "200201820200101080076610000"
    """The channel's own number of a dispute."""
    receiver_relation: str = "PARTNER"
    """The channel's word for what the receiver is to the merchant."""
    receiver: str = "receiver-0001"
    plan: str | None = None
    """What an agreement is about, where the channel wants a code for it."""
    refunds_are_only_accepted: bool = False
    """Whether the answer to a refund never says that it is done: only ``query_refund`` tells."""
    examples: int = 100
    """How many random messages each promise about garbage and tampering tries."""
    notify_url: ClassVar[str] = "https://shop.example/notifications"
    return_url: ClassVar[str] = "https://shop.example/thanks"

    @abstractmethod
    def settings(self, account: Account) -> Mapping[str, object]:
        """The settings of our account or of another merchant's, as an operator would write them.

        The two differ in the merchant, and in whatever each merchant has for itself.
        """

    @abstractmethod
    def secrets(self) -> Collection[str]:
        """What of our account's settings nobody may ever see."""

    @abstractmethod
    def understand(self, sent: HttpRequest | Action) -> Understood:
        """Read what the channel sends, as the other side would, and verify it.

        An Action comes when an operation asked nothing of the channel: it leads the customer's
        browser or wallet there, with the order in it.
        """

    @abstractmethod
    def answer(self, request: HttpRequest, situation: Situation) -> HttpResponse:
        """The other side's answer to ``request``, in an operation that runs in ``situation``.

        An operation of several requests comes here for each of them.
        """

    @abstractmethod
    def payment_notification(self, situation: Situation) -> HttpMessage:
        """What the other side sends us about a payment."""

    def refund_notification(self, situation: Situation) -> HttpMessage:
        """What the other side sends us about a refund."""
        raise NotApplicable("the channel sends no notification of a refund")

    def agreement_notification(self, situation: Situation) -> HttpMessage:
        """What the other side sends us about an agreement: signed, or (END_AGREEMENT) ended."""
        raise NotApplicable("the channel sends no notification of an agreement")

    def statements(self) -> Sequence[StatementSample]:
        """Statements as the channel writes them; the first is the one that ``answer`` hands out."""
        raise NotApplicable("the channel has no statements")

    def without_declared_secrets(self, request: HttpRequest) -> HttpRequest:
        """``request`` without the fields in which the channel's wire itself wants a secret."""
        return request

    # What the channel is asked. Override one where the channel wants more, or other, words.

    def payment_request(self, product: Product, reference: str, amount: Money) -> PaymentRequest:
        in_wallet = product in (Product.MINI_PROGRAM, Product.OFFICIAL_ACCOUNT)
        return PaymentRequest(
            reference=reference,
            amount=amount,
            product=product,
            description="Tea and cake 茶点",
            notify_url=self.notify_url,
            return_url=self.return_url if product in (Product.PAGE, Product.H5) else None,
            expires_at=self.now + timedelta(minutes=30),
            payer=self.payer if in_wallet else None,
            auth_code=self.auth_code if product is Product.CODE else None,
            client_ip="203.0.113.7",
        )

    def capture_request(
        self, reference: str, authorization: AuthorizationQuery, amount: Money
    ) -> CaptureRequest:
        return CaptureRequest(
            reference=reference,
            amount=amount,
            authorization=authorization,
            description="Tea and cake 茶点",
            notify_url=self.notify_url,
        )

    def agreement_request(
        self, product: Product, reference: str, max_amount: Money
    ) -> AgreementRequest:
        return AgreementRequest(
            reference=reference,
            product=product,
            rule=ChargeRule(
                max_amount=max_amount,
                unit=PeriodUnit.MONTH,
                count=1,
                first_on=self.now.date().replace(day=20),
            ),
            display_name="member 17",
            notify_url=self.notify_url,
            plan=self.plan,
        )

    def agreement_charge(self, reference: str, amount: Money) -> AgreementCharge:
        return AgreementCharge(
            reference=reference,
            amount=amount,
            agreement_reference="20260115000000000001",
            description="Tea and cake 茶点",
            notify_url=self.notify_url,
        )

    def refund_request(
        self, reference: str, payment_reference: str, payment_amount: Money, amount: Money
    ) -> RefundRequest:
        return RefundRequest(
            reference=reference,
            payment_reference=payment_reference,
            payment_amount=payment_amount,
            amount=amount,
            reason="out of stock",
        )

    def transfer_request(self, reference: str, amount: Money) -> TransferRequest:
        return TransferRequest(
            reference=reference, amount=amount, payee=self.payee, description="prize"
        )

    def profit_sharing_request(
        self, reference: str, payment_reference: str, amount: Money
    ) -> ProfitSharingRequest:
        share = Share(
            receiver_type=self.receiver_type,
            receiver=self.receiver,
            amount=amount,
            description="commission",
        )
        return ProfitSharingRequest(
            reference=reference,
            payment_reference=payment_reference,
            payment_channel_reference="4200000000202601150000000001",
            shares=(share,),
        )

    def share_return_request(
        self, reference: str, payment_reference: str, amount: Money
    ) -> ShareReturnRequest:
        """Of a share that the receiver got."""
        sharing = self.profit_sharing_request("share000001", payment_reference, amount)
        return ShareReturnRequest(
            reference=reference,
            amount=amount,
            sharing_reference=sharing.reference,
            payment_reference=payment_reference,
            payment_channel_reference=sharing.payment_channel_reference,
            share=sharing.shares[0],
            description="returned",
        )

    def receiver_request(self, reference: str) -> ReceiverRequest:
        return ReceiverRequest(
            reference=reference,
            receiver_type=self.receiver_type,
            receiver=self.receiver,
            name="Tea house 茶园",
            relation=self.receiver_relation,
            memo="partner",
        )

    # What the suite makes of it.

    def open(self, account: Account = Account.OURS) -> Channel:
        """A channel of its own for ``account``."""
        kind = self.channel_type
        return kind.open(kind.settings.read(self.settings(account)))

    @cached_property
    def channel(self) -> Channel:
        """Our account's channel, opened once."""
        return self.open()

    def context(self, *, later_seconds: int = 0) -> Context:
        """The harness's time, and nonces that never come twice."""
        now = self.now + timedelta(seconds=later_seconds)
        return Context(now=lambda: now, nonce=lambda: f"{next(_nonces):032x}")

    def number(self, kind: IdKind, count: int = 1) -> str:
        """Our ``count``-th number of a kind, as the platform gives it to a channel."""
        return order_number(new_id(kind, now=self.now, random=count.to_bytes(10)))

    @cached_property
    def currency(self) -> str:
        """The currency of every promise that is not about currencies."""
        currencies = self.channel.manifest.currencies
        return "CNY" if "CNY" in currencies else min(currencies)

    def money(self, minor: int = 1234) -> Money:
        """``minor`` units, or the nearest amount within the channel's limits."""
        manifest = self.channel.manifest
        return Money(max(manifest.min_minor, min(minor, manifest.max_minor)), self.currency)
