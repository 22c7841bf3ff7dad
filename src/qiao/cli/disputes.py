"""``qiao disputes``: customers' complaints and banks' chargebacks, from a terminal."""

from typing import Annotated, Any, Final

import typer

from qiao.cli.client import Client
from qiao.cli.output import Json, print_fields, print_json, print_table

disputes = typer.Typer(no_args_is_help=True, help="Answer complaints and chargebacks.")

FIELDS: Final = (
    *("id", "number", "kind", "state", "payment_id", "amount", "currency", "reason", "withdrawn"),
    *("returned", "charged", "due_by", "opened_at", "updated_at"),
)
IN_FULL: Final = (*FIELDS, "text", "phone")
COLUMNS: Final = ("id", "payment_id", "kind", "state", "amount", "currency", "due_by")
DisputeId = Annotated[str, typer.Argument(help="The dispute's id.")]
Text = Annotated[str, typer.Argument(help="What the customer reads.")]


@disputes.command("list")
def list_them(
    *,
    state: Annotated[str | None, typer.Option(help="Only those, such as needs_response.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only of this payment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: Json = False,
) -> None:
    """The newest disputes, and until when each must be answered."""
    query: dict[str, str | int] = {"limit": limit}
    query |= {"state": state} if state else {}
    query |= {"payment_id": payment} if payment else {}
    found = Client().get("/v1/disputes", **query)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [[one[name] for name in COLUMNS] for one in found["data"]])


@disputes.command("show")
def show(dispute_id: DisputeId, *, as_json: Json = False) -> None:
    """A dispute as the channel tells it now, with what the customer wrote."""
    _show(Client().get(f"/v1/disputes/{dispute_id}"), IN_FULL, as_json=as_json)


@disputes.command("reply")
def reply(dispute_id: DisputeId, text: Text, *, as_json: Json = False) -> None:
    """Write to the customer."""
    told = Client().post(f"/v1/disputes/{dispute_id}/reply", {"text": text})
    _show(told, FIELDS, as_json=as_json)


@disputes.command("finish")
def finish(dispute_id: DisputeId, text: Text, *, as_json: Json = False) -> None:
    """Tell the channel that it is dealt with, and how."""
    told = Client().post(f"/v1/disputes/{dispute_id}/finish", {"text": text})
    _show(told, FIELDS, as_json=as_json)


def _show(document: dict[str, Any], fields: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_fields(document, fields)
