"""``qiao channels`` and ``qiao channel new``."""

from pathlib import Path
from typing import Annotated

import typer

from qiao.cli.output import Json, out, print_json, print_table
from qiao.engine.accounts import installed_channels
from qiao.scaffold.channel import entry_point, scaffold_channel

channel = typer.Typer(no_args_is_help=True)


def channels(*, as_json: Json = False) -> None:
    """Every channel that is installed, and what it can do."""
    manifests = [kind.manifest for _, kind in sorted(installed_channels().items())]
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "name": dict(one.name),
                    "products": sorted(one.products),
                    "currencies": sorted(one.currencies),
                    "capabilities": sorted(one.capabilities),
                    "documentation_url": one.documentation_url,
                }
                for one in manifests
            ]
        )
        return
    print_table(
        ("channel", "name", "products", "currencies", "besides"),
        [
            (
                one.id,
                f"{one.name['zh']} {one.name['en']}",
                ", ".join(sorted(one.products)),
                ", ".join(sorted(one.currencies)),
                ", ".join(sorted(one.capabilities)),
            )
            for one in manifests
        ],
    )


@channel.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The channel's id, in snake_case.")],
    *,
    root: Annotated[Path, typer.Option(help="The folder of the repository.")] = Path(),
    as_json: Json = False,
) -> None:
    """Make the folders of a new channel: adapter, simulator, page, conformance tests."""
    made = scaffold_channel(name, root)
    if as_json:
        print_json({"files": [str(path) for path in made], "entry_point": entry_point(name)})
        return
    for path in made:
        out.print(f"[green]new[/] {path}")
    out.print("Now name it in pyproject.toml:")
    out.print(f"  {entry_point(name)}", markup=False)
