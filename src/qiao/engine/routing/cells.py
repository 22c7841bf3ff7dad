"""One cell of a decision table: what is written in it, compiled by zen-engine."""

import json
import re
from typing import Annotated, Any, Final

from msgspec import Meta

from qiao.engine.routing.wanted import METADATA, NUMBERS, TEXTS

Cell = (
    Annotated[str, Meta(max_length=500)]
    | int
    | Annotated[list[Annotated[str, Meta(max_length=500)] | int], Meta(max_length=200)]
)
"""An expression, one value, or a list of which one must be it. An empty text holds always."""

WORD: Final = re.compile(r"[\w.\-]+")
QUOTED: Final = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
NAME: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
WORDS: Final = frozenset({"and", "false", "in", "not", "null", "or", "true"})
FUNCTIONS: Final = frozenset(
    {"abs", "contains", "endsWith", "len", "lower", "matches", "startsWith", "upper"}
)
MAX_DEPTH: Final = 20
EXAMPLE: Final[dict[str, Any]] = {
    **dict.fromkeys(NUMBERS, 1),
    **dict.fromkeys(TEXTS, "a"),
    "metadata": {},
}


class CompiledCell:
    """A cell that can be asked; made by :func:`compile_cell`."""

    def __init__(self, column: str, text: str) -> None:
        import zen  # 7 MB, for none but those who have rules

        self.column = column
        self._wants_null = text == "null"
        # Handing all inputs over costs more than asking: only where the cell names another.
        self._names_others = any(name not in WORDS | FUNCTIONS for name in _names(text))
        self._expression: Any = zen.compile_unary_expression(text)

    def holds(self, inputs: dict[str, Any]) -> bool:
        """Whether it is so. What is not known holds only for ``null``; what fails does not."""
        value = _value(self.column, inputs)
        if value is None:
            return self._wants_null
        asked = {**inputs, "$": value} if self._names_others else {"$": value}
        try:
            return self._expression.evaluate(asked) is True
        except RuntimeError:  # it compares with another input, which is not known
            return False

    def try_out(self) -> None:
        """Raises ValueError when it cannot be asked of such a column at all."""
        value = "a" if self.column.startswith(METADATA) else EXAMPLE[self.column]
        try:
            self._expression.evaluate({**EXAMPLE, "$": value})
        except RuntimeError as error:
            kind = "a number" if isinstance(value, int) else "a text"
            raise ValueError(f"cannot be asked of {kind} ({_reason(error)})") from None


def compile_cell(column: str, cell: Cell) -> CompiledCell:
    """The cell of a column, ready to be asked. Raises ValueError, which says what is wrong."""
    number = column in NUMBERS
    if not number and column not in TEXTS and not (column.startswith(METADATA) and column[9:]):
        known = ", ".join(sorted(NUMBERS | TEXTS))
        raise ValueError(f"there is no such column; there are {known} and {METADATA}…")
    text = _expression(cell, number=number)
    if not text:
        text = "1 == 1"
    _check(text)
    try:
        compiled = CompiledCell(column, text)
    except RuntimeError as error:
        raise ValueError(_reason(error)) from None
    if METADATA[:-1] not in QUOTED.sub("", text):
        compiled.try_out()
    return compiled


def _expression(cell: Cell, *, number: bool) -> str:
    """Words need no quotes, and lists none of the language's brackets."""
    if isinstance(cell, bool):
        raise ValueError("neither a number nor a text")
    if isinstance(cell, list):
        if not cell or any(isinstance(one, int) is not number for one in cell):
            raise ValueError(f"not a list of {'whole numbers' if number else 'texts'}")
        return f"in [{', '.join(_literal(one) for one in cell)}]"
    text = _literal(cell) if isinstance(cell, int) else cell.strip()
    if isinstance(cell, int) and not number:
        raise ValueError("a number, where the column holds texts")
    if not number and text not in WORDS and WORD.fullmatch(text):
        return _literal(text)
    return text


def _literal(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    if "'" in value or "\\" in value:
        raise ValueError("a text may hold neither ' nor a backslash")
    return f"'{value}'"


def _check(text: str) -> None:
    """Raises ValueError for names that mean nothing: the language would take them for null."""
    bare = QUOTED.sub("", text)
    if any(bare.count(bracket) > MAX_DEPTH for bracket in "([{"):
        raise ValueError(f"more than {MAX_DEPTH} brackets")
    for name in _names(text):
        root = name.partition(".")[0]
        if name not in WORDS | FUNCTIONS | NUMBERS | TEXTS and root != METADATA[:-1]:
            raise ValueError(f"{name!r} is no column (a word in an expression wants quotes)")


def _names(text: str) -> list[str]:
    return NAME.findall(QUOTED.sub("", text))


def _value(column: str, inputs: dict[str, Any]) -> Any:
    if column.startswith(METADATA):
        return inputs["metadata"].get(column.removeprefix(METADATA))
    return inputs[column]


def _reason(error: RuntimeError) -> str:
    """What zen-engine says, without its trace: the first line is a JSON document."""
    try:
        return str(json.loads(str(error).partition("\n")[0])["source"])
    except (ValueError, KeyError, TypeError):
        return "not an expression"
