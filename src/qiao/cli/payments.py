"""``qiao pay``, ``query``, ``capture``, ``void``, ``refund``, ``close``: from a terminal."""

import secrets
from typing import Annotated, Any

import segno
import typer

from qiao.channels.requests import Product
from qiao.cli.client import Client
from qiao.cli.output import Json, out, print_fields, print_json
from qiao.domain.money import Money

FIELDS = (
    *("id", "order_id", "state", "amount", "authorized", "captured", "refunded"),
    *("currency", "cashier_url"),
)
Payment = Annotated[str, typer.Argument(help="The payment's id.")]


def pay(
    amount: Annotated[str, typer.Argument(help="In the currency's main unit, such as 12.50.")],
    *,
    channel: Annotated[str | None, typer.Option(help="Attempt it there at once.")] = None,
    product: Annotated[
        Product, typer.Option(help="How the customer pays; see: qiao channels.", metavar="PRODUCT")
    ] = Product.QR,
    code: Annotated[
        str | None, typer.Option(help="The payment code scanned from the customer's phone.")
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Only hold the amount; see: qiao capture.")
    ] = False,
    profit_sharing: Annotated[
        bool, typer.Option("--profit-sharing", help="See: qiao profit-shares.")
    ] = False,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "CNY",
    description: Annotated[
        str, typer.Option(help="What the customer sees.")
    ] = "A payment from the terminal",
    order: Annotated[
        str | None, typer.Option(help="The order's number; without it one is made.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accept an order, and show the customer's QR when a channel is named."""
    body: dict[str, Any] = {
        "order_id": order or f"cli-{secrets.token_hex(6)}",
        "amount": _minor(amount, currency),
        "currency": currency,
        "description": description,
        "capture": "manual" if hold else "automatic",
        "profit_sharing": profit_sharing,
    }
    if channel:
        body["method"] = {
            "channel": channel,
            "product": Product.CODE if code else product,
            "auth_code": code,
        }
    made = Client().post("/v1/payments", body)
    _show(made, as_json=as_json)
    for attempt in made["attempts"] if not as_json else ():
        out.print(f"attempt through {attempt['channel']}: [bold]{attempt['state']}[/]")
        action = attempt["action"] or {}
        if action.get("type") == "qr_code":
            out.print(action["content"])
            segno.make(action["content"], error="m").terminal(compact=True)
        elif action.get("type") == "redirect":
            out.print(action["url"])


def query(payment: Payment, *, as_json: Json = False) -> None:
    """Ask the channel how it stands with a payment, and show it."""
    _show(Client().post(f"/v1/payments/{payment}/query"), as_json=as_json)


def close(payment: Payment, *, as_json: Json = False) -> None:
    """Close a payment that shall not be paid any more."""
    _show(Client().post(f"/v1/payments/{payment}/close"), as_json=as_json)


def capture(
    payment: Payment,
    amount: Annotated[str | None, typer.Argument(help="All that is held when not given.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Take what a payment holds, or a part of it; the rest is let go."""
    client = Client()
    body: dict[str, Any] = {}
    if amount is not None:
        currency = client.get(f"/v1/payments/{payment}")["currency"]
        body["amount"] = _minor(amount, currency)
    _show(client.post(f"/v1/payments/{payment}/capture", body), as_json=as_json)


def void(payment: Payment, *, as_json: Json = False) -> None:
    """Let go of what a payment holds."""
    _show(Client().post(f"/v1/payments/{payment}/void"), as_json=as_json)


def refund(
    payment: Payment,
    amount: Annotated[str | None, typer.Argument(help="All that is left when not given.")] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="Shown to the customer.")] = None,
    as_json: Json = False,
) -> None:
    """Give a payment back, or a part of it."""
    client = Client()
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if amount is not None:
        currency = client.get(f"/v1/payments/{payment}")["currency"]
        body["amount"] = _minor(amount, currency)
    given = client.post(f"/v1/payments/{payment}/refunds", body)
    if as_json:
        print_json(given)
    else:
        print_fields(given, ("id", "payment_id", "amount", "currency", "state", "channel_message"))


def _minor(text: str, currency: str) -> int:
    return Money.from_major(text, currency).minor


def _show(payment: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(payment)
    else:
        print_fields(payment, FIELDS)
