"""The loader of named SQL: what a file may hold, and what is refused."""

import copy
import pickle

import pytest

from qiao.store.sql import load_statements, parse_statements

TWO = """-- What the file is for.

-- name: first
-- One; really.
SELECT ';' FROM "a;b" /* ; */ WHERE x = $1; -- the end

-- name: second_1
DO $$ BEGIN PERFORM 1; PERFORM 2; END $$
"""


def test_each_block_is_one_statement_without_its_semicolon() -> None:
    statements = parse_statements("two", TWO)
    assert dict(statements) == {
        "first": "-- One; really.\nSELECT ';' FROM \"a;b\" /* ; */ WHERE x = $1",
        "second_1": "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$",
    }
    assert statements.first == statements["first"]
    assert len(statements) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "'a' is given twice"),
        ("-- name: a\nSELECT 1; SELECT 2", "a: holds more than one statement"),
        ("-- name: a\n-- only a comment\n;", "a: holds no statement"),
        ("-- name: a\n-- name: b\nSELECT 1", "a: holds no statement"),
        ("-- name: NotSnake\nSELECT 1", "'NotSnake' is not a snake_case name"),
        ("-- name: two words\nSELECT 1", "'two words' is not a snake_case name"),
        ("-- name:\nSELECT 1", "'' is not a snake_case name"),
        ("SELECT 1;\n-- name: a\nSELECT 2", "SQL before the first"),
    ],
    ids=["twice", "two", "comment", "empty", "camel", "words", "nameless", "before"],
)
def test_a_malformed_file_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_statements("bad", text)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"two\.sql has no statement 'insert_paymant'"):
        _ = parse_statements("two", TWO).insert_paymant
    with pytest.raises(KeyError):
        _ = parse_statements("two", TWO)["insert_paymant"]


def test_the_packaged_file_is_read_once() -> None:
    assert load_statements("outbox") is load_statements("outbox")
    assert {"enqueue", "claim", "settle"} <= set(load_statements("outbox"))
    with pytest.raises(FileNotFoundError):
        load_statements("no_such_file")


def test_statements_can_be_copied() -> None:
    statements = parse_statements("two", TWO)
    assert copy.deepcopy(statements) == statements
    assert pickle.loads(pickle.dumps(statements)) == statements
