"""The merchant's routing rules: show, save, try out; and how its channel accounts do."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.ids import IdKind
from qiao.domain.money import Money
from qiao.engine.accounts import Account
from qiao.engine.key_policy import KeyScope
from qiao.engine.records import CaptureMode
from qiao.engine.routing.books import save, versions
from qiao.engine.routing.choosing import choose, mismatches
from qiao.engine.routing.dry_run import Share, dry_run
from qiao.engine.routing.rules import CompiledRules, Rules
from qiao.engine.routing.state import Circuit, Known, Saved
from qiao.engine.routing.wanted import ANY_CHANNEL, Wanted
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Amount, Country, Page, Text
from qiao.web.api.ledger import read_moment
from qiao.web.api.responses import refusals
from qiao.web.bodies import check_body

Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Before = Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)]
WEEK = timedelta(days=7)


class RulesInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New rules. ``replaces``: refuse them unless this is the newest version."""

    rules: Rules
    note: Annotated[str, Meta(max_length=200)] = ""
    replaces: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class ExplainInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payment that might be: which account would take it now, and why."""

    amount: Amount
    product: Product
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "CNY"
    channel: Text = ANY_CHANNEL
    country: Country | None = None
    device: Text | None = None
    preference: Text | None = None
    code_prefix: Annotated[str, Meta(pattern=r"^[0-9]{2}$")] | None = None
    capture: CaptureMode = CaptureMode.AUTOMATIC
    metadata: dict[str, str] = {}
    at: Annotated[str, Meta(description="a time with its zone; now without it")] | None = None
    payment_id: Annotated[Text, Meta(description="what a split counts")] | None = None


class DryRunInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules to apply to the payments of a time that is over; the last week without one."""

    rules: Rules
    since: str | None = None
    until: str | None = None


class VersionDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules; 0 where nobody has saved any."""

    version: int
    rules_of: Annotated[str, Meta(description="merchant, platform, or nobody")]
    note: str
    rules: Rules
    created_at: datetime | None
    object: str = "routing_version"


class MeasuredDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an account's attempts with one product in the last fifteen minutes."""

    product: str
    succeeded: int
    failed: int
    success_basis_points: int
    latency_ms: int


class AccountDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A channel account and its breaker; an ``open`` one takes no attempts until ``open_until``."""

    id: str
    name: str
    channel: str
    state: Circuit
    open_until: datetime | None
    reason: str
    statistics: list[MeasuredDocument]
    object: str = "channel_account"


class RoutingDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that count now, and how the accounts do."""

    current: VersionDocument
    accounts: list[AccountDocument]
    object: str = "routing"


class ExplanationDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``choice`` is what the attempt would carry as ``routing``; ``refused`` says why none is."""

    version: int
    rules_of: str
    rows: Annotated[list[dict[str, Any]], Meta(description="each with the column against it")]
    choice: dict[str, Any] | None
    refused: str | None
    object: str = "routing_explanation"


class ShareDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One account's part, as it was and as it would be; amount and cost of what was paid."""

    account: str
    name: str
    currency: str
    attempts: int
    paid: int
    amount: int
    cost: int
    attempts_then: int
    paid_then: int
    amount_then: int
    cost_then: int


class DryRunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules would have done; nothing was changed. ``moved`` would have gone elsewhere."""

    since: datetime
    until: datetime
    attempts: int
    moved: int
    whole: Annotated[bool, Meta(description="false: there were more than are looked at")]
    data: list[ShareDocument]
    object: str = "routing_dry_run"


def _version(saved: Saved) -> VersionDocument:
    return VersionDocument(
        version=saved.version,
        rules_of=saved.owner,
        note=saved.note,
        rules=saved.rules,
        created_at=saved.created_at,
    )


def _account(account: Account, known: Known, now: datetime) -> AccountDocument:
    health = known.health.get(account.account_id)
    state = Circuit.CLOSED if health is None else health.at(now)
    return AccountDocument(
        id=account.account_id,
        name=account.name,
        channel=account.channel_id,
        state=state,
        open_until=None if health is None or state is not Circuit.OPEN else health.open_until,
        reason="" if health is None else health.reason,
        statistics=[
            MeasuredDocument(
                product=product,
                succeeded=one.succeeded,
                failed=one.failed,
                success_basis_points=one.success_basis_points,
                latency_ms=one.latency_ms,
            )
            for (account_id, product), one in sorted(known.statistics.items())
            if account_id == account.account_id
        ],
    )


def _check(rules: Rules) -> None:
    try:
        CompiledRules(rules)
    except InvalidInput as error:
        told = str(error.args[0])
        raise InvalidInput(told, field=f"rules.{error.field}", remedy=error.remedy) from None


@get("/routing", responses=refusals(), tags=["Routing"], opt=needs(KeyScope.ROUTING_READ))
async def get_routing(engine: TheEngine, merchant: TheMerchant) -> RoutingDocument:
    """The rules that count now, the merchant's own or the platform's, and the accounts' health."""
    engine.routing.forget(merchant.merchant_id)
    known = await engine.routing.of(merchant.merchant_id, live=merchant.live)
    accounts = await engine.accounts.enabled(merchant.merchant_id, live=merchant.live)
    nobodys = VersionDocument(
        version=0, rules_of="nobody", note="", rules=known.rules.rules, created_at=None
    )
    return RoutingDocument(
        current=nobodys if known.saved is None else _version(known.saved),
        accounts=[_account(one, known, engine.now()) for one in accounts],
    )


@put(
    "/routing",
    before_request=check_body,
    responses=refusals(409, 413),
    tags=["Routing"],
    opt=needs(KeyScope.ROUTING_WRITE),
)
async def put_routing(
    data: JSONBody[RulesInput], engine: TheEngine, merchant: TheMerchant
) -> VersionDocument:
    """Save rules as a new version. It counts in every process within a second."""
    _check(data.rules)
    saved = await save(engine, merchant, data.rules, note=data.note, replaces=data.replaces)
    return _version(saved)


@get(
    "/routing/versions",
    responses=refusals(),
    tags=["Routing"],
    opt=needs(KeyScope.ROUTING_READ),
)
async def get_versions(
    engine: TheEngine,
    merchant: TheMerchant,
    limit: Limit = 20,
    before: Before = None,
) -> Page[VersionDocument]:
    """Every version that the merchant has saved, the newest first."""
    found = await versions(engine, merchant, before=before, limit=limit)
    return Page(data=[_version(one) for one in found], has_more=len(found) == limit)


@post(
    "/routing/explain",
    status_code=200,
    before_request=check_body,
    responses=refusals(413),
    tags=["Routing"],
    opt=needs(KeyScope.ROUTING_READ),
)
async def explain_routing(
    data: JSONBody[ExplainInput], engine: TheEngine, merchant: TheMerchant
) -> ExplanationDocument:
    """Which account would take such a payment now, and why. Nothing is made or sent."""
    wanted = Wanted(
        subject=data.payment_id or engine.new_id(IdKind.PAYMENT),
        amount=Money(data.amount, data.currency),
        product=data.product,
        channel=data.channel,
        at=engine.now() if data.at is None else read_moment(data.at, "at"),
        metadata=data.metadata,
        country=data.country,
        device=data.device,
        preference=data.preference,
        code_prefix=data.code_prefix,
        capture=data.capture,
        app_id=merchant.app_id,
    )
    known = await engine.routing.of(merchant.merchant_id, live=merchant.live)
    choice, refused = None, None
    try:
        choice = (await choose(engine, merchant, wanted, in_full=True)).document
    except InvalidInput as error:
        refused = str(error)
    return ExplanationDocument(
        version=known.version,
        rules_of=known.owner,
        rows=mismatches(known, wanted),
        choice=choice,
        refused=refused,
    )


@post(
    "/routing/dry-run",
    status_code=200,
    before_request=check_body,
    responses=refusals(413),
    tags=["Routing"],
    opt=needs(KeyScope.ROUTING_READ),
)
async def dry_run_routing(
    data: JSONBody[DryRunInput], engine: TheEngine, merchant: TheMerchant
) -> DryRunDocument:
    """What the rules would have done with past payments: by account, then and now."""
    _check(data.rules)
    until = engine.now() if data.until is None else read_moment(data.until, "until")
    try:
        since = until - WEEK if data.since is None else read_moment(data.since, "since")
    except OverflowError:
        raise InvalidInput(
            "too long ago", field="until", remedy="give a time after the year 2020"
        ) from None
    found = await dry_run(engine, merchant, data.rules, since=since, until=until)
    return DryRunDocument(
        since=since,
        until=until,
        attempts=found.attempts,
        moved=found.moved,
        whole=found.whole,
        data=[
            _share(found.then.get(key), found.now.get(key))
            for key in sorted(found.then.keys() | found.now.keys())
        ],
    )


def _share(then: Share | None, now: Share | None) -> ShareDocument:
    one = then or now
    assert one is not None  # noqa: S101 - the key came from one of them
    none = Share(account=one.account, name=one.name, currency=one.currency)
    then, now = then or none, now or none
    return ShareDocument(
        account=one.account,
        name=one.name,
        currency=one.currency,
        attempts=now.attempts,
        paid=now.paid,
        amount=now.amount_minor,
        cost=now.cost_minor,
        attempts_then=then.attempts,
        paid_then=then.paid,
        amount_then=then.amount_minor,
        cost_then=then.cost_minor,
    )


routing = Router(
    "/",
    route_handlers=[get_routing, put_routing, get_versions, explain_routing, dry_run_routing],
)
