"""In which language a command speaks that knows two."""

import os
from enum import StrEnum
from typing import Annotated

import typer


class Language(StrEnum):
    """A language that texts for people come in."""

    ZH = "zh"
    EN = "en"


Lang = Annotated[Language | None, typer.Option(help="By default that of LANG.")]


def language(given: Language | None) -> Language:
    """What was asked for, or Chinese where the terminal's language is (POSIX's order)."""
    if given is not None:
        return given
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((one for one in named if one), "")
    return Language.ZH if first.startswith("zh") else Language.EN
