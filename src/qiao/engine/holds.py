"""Which of a channel's verbs asks about an attempt, or ends it: of a payment, or of a hold."""

from datetime import timedelta
from typing import Final, cast

from qiao.channels.interface import Capability, CodeReversal, SeparateCapture
from qiao.channels.requests import AuthorizationQuery, PaymentQuery, PaymentRequest, Product
from qiao.channels.wire import Operation
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import PaymentOutcome
from qiao.engine.accounts import Account
from qiao.engine.records import Attempt, CaptureMode
from qiao.engine.runtime import Engine

HOLD_LIFE: Final = timedelta(days=7)
"""For how long an amount stays held where the channel sets no end; then it is let go."""


def held(attempt: Attempt) -> AuthorizationQuery:
    """The attempt, as a channel's separate capture is asked about it."""
    return AuthorizationQuery(
        reference=attempt.reference,
        amount=attempt.amount,
        channel_reference=attempt.channel_reference,
    )


def holder(account: Account) -> SeparateCapture:
    """The account's channel, whose manifest promises separate capture."""
    return cast("SeparateCapture", account.channel)


def asking(
    engine: Engine, account: Account, request: PaymentRequest, mode: CaptureMode
) -> Operation[PaymentOutcome]:
    """Ask for the payment, or for the hold. Raises InvalidInput where nothing can be held."""
    if mode is CaptureMode.AUTOMATIC:
        return account.channel.create(request, engine.context)
    manifest = account.channel.manifest
    if request.product not in manifest.authorization_products:
        offered = ", ".join(sorted(manifest.authorization_products)) or "no product"
        raise InvalidInput(
            f"{manifest.id} cannot hold an amount by {request.product}",
            field="method.product",
            remedy=f"it can by: {offered}; or accept an order with capture 'automatic'",
        )
    return holder(account).authorize(request, engine.context)


def query(engine: Engine, account: Account, attempt: Attempt) -> Operation[PaymentOutcome]:
    """Ask what became of the attempt."""
    if attempt.manual:
        return holder(account).query_authorization(held(attempt), engine.context)
    return account.channel.query(_payment(attempt), engine.context)


def end(engine: Engine, account: Account, attempt: Attempt) -> Operation[PaymentOutcome]:
    """Make sure that it can bring no money and hold none: close it, or void it."""
    if attempt.manual:
        return holder(account).void(held(attempt), engine.context)
    return account.channel.close(_payment(attempt), engine.context)


def take_back(
    engine: Engine, account: Account, attempt: Attempt
) -> Operation[PaymentOutcome] | None:
    """A code payment that took too long; None when the channel cannot, and must be asked."""
    if attempt.manual:
        return holder(account).void(held(attempt), engine.context)
    if Capability.CODE_REVERSAL not in account.channel.manifest.capabilities:
        return None
    return cast("CodeReversal", account.channel).reverse(_payment(attempt), engine.context)


def _payment(attempt: Attempt) -> PaymentQuery:
    return PaymentQuery(
        reference=attempt.reference,
        amount=attempt.amount,
        by_agreement=attempt.product is Product.AGREEMENT,
    )
