"""``qiao demo``."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.panel import Panel

from qiao.bootstrap.config import Config, load_config
from qiao.bootstrap.serving import until_signalled
from qiao.cli.output import Json, out, print_json, print_table
from qiao.demo.story import Chapter, tell_story
from qiao.demo.world import API_KEY, World, running


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Tell the story unattended and end; 0 if all went well.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the platform, simulated channels and a small shop in this terminal."""
    config = load_config()
    if once:
        chapters = asyncio.run(_once(config, quiet=as_json))
        _print(chapters, as_json=as_json)
        sys.exit(0 if all(chapter.went_well for chapter in chapters) else 1)
    asyncio.run(_stay(config, as_json=as_json))


async def _once(config: Config, *, quiet: bool) -> list[Chapter]:
    async with running(config, (lambda _: None) if quiet else _tell) as world:
        if not quiet:
            _summary(world)
        return await tell_story(world)


async def _stay(config: Config, *, as_json: bool) -> None:
    async with running(config, (lambda _: None) if as_json else _tell) as world:
        await until_signalled(lambda: _document(world) if as_json else _summary(world))


def _document(world: World) -> None:
    print_json(
        {
            "url": world.url,
            "api_key": API_KEY,
            "shop_url": world.shop.url,
            "alipay_url": world.alipay.base_url,
            "wechat_url": world.wechat.base_url,
            "home": world.home,
        }
    )


def _tell(line: str) -> None:
    out.print(f"  [dim]·[/] {line}")


def _summary(world: World) -> None:
    lines = (
        f"[bold]Shop[/]        {world.shop.url}   buy something here",
        f"[bold]API[/]         {world.url}/v1   reference: {world.url}/docs",
        f"[bold]API key[/]     {API_KEY}",
        f"[bold]Alipay[/]      {world.alipay.base_url}/wallet/scenarios   simulated",
        f"[bold]WeChat Pay[/]  {world.wechat.base_url}/wallet/scenarios   simulated",
        f"[bold]Data[/]        {world.home}   embedded PostgreSQL",
    )
    out.print(Panel("\n".join(lines), title="Qiao 桥", expand=False))
    out.print("What happens, as it happens (stop with Ctrl+C):")


def _print(chapters: list[Chapter], *, as_json: bool) -> None:
    if as_json:
        print_json(chapters)
        return
    print_table(
        ("", "payment", "expected", "happened"),
        [
            (
                "[green]✓[/]" if one.went_well else "[red]✗[/]",
                one.title,
                one.expected,
                one.happened,
            )
            for one in chapters
        ],
    )
