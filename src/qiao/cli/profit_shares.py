"""``qiao profit-shares``: payments divided between receivers, from a terminal."""

from typing import Annotated, Any, Final

import typer

from qiao.cli.client import Client
from qiao.cli.output import Json, print_fields, print_json, print_table
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money

profit_shares = typer.Typer(no_args_is_help=True, help="Divide payments between receivers.")
receivers = typer.Typer(no_args_is_help=True)
profit_shares.add_typer(receivers, name="receivers", help="Who may get shares.")

FIELDS: Final = (
    *("id", "payment_id", "state", "amount", "arrived", "currency", "finish"),
    *("channel_code", "channel_message", "created_at"),
)
PARTS: Final = ("line", "receiver_id", "amount", "state", "returned", "channel_code")
RETURN_FIELDS: Final = ("id", "profit_share_id", "line", "state", "amount", "currency")
COLUMNS: Final = ("id", "payment_id", "state", "amount", "arrived", "currency")
RECEIVER_FIELDS: Final = (
    *("id", "number", "state", "channel", "receiver_type", "receiver", "name", "relation"),
    *("memo", "channel_code", "channel_message"),
)
RECEIVER_COLUMNS: Final = ("id", "number", "state", "channel", "receiver_type", "memo")
ShareId = Annotated[str, typer.Argument(help="The share's id.")]
PaymentId = Annotated[str, typer.Argument(help="The payment's id.")]
ReceiverId = Annotated[str, typer.Argument(help="The receiver's id.")]
Limit = Annotated[int, typer.Option(min=1, max=100)]
Currency = Annotated[str, typer.Option(help="The payment's, ISO 4217.")]


@profit_shares.command("new")
def new(
    payment_id: PaymentId,
    shares: Annotated[
        list[str],
        typer.Argument(help="A receiver's id and its amount in the main unit: rcv_…=12.50"),
    ],
    *,
    description: Annotated[str, typer.Option(help="What the receivers see.")] = "profit share",
    finish: Annotated[bool, typer.Option(help="Leave the rest to the merchant for good.")] = False,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Divide some of a paid payment between receivers."""
    parts = [_part(one, currency, description) for one in shares]
    body = {"shares": parts, "finish": finish}
    made = Client().post(f"/v1/payments/{payment_id}/profit-shares", body)
    _show(made, as_json=as_json)


@profit_shares.command("release")
def release(payment_id: PaymentId, *, as_json: Json = False) -> None:
    """Leave what is not shared to the merchant for good."""
    made = Client().post(f"/v1/payments/{payment_id}/profit-shares/release")
    _show(made, as_json=as_json)


@profit_shares.command("list")
def list_them(
    *,
    state: Annotated[str | None, typer.Option(help="Only those, such as unknown.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only of this payment.")] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """The newest shares."""
    query: dict[str, str | int] = {"limit": limit}
    query |= {"state": state} if state else {}
    query |= {"payment_id": payment} if payment else {}
    found = Client().get("/v1/profit-shares", **query)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [tuple(str(one[name]) for name in COLUMNS) for one in found["data"]])


@profit_shares.command("show")
def show(share_id: ShareId, *, as_json: Json = False) -> None:
    """A share, and what became of each part."""
    _show(Client().get(f"/v1/profit-shares/{share_id}"), as_json=as_json)


@profit_shares.command("return")
def give_back(
    share_id: ShareId,
    line: Annotated[int, typer.Argument(help="Whose part; see: qiao profit-shares show.")],
    amount: Annotated[
        str | None, typer.Argument(help="In the main unit; all of it without.")
    ] = None,
    *,
    description: Annotated[str, typer.Option(help="Why.")] = "returned",
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Have a receiver give its part back, so that it can be refunded."""
    body: dict[str, Any] = {"line": line, "description": description}
    if amount is not None:
        body["amount"] = Money.from_major(amount, currency).minor
    given = Client().post(f"/v1/profit-shares/{share_id}/returns", body)
    if as_json:
        print_json(given)
    else:
        print_fields(given, RETURN_FIELDS)


@receivers.command("bind")
def bind(
    number: Annotated[str, typer.Argument(help="Your own number, once for ever.")],
    receiver: Annotated[str, typer.Argument(help="The channel's own id of it.")],
    *,
    channel: Annotated[str, typer.Option(help="Which channel; see: qiao channels.")],
    kind: Annotated[str, typer.Option("--type", help="The channel's word for the kind of id.")],
    name: Annotated[str | None, typer.Option(help="Its name, for the channel to check.")] = None,
    relation: Annotated[str | None, typer.Option(help="The channel's word for it.")] = None,
    memo: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    as_json: Json = False,
) -> None:
    """Let somebody get shares; again asks the channel again."""
    body = {
        "number": number,
        "channel": channel,
        "receiver_type": kind,
        "receiver": receiver,
        "name": name,
        "relation": relation,
        "memo": memo,
    }
    _show_receiver(Client().post("/v1/profit-shares/receivers", body), as_json=as_json)


@receivers.command("list")
def list_receivers(*, limit: Limit = 20, as_json: Json = False) -> None:
    """The newest receivers."""
    found = Client().get("/v1/profit-shares/receivers", limit=limit)
    if as_json:
        print_json(found)
    else:
        rows = [tuple(str(one[name]) for name in RECEIVER_COLUMNS) for one in found["data"]]
        print_table(RECEIVER_COLUMNS, rows)


@receivers.command("show")
def show_receiver(receiver_id: ReceiverId, *, as_json: Json = False) -> None:
    """A receiver, with who it is."""
    found = Client().get(f"/v1/profit-shares/receivers/{receiver_id}")
    _show_receiver(found, as_json=as_json)


@receivers.command("unbind")
def unbind(receiver_id: ReceiverId, *, as_json: Json = False) -> None:
    """Let it get no share any more."""
    done = Client().post(f"/v1/profit-shares/receivers/{receiver_id}/unbind")
    _show_receiver(done, as_json=as_json)


def _part(text: str, currency: str, description: str) -> dict[str, Any]:
    receiver_id, equals, amount = text.partition("=")
    if not equals:
        raise InvalidInput(
            "not a share", field="shares", remedy="give a receiver and its amount: rcv_…=12.50"
        )
    minor = Money.from_major(amount, currency).minor
    return {"receiver_id": receiver_id, "amount": minor, "description": description}


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    print_fields(document, FIELDS)
    if document["shares"]:
        rows = [tuple(str(one[name]) for name in PARTS) for one in document["shares"]]
        print_table(PARTS, rows)


def _show_receiver(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, RECEIVER_FIELDS)
