"""``qiao ledger``: the books' proof, and what stands on a merchant's accounts."""

import asyncio
import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from qiao.bootstrap.config import load_config
from qiao.bootstrap.engine import open_database_url
from qiao.cli.client import Client
from qiao.cli.output import Json, out, print_json, print_table
from qiao.domain.ledger import Balance
from qiao.domain.money import Money
from qiao.engine.ledger import Proof, prove
from qiao.store.database import open_database

ledger = typer.Typer(no_args_is_help=True, help="See the books, and prove that they are right.")
Time = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Such as 2026-01-31T00:00:00Z."),
]


@ledger.command("check")
def check(*, as_json: Json = False) -> None:
    """Prove the books of every merchant from nothing; 1 when anything is wrong."""
    proof = asyncio.run(_prove())
    if as_json:
        print_json(_document(proof))
    else:
        _print(proof)
    sys.exit(1 if proof.mistakes else 0)


@ledger.command("balances")
def balances(*, at: Time = None, as_json: Json = False) -> None:
    """What stands on the merchant's accounts, now or at a time."""
    query = {} if at is None else {"at": at.isoformat()}
    found = Client().get("/v1/ledger/balances", **query)
    if as_json:
        print_json(found)
        return
    print_table(
        ("account", "currency", "debits", "credits", "balance"),
        [
            (
                one["account"],
                one["currency"],
                *(_major(one[name], one["currency"]) for name in ("debits", "credits", "balance")),
            )
            for one in found["data"]
        ],
    )


async def _prove() -> Proof:
    async with (
        open_database_url(load_config()) as url,
        open_database(url, min_size=1, max_size=1, patient=True) as database,
        database.transaction() as queries,
    ):
        await queries.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Before the snapshot is taken: no partition that it shows can be archived away under it.
        await queries.execute("LOCK TABLE ledger_entry IN ACCESS SHARE MODE")
        return await prove(queries)


def _document(proof: Proof) -> dict[str, Any]:
    return {
        "right": not proof.mistakes,
        "entries": proof.entries,
        "merchants": proof.merchants,
        "trial_balance": [
            {
                "live": live,
                "account": one.account,
                "currency": one.currency,
                "debits": one.debits_minor,
                "credits": one.credits_minor,
            }
            for live, one in proof.trial_balance
        ],
        "mistakes": [{"kind": one.kind, **one.detail} for one in proof.mistakes],
    }


def _print(proof: Proof) -> None:
    print_table(
        ("mode", "account", "currency", "debits", "credits"),
        [
            (
                "live" if live else "test",
                one.account,
                one.currency,
                _major(one.debits_minor, one.currency),
                _major(one.credits_minor, one.currency),
            )
            for live, one in [*proof.trial_balance, *_totals(proof)]
        ],
    )
    for mistake in proof.mistakes:
        told = ", ".join(f"{name}={value}" for name, value in mistake.detail.items())
        out.print(f"[red]✗[/] {mistake.kind}: {told}")
    verdict = f"{proof.entries} entries of {proof.merchants} merchants"
    if proof.mistakes:
        out.print(f"[red]The books are wrong[/]: {verdict}")
    else:
        out.print(f"[green]✓[/] The books are right: {verdict}")


def _totals(proof: Proof) -> list[tuple[bool, Balance]]:
    keys = sorted({(live, one.currency) for live, one in proof.trial_balance})
    return [
        (
            live,
            Balance(
                account="total",
                currency=currency,
                debits_minor=sum(one.debits_minor for one in _of(proof, live, currency)),
                credits_minor=sum(one.credits_minor for one in _of(proof, live, currency)),
            ),
        )
        for live, currency in keys
    ]


def _of(proof: Proof, live: bool, currency: str) -> list[Balance]:
    return [one for mode, one in proof.trial_balance if (mode, one.currency) == (live, currency)]


def _major(minor: int, currency: str) -> str:
    sign = "-" if minor < 0 else ""
    return sign + Money(abs(minor), currency).to_major()
