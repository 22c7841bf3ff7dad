"""What the bank in memory knows: the truth about money, with which a test compares the books."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from qiao.channels.wire import HttpMessage, HttpRequest, HttpResponse
from qiao.crypto.keyed_digest import hmac_sha256

DECLINED_CODE = "000000"
"""The payment code that the bank declines."""
REFUSED_PAYEE = "nobody"
"""The payee to whom the bank pays nothing."""
SLOW_PAYEE = "slow"
"""The payee who is paid when ``Bank.arrive`` says so."""


@dataclass
class Order:
    """A payment as the bank knows it."""

    amount: int
    product: str
    notify_url: str
    state: str = "waiting"
    hold: bool = False
    """Whether the amount is only held when the customer pays."""
    capture: tuple[str, int] | None = None
    """The capture's number, and what it took."""
    refunds: dict[str, int] = field(default_factory=dict)
    shares: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Of each sharing who gets how much, and whether it is waiting, paid or gone."""
    returns: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Of each return whose share it was, and how much came back."""
    finished: bool = False

    @property
    def taken(self) -> int:
        return self.capture[1] if self.capture else self.amount

    @property
    def left(self) -> int:
        return self.taken - sum(self.refunds.values()) - self.shared

    @property
    def shared(self) -> int:
        """What receivers have, or are about to get."""
        parts = [part for sharing in self.shares.values() for part in sharing]
        given: int = sum(amount for _, amount, state in parts if state != "gone")
        return given - sum(amount for _, amount in self.returns.values())


@dataclass
class Payout:
    """Money that the bank paid out, or is about to."""

    amount: int
    payee: str
    state: str
    sendings: int = 1


@dataclass
class Mandate:
    """An agreement as the bank knows it."""

    max_minor: int
    state: str = "waiting"
    charges: list[str] = field(default_factory=list)
    """The number of every charge that took money."""


@dataclass
class Bank:
    """The truth about money. ``pay`` is what a customer does, even after closing."""

    key: str = "bank's key"
    orders: dict[str, Order] = field(default_factory=dict)
    payouts: dict[str, Payout] = field(default_factory=dict)
    mandates: dict[str, Mandate] = field(default_factory=dict)
    poor: bool = False
    """Whether customers have no money for charges."""
    declines: str = "poor"
    """Why a charge is declined where there is no money."""
    told: int = 0
    hidden: set[str] = field(default_factory=set)
    """The numbers of what the bank did and does not show yet."""
    refuses: bool = False
    """From now on it refuses what it is told; and shows all that was hidden."""
    disputes: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)
    """Which disputes were answered, and how."""
    receivers: set[str] = field(default_factory=set)
    """Who is bound, and may get shares."""
    slow: bool = True
    """Whether the slow payee is waited for."""
    declining: dict[str, str] = field(default_factory=dict)
    """Branches that decline every new payment, each with the code that it gives."""

    def pay(self, reference: str) -> None:
        order = self.orders[reference]
        if order.capture is None:
            order.state = "held" if order.hold else "paid"

    def sign_mandate(self, reference: str) -> None:
        """What a customer does."""
        if self.mandates[reference].state == "waiting":
            self.mandates[reference].state = "signed"

    def end_mandate(self, reference: str) -> None:
        self.mandates[reference].state = "ended"

    def mandate_notice(self, reference: str, state: str | None = None) -> HttpMessage:
        told = state or self.mandates[reference].state
        return self._notice({"about": "mandate", "reference": reference, "state": told})

    def order_of(self, number: str) -> Order:
        """By its own number, or that of its capture. Raises LookupError."""
        for reference, order in self.orders.items():
            if number == reference or (order.capture and number == order.capture[0]):
                return order
        raise LookupError(number)

    def let_go(self, reference: str) -> None:
        """The hold's time is over."""
        order = self.orders[reference]
        if order.state == "held":
            order.state = "closed"

    def arrive(self, reference: str, state: str = "paid") -> None:
        """What was on its way to a payee has arrived, or is ``returned``."""
        payout = self.payouts[reference]
        if payout.state == "waiting":
            payout.state = state

    def deliver_shares(self) -> None:
        """Whoever waited for a share has it."""
        for order in self.orders.values():
            for part in (part for sharing in order.shares.values() for part in sharing):
                part[2] = "paid" if part[2] == "waiting" else part[2]

    def dispute(self, number: str, **changes: Any) -> HttpMessage:
        """A customer disputes, or a dispute goes on; what the bank writes about it."""
        values = {
            "number": number,
            "kind": "complaint",
            "state": "needs_response",
            "amount": 0,
            "withdrawn": 0,
            "payment": None,
            "due_by": None,
            "opened_at": 1_767_323_045,
            "text": "broken",
            "phone": "13800138000",
        }
        self.disputes[number] = {**values, **self.disputes.get(number, {}), **changes}
        return self._notice({"about": "dispute", "number": number})

    def payment_notice(self, reference: str) -> HttpMessage:
        order = self.orders[reference]
        if order.capture:
            number, amount = order.capture
            told = {"about": "payment", "reference": number, "state": "paid", "amount": amount}
            return self._notice({**told, "product": order.product})
        return self._notice({"about": "payment", "reference": reference, **_view(order)})

    def refund_notice(self, reference: str) -> HttpMessage:
        for payment_reference, order in self.orders.items():
            if reference in order.refunds:
                if order.capture:
                    payment_reference = order.capture[0]
                about = {"about": "refund", "reference": reference}
                amount = order.refunds[reference]
                return self._notice({**about, "payment": payment_reference, "amount": amount})
        raise LookupError(reference)

    def _notice(self, document: dict[str, Any]) -> HttpMessage:
        self.told += 1
        body = msgspec.json.encode({"id": f"n{self.told}", **document})
        signature = hmac_sha256(self.key.encode(), body).hex()
        return HttpMessage(method="POST", target="/", headers={"signature": signature}, body=body)

    def answer(self, request: HttpRequest) -> HttpResponse:
        asked = msgspec.json.decode(request.body)
        branch, verb = request.url.split("/")[-2:]
        if verb in ("create", "authorize") and branch in self.declining:
            declined = {"state": "declined", "code": self.declining[branch]}
            return HttpResponse(status=200, body=msgspec.json.encode(declined))
        answered = getattr(self, f"_{verb}")(**asked)
        return HttpResponse(status=200, body=msgspec.json.encode(answered))

    def _create(
        self, reference: str, amount: int, product: str, auth_code: str | None, notify_url: str
    ) -> dict[str, Any]:
        if auth_code == DECLINED_CODE:
            return {"state": "declined"}
        order = self.orders.get(reference)
        if order is None:
            order = Order(amount=amount, product=product, notify_url=notify_url)
            order.state = "paid" if auth_code else "waiting"
            self.orders[reference] = order
        return _view(order)

    def _query(self, reference: str) -> dict[str, Any]:
        order = self.orders.get(reference)
        return {"state": "absent"} if order is None else _view(order)

    def _close(self, reference: str) -> dict[str, Any]:
        order = self.orders.get(reference)
        if order is None:
            return {"state": "absent"}
        if order.state == "waiting":
            order.state = "closed"
        return _view(order)

    def _authorize(self, **asked: Any) -> dict[str, Any]:
        known = asked["reference"] in self.orders
        told = self._create(**asked)
        order = self.orders.get(asked["reference"])
        if order is not None and not known:
            order.hold = True
            order.state = "held" if order.state == "paid" else order.state
        return told if order is None else _view(order)

    def _void(self, reference: str) -> dict[str, Any]:
        order = self.orders.get(reference)
        if order is None:
            return {"state": "absent"}
        if order.state in ("waiting", "held"):
            order.state = "closed"
        return _view(order)

    def _capture(self, reference: str, authorization: str, amount: int) -> dict[str, Any]:
        order = self.orders.get(authorization)
        if order is None or self._refusing():
            return {"state": "declined"}
        if order.capture is None and order.state == "held" and amount <= order.amount:
            order.capture, order.state = (reference, amount), "paid"
        return self._query_capture(reference, authorization, refused="declined")

    def _query_capture(
        self, reference: str, authorization: str, *, refused: str = "absent"
    ) -> dict[str, Any]:
        order = self.orders.get(authorization)
        if order is None or order.capture is None or order.capture[0] != reference:
            return {"state": refused}
        if reference in self.hidden:
            return {"state": "absent"}
        return {"state": "paid", "amount": order.capture[1], "product": order.product}

    def _transfer(self, reference: str, payee: str, amount: int) -> dict[str, Any]:
        if payee == REFUSED_PAYEE or self._refusing():
            return {"state": "refused"}
        payout = self.payouts.get(reference)
        if payout is None:
            state = "waiting" if payee == SLOW_PAYEE and self.slow else "paid"
            payout = self.payouts[reference] = Payout(amount=amount, payee=payee, state=state)
        elif (payout.amount, payout.payee) != (amount, payee):
            return {"state": "levitating"}
        else:
            payout.sendings += 1
        return {"state": payout.state, "amount": payout.amount}

    def _query_transfer(self, reference: str) -> dict[str, Any]:
        payout = self.payouts.get(reference)
        if payout is None or reference in self.hidden:
            return {"state": "absent"}
        return {"state": payout.state, "amount": payout.amount}

    def _share(
        self, reference: str, payment: str, shares: list[list[Any]], finish: bool
    ) -> dict[str, Any]:
        order = self._paid(payment)
        if self._refusing() or order is None or order.state != "paid":
            return {"state": "refused"}
        if reference not in order.shares:
            total = sum(amount for _, amount in shares)
            strangers = {receiver for receiver, _ in shares} - self.receivers
            if order.finished or total > order.left or strangers:
                return {"state": "refused"}
            order.finished = finish
            order.shares[reference] = [
                [receiver, amount, self._fate(receiver)] for receiver, amount in shares
            ]
        return {"state": "shared", "shares": order.shares[reference]}

    def _fate(self, receiver: str) -> str:
        if receiver == SLOW_PAYEE and self.slow:
            return "waiting"
        return "gone" if receiver == REFUSED_PAYEE else "paid"

    def _query_share(self, reference: str, payment: str) -> dict[str, Any]:
        order = self._paid(payment)
        if order is None or reference not in order.shares or reference in self.hidden:
            return {"state": "absent"}
        return {"state": "shared", "shares": order.shares[reference]}

    def _return_share(
        self, reference: str, payment: str, sharing: str, receiver: str, amount: int
    ) -> dict[str, Any]:
        order = self._paid(payment)
        if self._refusing() or order is None:
            return {"state": "refused"}
        if reference not in order.returns:
            parts = order.shares.get(sharing, [])
            got = sum(minor for who, minor, state in parts if (who, state) == (receiver, "paid"))
            whose = f"{sharing}/{receiver}"
            gone = sum(minor for owner, minor in order.returns.values() if owner == whose)
            if amount > got - gone:
                return {"state": "refused"}
            order.returns[reference] = (whose, amount)
        return {"state": "paid", "amount": order.returns[reference][1]}

    def _query_return(self, reference: str, payment: str) -> dict[str, Any]:
        order = self._paid(payment)
        if order is None or reference not in order.returns or reference in self.hidden:
            return {"state": "absent"}
        return {"state": "paid", "amount": order.returns[reference][1]}

    def _query_disputes(self, since: float) -> list[dict[str, Any]]:
        shown = (one for number, one in self.disputes.items() if number not in self.hidden)
        return [{**one, "phone": None} for one in shown]

    def _query_dispute(self, number: str) -> dict[str, Any] | None:
        return self.disputes.get(number)

    def _reply(self, number: str, text: str, *, state: str = "under_review") -> dict[str, Any]:
        if self.disputes[number]["state"] in ("closed", "won", "lost"):
            return {"state": "refused"}
        self.answers.append((number, text))
        self.disputes[number] |= {"state": state, "due_by": None}
        return {"state": "taken"}

    def _finish(self, number: str, text: str) -> dict[str, Any]:
        return self._reply(number, text, state="closed")

    def _bind(self, receiver: str) -> dict[str, Any]:
        if self.refuses:
            return {"state": "refused"}
        self.receivers.add(receiver)
        return {"state": "bound"}

    def _unbind(self, receiver: str) -> dict[str, Any]:
        self.receivers.discard(receiver)
        return {"state": "unbound"}

    def _sign(self, reference: str, max_minor: int) -> dict[str, Any]:
        mandate = self.mandates.setdefault(reference, Mandate(max_minor=max_minor))
        return {"state": mandate.state}

    def _query_agreement(self, reference: str) -> dict[str, Any]:
        mandate = self.mandates.get(reference)
        return {"state": "absent" if mandate is None else mandate.state}

    def _end_agreement(self, reference: str) -> dict[str, Any]:
        mandate = self.mandates.get(reference)
        if mandate is None or mandate.state == "waiting":
            return {"state": "absent"}
        mandate.state = "ended"
        return {"state": "ended"}

    def _charge(self, reference: str, mandate: str, amount: int, notify_url: str) -> dict[str, Any]:
        if reference in self.orders:
            return _view(self.orders[reference])
        found = self.mandates.get(mandate.removeprefix("bank-"))
        if found is None or found.state != "signed":
            return {"state": "declined", "code": "ended"}
        if amount > found.max_minor:
            return {"state": "declined", "code": "too_much"}
        if self.poor:
            return {"state": "declined", "code": self.declines}
        order = Order(amount=amount, product="agreement", notify_url=notify_url, state="paid")
        self.orders[reference] = order
        found.charges.append(reference)
        return _view(order)

    def _refusing(self) -> bool:
        if self.refuses:
            self.hidden.clear()
        return self.refuses

    def _paid(self, payment: str) -> Order | None:
        """By the number under which its money was taken."""
        for reference, order in self.orders.items():
            if payment == (order.capture[0] if order.capture else reference):
                return order
        return None

    def _refund(self, reference: str, payment: str, amount: int) -> dict[str, Any]:
        if self._refusing():
            return {"state": "refused"}
        order = self._paid(payment)
        if order is None or order.state != "paid":
            return {"state": "refused"}
        if reference not in order.refunds:
            if amount > order.left:
                return {"state": "refused"}
            order.refunds[reference] = amount
        return {"state": "refunded", "amount": order.refunds[reference]}

    def _query_refund(self, reference: str, payment: str) -> dict[str, Any]:
        order = self._paid(payment)
        if order is None or reference not in order.refunds or reference in self.hidden:
            return {"state": "absent"}
        return {"state": "refunded", "amount": order.refunds[reference]}


def _view(order: Order) -> dict[str, Any]:
    return {"state": order.state, "amount": order.amount, "product": order.product}
