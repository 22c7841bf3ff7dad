"""Agreements: a customer is asked to sign one, at a channel, and is charged by it later.

What they agree to is the most that one charge may take, and how often. The channel holds the
merchant to it, and so does Qiao: one subscription at a time is charged by it, each period once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import asyncpg

from qiao.channels.interface import Capability
from qiao.channels.requests import AgreementRequest, ChargeRule, Product
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind, order_number, parse_id
from qiao.domain.money import Money
from qiao.domain.periods import MAX_COUNT, PeriodUnit
from qiao.domain.states import AgreementState
from qiao.engine.accounts import Account
from qiao.engine.agreement_work import LEASE, ask_to_end, name_of, sign, signing
from qiao.engine.audit import record_for
from qiao.engine.errors import Conflict, Missing
from qiao.engine.organisations import check_taking
from qiao.engine.payments import MAX_PAGE, ORDER_ID, check_metadata, check_url, replayed
from qiao.engine.records import Agreement, read
from qiao.engine.runtime import Engine, IdempotencyKey, Scope
from qiao.store.sql import load_statements

SQL = load_statements("agreements")
MAX_NAME: Final = 100
MAX_PLAN: Final = 64
MAX_DAYS_AHEAD: Final = 731
MIN_EXPIRY_SECONDS: Final = 60
MAX_EXPIRY_SECONDS: Final = 7 * 24 * 3600
DEFAULT_EXPIRY_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementOrder:
    """What a customer shall agree to; ``number`` is the merchant's own, once for ever.

    ``plan`` and ``display_name`` as in AgreementRequest. ``expires_in_seconds``: how long they may
    take to sign.
    """

    number: str
    channel: str
    product: Product
    max_amount: Money
    period_unit: PeriodUnit
    period_count: int
    first_charge_on: date
    display_name: str = field(repr=False)
    plan: str | None = None
    return_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_in_seconds: int = DEFAULT_EXPIRY_SECONDS

    def __post_init__(self) -> None:
        if not ORDER_ID.fullmatch(self.number):
            raise InvalidInput(
                "not an agreement's number",
                field="number",
                remedy="give 1 to 64 printable ASCII characters without spaces",
            )
        if self.max_amount.minor <= 0:
            raise InvalidInput(
                "nothing to charge", field="max_amount", remedy="give a whole number above zero"
            )
        if not 1 <= self.period_count <= MAX_COUNT[self.period_unit]:
            raise InvalidInput(
                f"not a number of {self.period_unit}s",
                field="period.count",
                remedy=f"give 1 to {MAX_COUNT[self.period_unit]}",
            )
        if not MIN_EXPIRY_SECONDS <= self.expires_in_seconds <= MAX_EXPIRY_SECONDS:
            raise InvalidInput(
                "expires too soon or too late",
                field="expires_in",
                remedy=f"give {MIN_EXPIRY_SECONDS} to {MAX_EXPIRY_SECONDS} seconds",
            )
        texts = {"display_name": (self.display_name, MAX_NAME), "plan": (self.plan, MAX_PLAN)}
        for name, (text, most) in texts.items():
            if text is not None and not (1 <= len(text) <= most and text.isprintable()):
                raise InvalidInput(
                    "empty, too long or not printable",
                    field=name,
                    remedy=f"give 1 to {most} printable characters",
                )
        if self.return_url is not None:
            check_url(self.return_url, field="return_url")
        check_metadata(self.metadata)

    @property
    def rule(self) -> ChargeRule:
        return ChargeRule(
            max_amount=self.max_amount,
            unit=self.period_unit,
            count=self.period_count,
            first_on=self.first_charge_on,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedAgreement:
    """The agreement; ``created`` is False when its number was already known."""

    agreement: Agreement
    created: bool


async def request_agreement(
    engine: Engine, scope: Scope, order: AgreementOrder, *, key: IdempotencyKey | None = None
) -> RequestedAgreement:
    """Ask the customer to sign; the agreement says what they must do now.

    The same number with the same content gives the agreement that is there, and asks the channel
    again where its first answer was lost. Raises InvalidInput, and Conflict for another content or
    a merchant or app that is suspended.
    """
    if key is not None and (known := await replayed(engine, scope, key)) is not None:
        found = await show_agreement(engine, scope, known)
        return RequestedAgreement(agreement=await sign(engine, found), created=False)
    if (there := await _known(engine, scope, order)) is not None:
        return RequestedAgreement(agreement=await sign(engine, there), created=False)
    await check_taking(engine, scope, scope.app_id)
    _check_first(engine, order)
    agreement_id = engine.new_id(IdKind.AGREEMENT)
    account = await _account(engine, scope, order)
    _look_at(engine, account, order, order_number(agreement_id))
    try:
        row = await engine.database.fetch_row(
            SQL.request_agreement,
            *_values(engine, scope, order, account, agreement_id),
            key.key if key else None,
            key.body_digest if key else None,
            engine.now(),
            engine.new_id(IdKind.EVENT),
            LEASE,
        )
    except asyncpg.UniqueViolationError:  # the same number or key, at the same time
        return await request_agreement(engine, scope, order, key=key)
    assert row is not None  # noqa: S101 - an INSERT … RETURNING without a condition
    return RequestedAgreement(agreement=await sign(engine, read(Agreement, row)), created=True)


def _check_first(engine: Engine, order: AgreementOrder) -> None:
    """Raises InvalidInput. Yesterday in UTC may be today elsewhere, and the other way round."""
    today = engine.now().date()
    if not -1 <= (order.first_charge_on - today).days <= MAX_DAYS_AHEAD:
        raise InvalidInput(
            "a day that is over, or far away",
            field="first_charge_on",
            remedy="give today or a day of the next two years",
        )


def _values(
    engine: Engine, scope: Scope, order: AgreementOrder, account: Account, agreement_id: str
) -> tuple[object, ...]:
    return (
        scope.merchant_id,
        agreement_id,
        scope.live,
        scope.app_id,
        order.number,
        account.account_id,
        order.channel,
        order.product,
        order_number(agreement_id),
        order.plan,
        engine.seal.close(order.display_name.encode()),
        order.max_amount.minor,
        order.max_amount.currency,
        order.period_unit,
        order.period_count,
        order.first_charge_on,
        order.return_url,
        dict(order.metadata),
        engine.now() + timedelta(seconds=order.expires_in_seconds),
    )


async def _known(engine: Engine, scope: Scope, order: AgreementOrder) -> Agreement | None:
    """The agreement of that number. Raises Conflict when it is another one."""
    row = await engine.database.fetch_row(
        SQL.agreement_of_number, scope.merchant_id, scope.live, order.number
    )
    if row is None:
        return None
    known = read(Agreement, row)
    name = await name_of(engine, known)
    there = (known.channel, known.product, known.max_amount, known.plan, known.first_charge_on)
    asked = (order.channel, order.product, order.max_amount, order.plan, order.first_charge_on)
    rule = (known.period_unit, known.period_count, name)
    if (*there, *rule) != (*asked, order.period_unit, order.period_count, order.display_name):
        raise Conflict(
            "the number is known with another content",
            code="agreement_exists_with_different_content",
            field="number",
            remedy="take a new number for another agreement",
        )
    return known


async def _account(engine: Engine, scope: Scope, order: AgreementOrder) -> Account:
    """Raises InvalidInput."""
    usable = await engine.accounts.usable(scope.merchant_id, live=scope.live, app_id=scope.app_id)
    offered: set[Product] = set()
    for account in usable:
        manifest = account.channel.manifest
        if account.channel_id != order.channel or Capability.AGREEMENTS not in (
            manifest.capabilities
        ):
            continue
        offered |= manifest.agreement_products
        if order.max_amount.currency not in manifest.currencies:
            raise InvalidInput(
                f"{order.channel} takes nothing in {order.max_amount.currency}",
                field="currency",
                remedy=f"it does in: {', '.join(sorted(manifest.currencies))}",
            )
        if order.product in manifest.agreement_products:
            return account
    if offered:
        raise InvalidInput(
            f"at {order.channel} no agreement can be signed by {order.product}",
            field="product",
            remedy=f"it can by: {', '.join(sorted(offered))}",
        )
    mode = "live" if scope.live else "test"
    raise InvalidInput(
        f"there is no {mode} account that has agreements at {order.channel!r}",
        field="channel",
        remedy="add an account at a channel with agreements; see: qiao channels",
    )


def _look_at(engine: Engine, account: Account, order: AgreementOrder, reference: str) -> None:
    """Let the channel look at the order, which does not leave. Raises InvalidInput."""
    request = AgreementRequest(
        reference=reference,
        product=order.product,
        rule=order.rule,
        display_name=order.display_name,
        notify_url=engine.notify_url(account.merchant_id, account.account_id),
        plan=order.plan,
        return_url=order.return_url,
    )
    signing(engine, account, request).close()


async def end_agreement(engine: Engine, scope: Scope, agreement_id: str) -> Agreement:
    """End it, and every subscription on it: now, or as soon as the channel can be told.

    From here on nothing is charged by it. Again changes nothing. Raises Missing.
    """
    agreement = await show_agreement(engine, scope, agreement_id)
    if agreement.state not in (AgreementState.PENDING, AgreementState.ACTIVE):
        return agreement
    if agreement.end_requested_at is None:
        async with engine.database.transaction() as queries:
            await ask_to_end(engine, queries, agreement)
            await record_for(engine, queries, scope, "agreement.end_asked", agreement_id)
    engine.wake()
    return await show_agreement(engine, scope, agreement_id)


async def show_agreement(engine: Engine, scope: Scope, agreement_id: str) -> Agreement:
    """Raises InvalidId, or Missing when it is not there for this merchant and mode."""
    parse_id(IdKind.AGREEMENT, agreement_id, field="agreement_id")
    row = await engine.database.fetch_row(
        SQL.agreement_of_id, scope.merchant_id, scope.live, agreement_id
    )
    if row is None:
        raise Missing(
            "no such agreement",
            field="agreement_id",
            remedy="look at the id, and at the key's mode",
        )
    return read(Agreement, row)


async def list_agreements(
    engine: Engine,
    scope: Scope,
    *,
    before: str | None = None,
    state: AgreementState | None = None,
    limit: int = 20,
) -> list[Agreement]:
    """The newest first; ``before`` is the id that ended the page before."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("no such page size", field="limit", remedy=f"give 1 to {MAX_PAGE}")
    if before is not None:
        parse_id(IdKind.AGREEMENT, before, field="before")
    rows = await engine.database.fetch(
        SQL.agreements, scope.merchant_id, scope.live, before, state, limit
    )
    return [read(Agreement, row) for row in rows]
