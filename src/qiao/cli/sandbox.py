"""``qiao sandbox``: the simulated channels alone, for whoever develops against them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from qiao.bootstrap.config import load_config
from qiao.bootstrap.serving import until_signalled
from qiao.cli.languages import Lang, language
from qiao.cli.output import Json, out, print_fields, print_json, print_table
from qiao.domain.errors import InvalidInput
from qiao.simulators.kit.scenarios import ENTRIES
from qiao.simulators.sandbox import (
    KINDS,
    TIME_SCALE,
    AlreadyRunning,
    PortTaken,
    Running,
)
from qiao.simulators.sandbox import sandbox as run_sandbox

FOLDER = "sandbox"
HIGHEST_PORT = 65535
sandbox = typer.Typer(invoke_without_command=True)


def sandbox_folder(home: str) -> Path:
    """Where a home keeps the credentials and addresses of its simulated channels."""
    return Path(home) / FOLDER


@sandbox.callback()
def run(
    context: typer.Context,
    *,
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="CHANNEL", help="Simulate only this one; may be given again."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=HIGHEST_PORT,
            metavar="PORT",
            help="The first channel's port, the others' follow; 0 takes free ones.",
            show_default="one for each channel",
        ),
    ] = None,
    time_scale: Annotated[
        float,
        typer.Option(
            min=0.01,
            metavar="FACTOR",
            help="How much faster than real their retries and delays run.",
        ),
    ] = TIME_SCALE,
    as_json: Json = False,
) -> None:
    """Run the simulated channels alone, on this machine only, until stopped."""
    if context.invoked_subcommand is None:
        asyncio.run(_stay(_chosen(channel or []), port=port, scale=time_scale, as_json=as_json))


@sandbox.command()
def scenarios(*, lang: Lang = None, as_json: Json = False) -> None:
    """What a simulated channel does with certain amounts: same amount, same outcome."""
    if as_json:
        print_json(ENTRIES)
        return
    chosen = language(lang)
    print_table(
        ("amount", "in yuan", "scenario", "what happens"),
        [
            (
                one.minor,
                f"{one.minor // 100}.{one.minor % 100:02}",
                one.scenario,
                one.description[chosen],
            )
            for one in ENTRIES
        ],
    )
    out.print("Refunds go by their payment's amount. Every other amount goes well.")


def _chosen(given: list[str]) -> list[str]:
    for name in given:
        if name not in KINDS:
            raise InvalidInput(
                f"there is no simulator of {name!r}",
                field="channel",
                remedy=f"choose from: {', '.join(KINDS)}",
            )
    return list(dict.fromkeys(given)) or list(KINDS)


async def _stay(channels: list[str], *, port: int | None, scale: float, as_json: bool) -> None:
    folder = sandbox_folder(load_config().home)
    if port is not None and port + len(channels) - 1 > HIGHEST_PORT:
        raise InvalidInput(
            f"the last channel's would be above {HIGHEST_PORT}",
            field="port",
            remedy="give a smaller one, or 0 for free ones",
        )
    try:
        async with run_sandbox(folder, channels, time_scale=scale, port=port) as running:

            def tell() -> None:
                if as_json:
                    print_json([_document(one, scale) for one in running])
                else:
                    _introduce(running, folder)

            await until_signalled(tell)
    except PortTaken as error:
        raise InvalidInput(
            f"{error.port} is taken", field="port", remedy="give another one, or 0 for free ones"
        ) from None
    except AlreadyRunning:
        raise InvalidInput(
            "a sandbox runs in this home already",
            field="QIAO_HOME",
            remedy="use that one, stop it, or give this one another QIAO_HOME",
        ) from None


def _document(one: Running, scale: float) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "url": one.url,
        "wallet_url": f"{one.url}/wallet/scenarios",
        "code_url": f"{one.url}/wallet/code",
        "control_url": f"{one.url}/_control",
        "time_scale": scale,
        "settings": {name: str(path) for name, path in one.accounts.items()},
    }


def _introduce(running: list[Running], folder: Path) -> None:
    for one in running:
        out.print(f"[bold]{one.channel}[/], simulated on this machine only")
        shown = {
            "address": one.url,
            "wallet": f"{one.url}/wallet/scenarios",
            "payment codes": f"{one.url}/wallet/code",
            "control": f"{one.url}/_control/payments  …/faults  …/deliveries",
            "settings": f"{folder / one.channel}/{{{','.join(one.accounts)}}}.json",
        }
        print_fields({f"  {name}": text for name, text in shown.items()}, _names(shown))
        if one.moved:
            out.print("  [yellow]Its usual port is taken: add accounts that use it again.[/]")
    first = running[0]
    account = first.accounts["ordinary"]
    out.print("\nPay through it: in other terminals")
    for line in (
        "qiao serve",
        'qiao merchant add "Tea House"',
        "qiao key issue MERCHANT_ID        # export QIAO_API_KEY=…",
        f"qiao account put MERCHANT_ID {first.channel} {account}",
        f"qiao pay 12.50 --channel {first.channel}",
        "qiao trigger payment.paid",
    ):
        out.print(f"  {line}", markup=False)
    out.print("Stop with Ctrl+C.")


def _names(shown: dict[str, str]) -> list[str]:
    return [f"  {name}" for name in shown]
