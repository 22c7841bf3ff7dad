"""Toys that believe what they should not: one for each promise about answers and notifications."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from qiao.channels.conformance import Account
from qiao.channels.conformance.example import ToyChannel, ToyHarness, ToySettings
from qiao.channels.conformance.example.codec import Document, moment, money, text
from qiao.channels.conformance.example.signing import in_time, signed_by
from qiao.channels.interface import Notification, OtherNotification
from qiao.channels.requests import Context
from qiao.channels.wire import HttpMessage, HttpReply, HttpResponse
from qiao.crypto.keyed_digest import same_digest
from qiao.domain.errors import AnswerUnreadable
from qiao.domain.money import Money
from qiao.domain.outcomes import (
    AgreementActive,
    AgreementEnded,
    AgreementOutcome,
    AgreementPending,
    Authorized,
    Closed,
    Declined,
    PaymentOutcome,
    RefundOutcome,
    Succeeded,
)

OTHER_KEY = str(ToyHarness().settings(Account.OTHER_MERCHANT)["key"])


class Lax(ToyChannel):
    """Believes a signature that does not verify when ``overlooks`` says so."""

    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        raise NotImplementedError


class AcceptsNoSignature(Lax):
    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        return "x-toy-signature" not in headers and in_time(headers, context.now())


class AcceptsEmptySignature(Lax):
    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        return headers.get("x-toy-signature") == "" and in_time(headers, context.now())


class AcceptsOtherKey(Lax):
    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        return in_time(headers, context.now()) and signed_by(OTHER_KEY, headers, body)


class TakesAlgorithmFromMessage(Lax):
    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        if headers.get("x-toy-algorithm") != "MD5":
            return False
        time, nonce = headers["x-toy-time"], headers["x-toy-nonce"]
        signed = f"{time}\n{nonce}\n{body}\n&key={self.settings.key}".encode()
        digest = hashlib.md5(signed, usedforsecurity=False).hexdigest().upper()
        return same_digest(digest, headers["x-toy-signature"])


class AcceptsOtherSignature(Lax):
    """Does not care whose number the signature was made for."""

    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        head, number, rest = body.partition('"number": "')
        other = f"{head}{number}T-other{rest[rest.find(chr(34)) :]}"
        return bool(number) and signed_by(self.settings.key, headers, other)


class AcceptsStale(Lax):
    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        return signed_by(self.settings.key, headers, body)


class AcceptsTampered(Lax):
    """Leaves the channel's number out of what it verifies."""

    def overlooks(self, headers: Mapping[str, str], body: str, context: Context) -> bool:
        if '"number": "T-forged"' not in body:
            return False
        reference = msgspec.json.decode(body).get("reference", "")
        before = body.replace("T-forged", f"T-{reference}")
        return signed_by(self.settings.key, headers, before)


LAX: dict[str, type[Lax]] = {
    "no_signature": AcceptsNoSignature,
    "empty_signature": AcceptsEmptySignature,
    "other_key": AcceptsOtherKey,
    "other_algorithm": TakesAlgorithmFromMessage,
    "other_signature": AcceptsOtherSignature,
    "stale": AcceptsStale,
    "tampered": AcceptsTampered,
}


class LaxAboutAnswers(Lax):
    def answer_is_authentic(self, response: HttpResponse, context: Context) -> bool:
        body = response.body.decode("latin-1")
        genuine = super().answer_is_authentic(response, context)
        return genuine or self.overlooks(response.headers, body, context)


class LaxAboutNotifications(Lax):
    def notification_is_authentic(self, message: HttpMessage, context: Context) -> bool:
        body = message.body.decode("latin-1")
        genuine = super().notification_is_authentic(message, context)
        return genuine or self.overlooks(message.headers, body, context)


def lax(where: type[Lax], how: type[Lax]) -> type[Lax]:
    return type(f"{how.__name__}{where.__name__.removeprefix('Lax')}", (where, how), {})


class ChangesAnswers(ToyChannel):
    """Reads an answer as ``changed`` makes of it."""

    def read_answer(self, response: HttpResponse, context: Context) -> Document:
        return self.changed(super().read_answer(response, context))

    def changed(self, told: Document) -> Document:
        raise NotImplementedError


class ChangesNotifications(ToyChannel):
    """Reads a notification as ``changed`` makes of it."""

    def read_notification(self, told: Document) -> Notification:
        return super().read_notification(self.changed(told))

    def changed(self, told: Document) -> Document:
        raise NotImplementedError


def _overlooking(name: str, told: Document, right: str) -> Document:
    return {**told, name: right} if name in told else told


class AnswersForAnyMerchant(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return _overlooking("merchant", told, self.settings.merchant)


class AnswersForAnyApp(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return _overlooking("app", told, self.settings.app)


class NotificationsForAnyMerchant(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return _overlooking("merchant", told, self.settings.merchant)


class NotificationsForAnyApp(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return _overlooking("app", told, self.settings.app)


class SystemErrorIsARefusal(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return {**told, "status": "refused"} if told.get("status") == "system_error" else told


class UnrecognisedIsARefusal(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return {**told, "status": "refused"} if told.get("status") == "levitating" else told


class UnrecognisedIsASuccess(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return {**told, "status": "paid"} if told.get("status") == "levitating" else told


class UnrecognisedNotificationIsASuccess(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return {**told, "status": "paid"} if told.get("status") == "levitating" else told


class CrashesOnMissingFields(ChangesAnswers):
    def changed(self, told: Document) -> Document:
        return {**told, "status": told["status"]}


class CrashesOnMissingFieldsOfNotifications(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return {**told, "event": told["event"]}


class NotificationOfTheUsualAmount(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return _overlooking("amount", told, "12.34")


class NotificationsInYuan(ChangesNotifications):
    def changed(self, told: Document) -> Document:
        return _overlooking("currency", told, "CNY")


class RefusedIsClosed(ToyChannel):
    """A payment that was refused seems closed."""

    def payment_outcome(
        self, answer: Document, reference: str, amount: Money, *, notified: bool = False
    ) -> PaymentOutcome:
        outcome = super().payment_outcome(answer, reference, amount, notified=notified)
        return Closed() if isinstance(outcome, Declined) else outcome


class WaitingIsSigned(ToyChannel):
    """Charges by an agreement that the customer has yet to sign."""

    def agreement_outcome(
        self, answer: Document, reference: str, *, notified: bool = False
    ) -> AgreementOutcome:
        outcome = super().agreement_outcome(answer, reference, notified=notified)
        if not isinstance(outcome, AgreementPending):
            return outcome
        return AgreementActive(channel_reference=text(answer, "number"))


class AgreementsForAnyNumber(ToyChannel):
    def agreement_outcome(
        self, answer: Document, reference: str, *, notified: bool = False
    ) -> AgreementOutcome:
        told = _overlooking("reference", answer, reference)
        return super().agreement_outcome(told, reference, notified=notified)


class EndedIsOfNoInterest(ToyChannel):
    """Goes on charging when it was told that the agreement has ended."""

    def read_notification(self, told: Document) -> Notification:
        notification = super().read_notification(told)
        if isinstance(getattr(notification, "outcome", None), AgreementEnded):
            return OtherNotification(id=notification.id, kind="ended")
        return notification


class HeldIsPaid(ToyChannel):
    """Delivers the goods for an amount that is only held."""

    def authorization_outcome(
        self, answer: Document, reference: str, amount: Money
    ) -> PaymentOutcome:
        outcome = super().authorization_outcome(answer, reference, amount)
        if not isinstance(outcome, Authorized):
            return outcome
        return Succeeded(
            amount=outcome.amount,
            channel_reference=outcome.channel_reference,
            paid_at=moment(text(answer, "time")),
        )


class ForAnyNumber(ToyChannel):
    """Never compares the number."""

    def payment_outcome(
        self, answer: Document, reference: str, amount: Money, *, notified: bool = False
    ) -> PaymentOutcome:
        told = _overlooking("reference", answer, reference)
        return super().payment_outcome(told, reference, amount, notified=notified)

    def refund_outcome(self, answer: Document, reference: str, amount: Money) -> RefundOutcome:
        return super().refund_outcome(
            _overlooking("reference", answer, reference), reference, amount
        )


class ForAnyAmount(ToyChannel):
    def check_amount(self, answer: Document, amount: Money) -> None:
        if text(answer, "currency") != amount.currency:
            raise AnswerUnreadable


class InAnyCurrency(ToyChannel):
    def check_amount(self, answer: Document, amount: Money) -> None:
        if money(answer).minor != amount.minor:
            raise AnswerUnreadable


class OneAccountForAll(ToyChannel):
    """Every account's notifications are read with the settings of the first."""

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        first = ToyChannel(ToySettings.read(ToyHarness().settings(Account.OURS)))
        return first.authenticate(message, context)


class IdOfTheSending(ToyChannel):
    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        notification = super().authenticate(message, context)
        return replace(notification, id=f"{notification.id}-{message.headers['x-toy-time']}")


class IdOfTheKind(ToyChannel):
    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        notification = super().authenticate(message, context)
        return replace(notification, id=type(notification).__name__)


class ForgetsOlderEvents(ToyChannel):
    """Thinks that what comes late is of no interest."""

    latest = ""

    def authenticate(self, message: HttpMessage, context: Context) -> Notification:
        notification = super().authenticate(message, context)
        if notification.id < self.latest:
            return OtherNotification(id=notification.id, kind="late")
        self.latest = notification.id
        return notification


class AlwaysAcknowledges(ToyChannel):
    def acknowledge(self, *, accepted: bool) -> HttpReply:
        return super().acknowledge(accepted=True)


class BelievesAnyNotFound(ToyChannel):
    """An HTTP status is enough for it, signature or not."""

    def read_answer(self, response: HttpResponse, context: Context) -> Document:
        if response.status == 404:
            return {
                "status": "not_found",
                "merchant": self.settings.merchant,
                "app": self.settings.app,
            }
        return super().read_answer(response, context)

    def check_ours(self, answer: Document, reference: str) -> None:
        if answer.get("status") != "not_found":
            super().check_ours(answer, reference)


class CrashesOnEmptyBody(ToyChannel):
    def read_answer(self, response: HttpResponse, context: Context) -> Document:
        if response.body[0] in b"{[":
            return super().read_answer(response, context)
        raise AnswerUnreadable


class CrashesOnEmptyNotification(ToyChannel):
    def notification_is_authentic(self, message: HttpMessage, context: Context) -> bool:
        return message.body[0] in b"{" and super().notification_is_authentic(message, context)


MUTANTS: list[tuple[str, type[ToyChannel]]] = [
    *((f"answer_forged_{name}", lax(LaxAboutAnswers, kind)) for name, kind in LAX.items()),
    *(
        (f"notification_forged_{name}", lax(LaxAboutNotifications, kind))
        for name, kind in LAX.items()
    ),
    ("statuses_are_understood", RefusedIsClosed),
    ("statuses_are_understood", WaitingIsSigned),
    ("answers_about_another_number_decide_nothing", AgreementsForAnyNumber),
    ("notifications_are_understood", EndedIsOfNoInterest),
    ("authorizations_are_no_payments", HeldIsPaid),
    ("system_errors_decide_nothing", SystemErrorIsARefusal),
    ("unrecognised_statuses_decide_nothing", UnrecognisedIsARefusal),
    ("unrecognised_statuses_decide_nothing", UnrecognisedIsASuccess),
    ("empty_answers_decide_nothing", CrashesOnMissingFields),
    ("answers_with_another_amount_decide_nothing", ForAnyAmount),
    ("answers_with_another_currency_decide_nothing", InAnyCurrency),
    ("answers_about_another_number_decide_nothing", ForAnyNumber),
    ("answers_for_another_merchant_decide_nothing", AnswersForAnyMerchant),
    ("answers_for_another_app_decide_nothing", AnswersForAnyApp),
    ("garbage_answers_are_unknown", BelievesAnyNotFound),
    ("garbage_answers_are_unknown", CrashesOnEmptyBody),
    ("notifications_are_understood", NotificationOfTheUsualAmount),
    ("notifications_keep_their_currency", NotificationsInYuan),
    ("notifications_for_another_merchant_are_rejected", NotificationsForAnyMerchant),
    ("notifications_for_another_app_are_rejected", NotificationsForAnyApp),
    ("accounts_are_kept_apart", OneAccountForAll),
    ("repeated_notifications_are_equal", IdOfTheSending),
    ("different_notifications_have_different_ids", IdOfTheKind),
    ("order_of_notifications_does_not_matter", ForgetsOlderEvents),
    ("unrecognised_notifications_decide_nothing", UnrecognisedNotificationIsASuccess),
    ("empty_notifications_decide_nothing", CrashesOnMissingFieldsOfNotifications),
    ("garbage_notifications_are_rejected", CrashesOnEmptyNotification),
    ("acknowledgements_are_told_apart", AlwaysAcknowledges),
]
"""The promise, and a channel that breaks it and no other."""
