"""``qiao limit``: how much a merchant or an app may take, at once and in a day."""

from typing import Annotated

import msgspec
import typer

from qiao.cli.admin import AppOfIt, Live, MerchantId, operator, show_fields, with_engine
from qiao.cli.output import Json, out, print_json, print_table
from qiao.engine.payment_limits import LimitKind, limits, put_limit, remove_limit
from qiao.engine.runtime import Scope

limit = typer.Typer(no_args_is_help=True, help="How much merchants and apps may take.")


@limit.command("set")
def set_(
    merchant_id: MerchantId,
    kind: Annotated[LimitKind, typer.Argument(help="What is limited.")],
    maximum: Annotated[int, typer.Argument(help="In minor units, or a number of payments.")],
    *,
    app: AppOfIt = None,
    channel: Annotated[str | None, typer.Option(help="Only through this channel.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    time_zone: Annotated[str, typer.Option(help="Whose midnight begins a day.")] = "UTC",
    live: Live = False,
    as_json: Json = False,
) -> None:
    """Limit a merchant or one of its apps; again with another maximum changes the limit."""
    scope = Scope(merchant_id=merchant_id, live=live, app_id=app, actor=operator())
    found = with_engine(
        lambda engine: put_limit(
            engine, scope, kind, maximum, currency=currency, channel=channel, time_zone=time_zone
        )
    )
    shown = msgspec.structs.asdict(found)
    del shown["used_today"]
    show_fields(shown, as_json=as_json)


@limit.command("list")
def list_(merchant_id: MerchantId, *, as_json: Json = False) -> None:
    """A merchant's limits and its apps', and what of each is used today."""
    found = with_engine(lambda engine: limits(engine, merchant_id))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "mode", "app", "channel", "kind", "maximum", "currency", "used today", "day of"),
        [
            (
                one.limit_id,
                "live" if one.live else "test",
                one.app_id,
                one.channel,
                one.kind,
                one.maximum,
                one.currency,
                "" if one.kind is LimitKind.AMOUNT else one.used_today,
                one.time_zone,
            )
            for one in found
        ],
    )


@limit.command("remove")
def remove(
    merchant_id: MerchantId,
    limit_id: Annotated[str, typer.Argument(help="The limit's id; see: qiao limit list.")],
) -> None:
    """Limit it no more."""
    scope = Scope(merchant_id=merchant_id, live=False, actor=operator())
    with_engine(lambda engine: remove_limit(engine, scope, limit_id))
    out.print(f"{limit_id} is removed")
