"""``qiao transfer``: money paid out, by two people, from a terminal."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from qiao.cli.client import Client
from qiao.cli.output import Json, print_fields, print_json, print_table
from qiao.domain.errors import InvalidInput
from qiao.domain.money import Money

transfer = typer.Typer(no_args_is_help=True, help="Pay money out.")
FIELDS: Final = (
    *("id", "number", "state", "amount", "currency", "channel", "payee", "payee_name"),
    *("description", "requested_by", "decided_by", "reason", "channel_message"),
)
BATCH_FIELDS: Final = ("id", "number", "amount", "currency", "states", "requested_by")
COLUMNS: Final = ("id", "number", "state", "amount", "currency", "channel", "requested_by")
TransferId = Annotated[str, typer.Argument(help="The transfer's id, or its batch's.")]


@transfer.command("new")
def new(
    number: Annotated[str, typer.Argument(help="Your own number, once for ever.")],
    amount: Annotated[str, typer.Argument(help="In the currency's main unit, such as 12.50.")],
    payee: Annotated[str, typer.Argument(help="The channel's own id of the person.")],
    *,
    channel: Annotated[str, typer.Option(help="Which channel pays; see: qiao channels.")],
    description: Annotated[str, typer.Option(help="What the payee sees.")],
    name: Annotated[
        str | None, typer.Option(help="The payee's name, for the channel to check.")
    ] = None,
    scene: Annotated[str | None, typer.Option(help="The channel's code for the purpose.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    as_json: Json = False,
) -> None:
    """Ask for a transfer; it waits for a second person, unless it is below the threshold."""
    body = {
        "number": number,
        "channel": channel,
        "amount": Money.from_major(amount, currency).minor,
        "currency": currency,
        "payee": payee,
        "payee_name": name,
        "description": description,
        "scene": scene,
    }
    _show(Client().post("/v1/transfers", body), as_json=as_json)


@transfer.command("batch")
def batch(
    number: Annotated[str, typer.Argument(help="Your own number of the batch, once for ever.")],
    file: Annotated[Path, typer.Argument(help="A CSV file; see docs/transfers.md.")],
    *,
    as_json: Json = False,
) -> None:
    """Ask for the transfers of a CSV file: all of them, or none."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(
            "cannot be read", field="file", remedy="name a CSV file in UTF-8"
        ) from None
    made = Client().post("/v1/transfers/batches", {"number": number, "csv": text})
    _show(made, as_json=as_json)


@transfer.command("list")
def list_them(
    *,
    state: Annotated[str | None, typer.Option(help="Only those, such as requested.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: Json = False,
) -> None:
    """The newest transfers."""
    query: dict[str, str | int] = {"limit": limit, **({"state": state} if state else {})}
    found = Client().get("/v1/transfers", **query)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [tuple(str(one[name]) for name in COLUMNS) for one in found["data"]])


@transfer.command("show")
def show(transfer_id: TransferId, *, as_json: Json = False) -> None:
    """A transfer, or a batch."""
    _show(Client().get(_path(transfer_id)), as_json=as_json)


@transfer.command("approve")
def approve(transfer_id: TransferId, *, as_json: Json = False) -> None:
    """Let a transfer or a whole batch go; not with the key that asked for it."""
    _show(Client().post(f"{_path(transfer_id)}/approve"), as_json=as_json)


@transfer.command("reject")
def reject(
    transfer_id: TransferId,
    *,
    reason: Annotated[str | None, typer.Option(help="Why not.")] = None,
    as_json: Json = False,
) -> None:
    """Let a transfer or a whole batch come to nothing while it waits."""
    body = {"reason": reason} if reason else {}
    _show(Client().post(f"{_path(transfer_id)}/reject", body), as_json=as_json)


def _path(given: str) -> str:
    kind = "transfers/batches" if given.startswith("tba_") else "transfers"
    return f"/v1/{kind}/{given}"


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, BATCH_FIELDS if document["object"] == "transfer_batch" else FIELDS)
