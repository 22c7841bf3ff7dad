"""Named SQL: every statement stands in a ``.sql`` file beside this module and has a name.

A file is a list of blocks::

    -- name: insert_payment
    -- Any further comment goes to the server with the statement, and is seen in its logs.
    INSERT INTO payment (merchant_id, payment_id) VALUES ($1, $2);

Each block holds one statement, because PostgreSQL prepares statements one at a time.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

HEADER = re.compile(r"^--[ \t]*name:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
# What may hold a semicolon without ending the statement: dollar quotes, strings, quoted names,
# comments. Then the semicolon itself.
TOKEN = re.compile(
    r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(?P<end>;)", re.DOTALL
)


class Statements(Mapping[str, str]):
    """The statements of one file, by name: ``statements.insert_payment`` is its text.

    An unknown name is an AttributeError, so that a misspelled one at the top of a module fails
    when the module is imported.
    """

    def __init__(self, name: str, statements: Mapping[str, str]) -> None:
        self._name = name
        self._statements = dict(statements)

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):  # copying and pickling ask for these before there is a value
            raise AttributeError(name)
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"{self._name}.sql has no statement {name!r}") from None

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


@cache
def load_statements(name: str) -> Statements:
    """The statements of ``sql/<name>.sql``; ValueError when the file is not well formed."""
    source = files("qiao.store").joinpath("sql", f"{name}.sql")
    return parse_statements(name, source.read_text("utf-8"))


def parse_statements(name: str, text: str) -> Statements:
    """What ``load_statements`` gives for a file called ``name`` that holds ``text``."""
    before, *blocks = HEADER.split(text)
    if _bare(before):
        raise ValueError(f"{name}.sql: there is SQL before the first '-- name:' line")
    found: dict[str, str] = {}
    for label, body in zip(blocks[::2], blocks[1::2], strict=True):
        if not NAME.match(label):
            raise ValueError(f"{name}.sql: {label!r} is not a snake_case name")
        if label in found:
            raise ValueError(f"{name}.sql: the name {label!r} is given twice")
        found[label] = _single(f"{name}.sql: {label}", body)
    return Statements(name, found)


def _single(where: str, body: str) -> str:
    """The one statement in ``body``, without its closing semicolon."""
    end = next((match.start() for match in TOKEN.finditer(body) if match["end"]), len(body))
    if _bare(body[end + 1 :]):
        raise ValueError(f"{where}: holds more than one statement")
    if not _bare(body[:end]):
        raise ValueError(f"{where}: holds no statement")
    return body[:end].strip()


def _bare(text: str) -> str:
    """``text`` without comments and space."""
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()
