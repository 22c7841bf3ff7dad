"""``qiao doctor``: which of an account's credentials is wrong, and how to mend it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from qiao.bootstrap.config import load_config
from qiao.bootstrap.engine import open_engine
from qiao.channels.diagnosis import Diagnosis, Finding, General, Probe, Words
from qiao.channels.interface import ChannelType
from qiao.cli.files import read_settings_file
from qiao.cli.languages import Lang, Language, language
from qiao.cli.output import Json, out, print_json
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import NotSent, Unknown
from qiao.engine.accounts import installed_channels
from qiao.transport.blocking import BlockingTransport
from qiao.transport.context import system_context

LOADS: Final = Words(
    en="every setting loads, and those that must go together do",
    zh="设置项齐全，密钥、证书相互匹配",
)


def doctor(
    channel: Annotated[str, typer.Argument(help="The channel's id; see: qiao channels.")],
    *,
    settings: Annotated[
        Path | None, typer.Option(help="A file of settings, TOML or (.json) JSON.", dir_okay=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Or an account of this server, by its name or id.")
    ] = None,
    with_order: Annotated[
        bool, typer.Option("--with-order", help="Also make an order of 0.01, and close it.")
    ] = False,
    lang: Lang = None,
    as_json: Json = False,
) -> None:
    """Say which credential of an account is wrong, and how to mend it.

    Looks at the settings, and asks the channel about an order that does not exist. Its exit code
    is 0 only if all is well.
    """
    kinds = installed_channels()
    kind = kinds.get(channel)
    if kind is None:
        raise InvalidInput(
            f"there is no channel {channel!r}",
            field="channel",
            remedy=f"choose one of: {', '.join(sorted(kinds))}",
        )
    values = _values(channel, settings, account)
    done, findings = examine(kind, values, with_order=with_order)
    if as_json:
        print_json(
            {"channel": channel, "well": not findings, "checked": done, "findings": findings}
        )
    else:
        _show(done, findings, language(lang))
    if findings:
        raise typer.Exit(1)


def examine(
    kind: ChannelType, values: Mapping[str, object], *, with_order: bool = False
) -> tuple[list[Words], list[Finding]]:
    """What was found to be well, and what was not."""
    diagnosis: Diagnosis = kind.diagnosis or General(kind.settings, kind.open)
    findings = list(diagnosis.check(values, datetime.now(UTC)))
    if findings:
        return [], findings
    done = [LOADS]
    with BlockingTransport() as transport:
        for probe in diagnosis.probes(values, system_context(), with_order=with_order):
            told = transport.run(probe.operation)
            findings = [_silence(probe, told)] if isinstance(told, NotSent | Unknown) else [*told]
            if findings:
                return done, findings
            done.append(probe.asks)
    return done, []


def _values(channel: str, settings: Path | None, account: str | None) -> dict[str, Any]:
    if (settings is None) == (account is None):
        raise InvalidInput(
            "nothing to look at" if settings is None else "two things to look at",
            field="settings",
            remedy="give either --settings FILE or --account NAME",
        )
    if settings is not None:
        return read_settings_file(settings)

    async def stored() -> dict[str, Any]:
        async with open_engine(load_config(), max_connections=2) as engine:
            return await engine.accounts.settings_named(channel, account or "")

    return asyncio.run(stored())


def _silence(probe: Probe, told: NotSent | Unknown) -> Finding:
    if isinstance(told, NotSent):
        return Finding(
            code="unreachable",
            field=probe.field,
            text=Words(
                en=f"no connection comes about ({told.reason})", zh=f"无法连接（{told.reason}）"
            ),
            remedy=Words(
                en="check the address, DNS, the firewall, and the network's way out",
                zh="请检查地址、DNS、防火墙和出网",
            ),
        )
    return Finding(
        code="no_answer",
        field=probe.field,
        text=Words(
            en=f"no answer that can be read ({told.reason})", zh=f"没有可读的应答（{told.reason}）"
        ),
        remedy=Words(
            en="ask again; then check the address and whether a proxy stands in between",
            zh="请再试一次；仍然如此则检查地址以及中间是否有代理",
        ),
    )


def _show(done: list[Words], findings: list[Finding], lang: Language) -> None:
    for words in done:
        out.print(f"[green]✓[/] {_in(words, lang)}")
    for one in findings:
        out.print(f"[red]✗[/] [bold]{escape(one.field)}[/]: {_in(one.text, lang)}")
        out.print(f"  → {_in(one.remedy, lang)}  [dim]({one.code})[/]")


def _in(words: Words, lang: Language) -> str:
    return escape(words.zh if lang is Language.ZH else words.en)
