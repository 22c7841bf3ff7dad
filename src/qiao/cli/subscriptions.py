"""``qiao agreements`` and ``qiao subscriptions``: charges that a customer agreed to once."""

from typing import Annotated, Any, Final

import typer

from qiao.cli.client import Client
from qiao.cli.output import Json, print_fields, print_json, print_table
from qiao.domain.money import Money
from qiao.domain.periods import PeriodUnit

agreements = typer.Typer(no_args_is_help=True, help="What customers agreed to be charged.")
subscriptions = typer.Typer(no_args_is_help=True, help="Charge by an agreement, every period.")
AGREEMENT_FIELDS: Final = (
    *("id", "number", "state", "max_amount", "currency", "period", "first_charge_on", "channel"),
    *("plan", "action", "channel_reference", "signed_at", "end_requested_at", "ended_at"),
    *("code", "channel_message"),
)
AGREEMENT_COLUMNS: Final = (
    *("id", "number", "state", "max_amount", "currency", "channel", "first_charge_on"),
)
SUBSCRIPTION_FIELDS: Final = (
    *("id", "number", "state", "reason", "agreement_id", "amount", "currency", "period"),
    *("first_charge_on", "next_period", "next_charge_at", "periods", "ends_on", "when_unpaid"),
    *("charge_time", "time_zone", "lead_days", "retry_days"),
)
SUBSCRIPTION_COLUMNS: Final = (
    *("id", "number", "state", "amount", "currency", "next_period", "next_charge_at"),
)
PERIOD_COLUMNS: Final = ("number", "due_on", "state", "tries", "next_try_at", "code", "payment_id")
Number = Annotated[str, typer.Argument(help="Your own number, once for ever.")]
AgreementId = Annotated[str, typer.Argument(help="The agreement's id.")]
SubscriptionId = Annotated[str, typer.Argument(help="The subscription's id.")]
State = Annotated[str | None, typer.Option(help="Only those, such as active.")]
Most = Annotated[int, typer.Option(min=1, max=100)]


@agreements.command("new")
def new_agreement(
    number: Number,
    max_amount: Annotated[str, typer.Argument(help="The most of one charge, such as 30.00.")],
    first_charge_on: Annotated[str, typer.Argument(help="The first day, such as 2026-12-01.")],
    *,
    channel: Annotated[str, typer.Option(help="Which channel charges; see: qiao channels.")],
    name: Annotated[str, typer.Option(help="What you call the customer, who sees it.")],
    plan: Annotated[str | None, typer.Option(help="The channel's code of what is agreed.")] = None,
    unit: Annotated[PeriodUnit, typer.Option(help="In what a period counts.")] = PeriodUnit.MONTH,
    count: Annotated[int, typer.Option(min=1, help="How many of them a period has.")] = 1,
    product: Annotated[str, typer.Option(help="How the customer signs: qr, h5, …")] = "qr",
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    as_json: Json = False,
) -> None:
    """Ask a customer to agree to charges; ``action`` is what they must do to sign."""
    body = {
        "number": number,
        "channel": channel,
        "product": product,
        "max_amount": Money.from_major(max_amount, currency).minor,
        "currency": currency,
        "period": {"unit": unit, "count": count},
        "first_charge_on": first_charge_on,
        "display_name": name,
        "plan": plan,
    }
    _show(Client().post("/v1/agreements", body), AGREEMENT_FIELDS, as_json=as_json)


@agreements.command("list")
def list_agreements(*, state: State = None, limit: Most = 20, as_json: Json = False) -> None:
    """The newest agreements."""
    _list("agreements", AGREEMENT_COLUMNS, state=state, limit=limit, as_json=as_json)


@agreements.command("show")
def show_agreement(agreement_id: AgreementId, *, as_json: Json = False) -> None:
    """An agreement."""
    _show(Client().get(f"/v1/agreements/{agreement_id}"), AGREEMENT_FIELDS, as_json=as_json)


@agreements.command("end")
def end_agreement(agreement_id: AgreementId, *, as_json: Json = False) -> None:
    """End an agreement, and every subscription on it."""
    ended = Client().post(f"/v1/agreements/{agreement_id}/end")
    _show(ended, AGREEMENT_FIELDS, as_json=as_json)


@subscriptions.command("new")
def new_subscription(
    number: Number,
    agreement_id: AgreementId,
    amount: Annotated[str, typer.Argument(help="Of every charge, such as 25.00.")],
    *,
    description: Annotated[str, typer.Option(help="What the customer sees.")],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    periods: Annotated[int | None, typer.Option(min=1, help="How many charges.")] = None,
    ends_on: Annotated[str | None, typer.Option(help="The last day, such as 2027-12-01.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Such as Asia/Shanghai.")] = None,
    charge_time: Annotated[str | None, typer.Option(help="Such as 09:00.")] = None,
    anchor_day: Annotated[
        int | None, typer.Option(min=1, max=31, help="Day of the month; 31: its last.")
    ] = None,
    lead_days: Annotated[
        int | None, typer.Option(min=0, help="How long before it is due it is tried.")
    ] = None,
    when_unpaid: Annotated[str | None, typer.Option(help="cancel or leave.")] = None,
    retry_day: Annotated[
        list[int] | None, typer.Option(help="A day after the first try; give several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Begin to charge by an agreement that is signed."""
    given = {
        "number": number,
        "agreement_id": agreement_id,
        "amount": Money.from_major(amount, currency).minor,
        "currency": currency,
        "description": description,
        "periods": periods,
        "ends_on": ends_on,
        "time_zone": time_zone,
        "charge_time": charge_time,
        "anchor_day": anchor_day,
        "lead_days": lead_days,
        "when_unpaid": when_unpaid,
        "retry_days": retry_day,
    }
    body = {name: value for name, value in given.items() if value is not None}
    _show(Client().post("/v1/subscriptions", body), SUBSCRIPTION_FIELDS, as_json=as_json)


@subscriptions.command("list")
def list_subscriptions(*, state: State = None, limit: Most = 20, as_json: Json = False) -> None:
    """The newest subscriptions."""
    _list("subscriptions", SUBSCRIPTION_COLUMNS, state=state, limit=limit, as_json=as_json)


@subscriptions.command("show")
def show_subscription(subscription_id: SubscriptionId, *, as_json: Json = False) -> None:
    """A subscription and its last periods."""
    found = Client().get(f"/v1/subscriptions/{subscription_id}")
    _show(found, SUBSCRIPTION_FIELDS, as_json=as_json)
    if found["charged_periods"] and not as_json:
        rows = found["charged_periods"]
        print_table(PERIOD_COLUMNS, [tuple(one[name] for name in PERIOD_COLUMNS) for one in rows])


@subscriptions.command("pause")
def pause(subscription_id: SubscriptionId, *, as_json: Json = False) -> None:
    """Charge nothing until it is resumed."""
    _move(subscription_id, "pause", as_json=as_json)


@subscriptions.command("resume")
def resume(subscription_id: SubscriptionId, *, as_json: Json = False) -> None:
    """Charge again."""
    _move(subscription_id, "resume", as_json=as_json)


@subscriptions.command("cancel")
def cancel(subscription_id: SubscriptionId, *, as_json: Json = False) -> None:
    """End a subscription for good; its agreement stays."""
    _move(subscription_id, "cancel", as_json=as_json)


def _move(subscription_id: str, verb: str, *, as_json: bool) -> None:
    moved = Client().post(f"/v1/subscriptions/{subscription_id}/{verb}")
    _show(moved, SUBSCRIPTION_FIELDS, as_json=as_json)


def _list(
    what: str, columns: tuple[str, ...], *, state: str | None, limit: int, as_json: bool
) -> None:
    query: dict[str, str | int] = {"limit": limit, **({"state": state} if state else {})}
    found = Client().get(f"/v1/{what}", **query)
    if as_json:
        print_json(found)
    else:
        print_table(columns, [tuple(one[name] for name in columns) for one in found["data"]])


def _show(document: dict[str, Any], fields: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, fields)
