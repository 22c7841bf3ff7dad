"""``qiao channels`` and ``qiao channel new``."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from qiao.channels.diagnosis import Words
from qiao.channels.interface import ChannelType
from qiao.channels.requests import Product
from qiao.cli.languages import Lang, Language, language
from qiao.cli.output import Json, out, print_json, print_table
from qiao.engine.accounts import installed_channels
from qiao.scaffold.channel import entry_point, scaffold_channel

channel = typer.Typer(no_args_is_help=True, help="Make a new channel.")


PRODUCTS: Final = {
    Product.QR: Words(en="the customer scans the merchant's QR code", zh="二维码：用户扫商户"),
    Product.CODE: Words(en="the merchant scans the customer's code", zh="付款码：商户扫用户"),
    Product.PAGE: Words(en="a page of the channel, on a computer", zh="电脑网页"),
    Product.H5: Words(en="a mobile page that opens the wallet", zh="手机网页（H5）唤起钱包"),
    Product.APP: Words(en="parameters for the wallet's app SDK", zh="App 支付"),
    Product.MINI_PROGRAM: Words(en="inside a mini program of the wallet", zh="小程序"),
    Product.OFFICIAL_ACCOUNT: Words(en="on a page inside the wallet (JSAPI)", zh="公众号、生活号"),
}


def channels(*, lang: Lang = None, as_json: Json = False) -> None:
    """Every channel that is installed, and what it can do."""
    kinds = [kind for _, kind in sorted(installed_channels().items())]
    if as_json:
        print_json([_document(kind) for kind in kinds])
        return
    chosen = language(lang)
    print_table(
        ("channel", "name", "currencies", "also"),
        [
            (
                one.id,
                one.name[chosen],
                ", ".join(sorted(one.currencies)),
                ", ".join(sorted(one.capabilities)),
            )
            for one in (kind.manifest for kind in kinds)
        ],
    )
    out.print()
    print_table(
        ("product", "how the customer pays", "channels"),
        [
            (
                product,
                words.zh if chosen is Language.ZH else words.en,
                ", ".join(kind.manifest.id for kind in kinds if product in kind.manifest.products),
            )
            for product, words in PRODUCTS.items()
        ],
    )


def _document(kind: ChannelType) -> dict[str, Any]:
    one = kind.manifest
    return {
        "id": one.id,
        "name": dict(one.name),
        "products": sorted(one.products),
        "currencies": sorted(one.currencies),
        "min_amount": one.min_minor,
        "max_amount": one.max_minor,
        "capabilities": sorted(one.capabilities),
        "documentation_url": one.documentation_url,
    }


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
