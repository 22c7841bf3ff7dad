"""Organisations, merchants and apps: who is paid, and whether they take new payments."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
import typer

from qiao.cli.admin import Live, MerchantId, check_merchant, operator, show_fields, with_engine
from qiao.cli.output import Json, print_json, print_table
from qiao.domain.money import Money, exponent
from qiao.engine import organisations as use
from qiao.engine.merchants import add_merchant
from qiao.engine.organisations import App, Merchant, Organisation, Status
from qiao.engine.runtime import Engine, Scope
from qiao.engine.transfers import Policy, put_policy

Row = TypeVar("Row", Organisation, Merchant, App)
organisation = typer.Typer(no_args_is_help=True, help="Organisations, which own merchants.")
merchant = typer.Typer(no_args_is_help=True, help="Merchants: who is paid.")
app = typer.Typer(no_args_is_help=True, help="A merchant's apps: shops, tills, mini programs.")

OrganisationId = Annotated[str, typer.Argument(help="The organisation's id.")]
AppId = Annotated[str, typer.Argument(help="The app's id.")]
Name = Annotated[str, typer.Argument(help="1 to 64 characters.")]
OfOrganisation = Annotated[
    str | None, typer.Option("--organisation", help="The id of one; qiao organisation add.")
]


@organisation.command("add")
def add_organisation(name: Name, *, as_json: Json = False) -> None:
    """A new organisation, which may own merchants."""
    _show(
        with_engine(lambda engine: use.add_organisation(engine, name, actor=operator())),
        as_json=as_json,
    )


@organisation.command("list")
def list_organisations(*, as_json: Json = False) -> None:
    """Every organisation."""
    _list(with_engine(use.organisations), as_json=as_json)


@organisation.command("show")
def show_organisation(organisation_id: OrganisationId, *, as_json: Json = False) -> None:
    """An organisation."""
    found = with_engine(lambda engine: use.show_organisation(engine, organisation_id))
    _show(found, as_json=as_json)


@organisation.command("rename")
def rename_organisation(
    organisation_id: OrganisationId, name: Name, *, as_json: Json = False
) -> None:
    """Give an organisation another name."""
    _change_organisation(organisation_id, name=name, as_json=as_json)


@organisation.command("suspend")
def suspend_organisation(organisation_id: OrganisationId, *, as_json: Json = False) -> None:
    """Let none of its merchants take new payments; refunds and queries still work."""
    _change_organisation(organisation_id, status=Status.SUSPENDED, as_json=as_json)


@organisation.command("resume")
def resume_organisation(organisation_id: OrganisationId, *, as_json: Json = False) -> None:
    """Let its merchants take payments again, those that are active themselves."""
    _change_organisation(organisation_id, status=Status.ACTIVE, as_json=as_json)


def _change_organisation(
    organisation_id: str, *, name: str | None = None, status: Status | None = None, as_json: bool
) -> None:
    _show(
        with_engine(
            lambda engine: use.change_organisation(
                engine, organisation_id, name=name, status=status, actor=operator()
            )
        ),
        as_json=as_json,
    )


@merchant.command("add")
def add(name: Name, *, of: OfOrganisation = None, as_json: Json = False) -> None:
    """A new merchant; customers see its name."""
    merchant_id = with_engine(
        lambda engine: add_merchant(engine, name, organisation_id=of, actor=operator())
    )
    show_fields({"merchant_id": merchant_id, "name": name}, as_json=as_json)


@merchant.command("list")
def list_merchants(*, of: OfOrganisation = None, as_json: Json = False) -> None:
    """Every merchant, or those of an organisation."""
    found = with_engine(lambda engine: use.merchants(engine, organisation_id=of))
    _list(found, as_json=as_json)


@merchant.command("show")
def show_merchant(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """A merchant."""
    _show(with_engine(lambda engine: use.show_merchant(engine, merchant_id)), as_json=as_json)


@merchant.command("rename")
def rename_merchant(merchant_id: MerchantId, name: Name, *, as_json: Json = False) -> None:
    """Give a merchant another name; customers see it from now on."""
    _change_merchant(merchant_id, name=name, as_json=as_json)


@merchant.command("move")
def move_merchant(
    merchant_id: MerchantId, organisation_id: OrganisationId, *, as_json: Json = False
) -> None:
    """Hand a merchant to an organisation."""
    _change_merchant(merchant_id, organisation_id=organisation_id, as_json=as_json)


@merchant.command("transfers")
def transfers(
    merchant_id: MerchantId,
    *,
    check_above: Annotated[
        str | None,
        typer.Option(help="Above this a second person must approve; without it, always."),
    ] = None,
    most: Annotated[
        str | None, typer.Option("--max", help="The most in one transfer; without it, any amount.")
    ] = None,
    daily: Annotated[
        str | None, typer.Option(help="The most in 24 hours; without it, any amount.")
    ] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    live: Live = False,
    as_json: Json = False,
) -> None:
    """Set what a merchant may pay out in a currency, and when a second person is needed."""

    def minor(text: str | None) -> int | None:
        return None if text is None else Money.from_major(text, currency).minor

    exponent(currency)
    policy = Policy(
        check_above_minor=minor(check_above), max_minor=minor(most), daily_max_minor=minor(daily)
    )

    async def work(engine: Engine) -> None:
        await check_merchant(engine, merchant_id)
        await put_policy(engine, Scope(merchant_id=merchant_id, live=live), currency, policy)

    with_engine(work)
    shown = {"merchant_id": merchant_id, "live": live, "currency": currency}
    limits = {"check_above": check_above or "always", "max": most, "daily": daily}
    show_fields({**shown, **limits}, as_json=as_json)


@merchant.command("suspend")
def suspend_merchant(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """Let a merchant take no new payments; refunds and queries still work."""
    _change_merchant(merchant_id, status=Status.SUSPENDED, as_json=as_json)


@merchant.command("resume")
def resume_merchant(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """Let a merchant take payments again."""
    _change_merchant(merchant_id, status=Status.ACTIVE, as_json=as_json)


def _change_merchant(
    merchant_id: str,
    *,
    name: str | None = None,
    status: Status | None = None,
    organisation_id: str | None = None,
    as_json: bool,
) -> None:
    _show(
        with_engine(
            lambda engine: use.change_merchant(
                engine,
                merchant_id,
                name=name,
                status=status,
                organisation_id=organisation_id,
                actor=operator(),
            )
        ),
        as_json=as_json,
    )


@app.command("add")
def add_app(merchant_id: MerchantId, name: Name, *, as_json: Json = False) -> None:
    """A new app of a merchant: a shop, a till, a mini program."""
    _show(
        with_engine(lambda engine: use.add_app(engine, merchant_id, name, actor=operator())),
        as_json=as_json,
    )


@app.command("list")
def list_apps(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """A merchant's apps."""
    _list(with_engine(lambda engine: use.apps(engine, merchant_id)), as_json=as_json)


@app.command("show")
def show_app(merchant_id: MerchantId, app_id: AppId, *, as_json: Json = False) -> None:
    """An app."""
    _show(with_engine(lambda engine: use.show_app(engine, merchant_id, app_id)), as_json=as_json)


@app.command("rename")
def rename_app(
    merchant_id: MerchantId, app_id: AppId, name: Name, *, as_json: Json = False
) -> None:
    """Give an app another name."""
    _change_app(merchant_id, app_id, name=name, as_json=as_json)


@app.command("suspend")
def suspend_app(merchant_id: MerchantId, app_id: AppId, *, as_json: Json = False) -> None:
    """Let an app take no new payments; refunds and queries still work."""
    _change_app(merchant_id, app_id, status=Status.SUSPENDED, as_json=as_json)


@app.command("resume")
def resume_app(merchant_id: MerchantId, app_id: AppId, *, as_json: Json = False) -> None:
    """Let an app take payments again."""
    _change_app(merchant_id, app_id, status=Status.ACTIVE, as_json=as_json)


def _change_app(
    merchant_id: str,
    app_id: str,
    *,
    name: str | None = None,
    status: Status | None = None,
    as_json: bool,
) -> None:
    _show(
        with_engine(
            lambda engine: use.change_app(
                engine, merchant_id, app_id, name=name, status=status, actor=operator()
            )
        ),
        as_json=as_json,
    )


def _show(found: Row, *, as_json: bool) -> None:
    show_fields(msgspec.structs.asdict(found), as_json=as_json)


def _list(found: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [msgspec.structs.asdict(one) for one in found]
    names = list(rows[0]) if rows else ["name"]
    print_table(names, [[row[name] for name in names] for row in rows])
