"""A statement is read to the last line, or not at all."""

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from hypothesis import given
from hypothesis import strategies as st

from qiao.channels.conformance.checks.garbage import KNOWN_GARBAGE
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.promises import cases, promise
from qiao.channels.conformance.randomness import random_settings
from qiao.channels.conformance.trials import Trial, implemented, trials
from qiao.channels.conformance.vocabulary import (
    NotApplicable,
    PromiseBroken,
    StatementSample,
    Status,
    Verb,
    require,
)
from qiao.channels.interface import Capability, StatementEntry, Statements
from qiao.domain.errors import AnswerUnreadable

_CUTS: Final = 200
"""At how many places, at most, a statement is cut off."""


def _parser(harness: ConformanceHarness) -> Statements:
    if not implemented(harness.channel, Capability.STATEMENTS):
        raise NotApplicable("the channel has no statements")
    return cast("Statements", harness.channel)


def _essence(entries: Sequence[StatementEntry]) -> list[tuple[object, ...]]:
    """The entries without ``columns``, which a harness need not repeat."""
    return [
        (
            *(entry.kind, entry.reference, entry.refund_reference, entry.channel_reference),
            *(entry.amount, entry.fee_minor, entry.booked_at),
        )
        for entry in entries
    ]


def _read(parser: Statements, content: bytes) -> Sequence[StatementEntry] | None:
    """The entries, or None when the statement is refused; any other error breaks the promise."""
    try:
        return list(parser.parse_statement(content))
    except AnswerUnreadable:
        return None
    except Exception as error:
        raise PromiseBroken(f"raised {type(error).__name__}") from error


@promise("a statement's entries are read exactly")
def check_statements_are_read_exactly(harness: ConformanceHarness) -> None:
    parser = _parser(harness)
    with cases() as tried:
        for number, sample in enumerate(harness.statements(), 1):
            with tried.case(f"statement {number}"):
                entries = _read(parser, sample.content)
                if entries is None:
                    raise PromiseBroken("a genuine statement is refused")
                got, wanted = _essence(entries), _essence(sample.entries)
                require(len(got) == len(wanted), f"has {len(got)} entries, not {len(wanted)}")
                for line, (one, other) in enumerate(zip(got, wanted, strict=True), 1):
                    require(one == other, f"entry {line} is {one}, not {other}")
                for entry in entries:
                    require(not entry.booked_at.utcoffset(), "booked_at is not UTC")
                    require(entry.columns, "an entry has none of the channel's own columns")


@promise("a statement that is cut off, lacks a line or is none is AnswerUnreadable")
def check_damaged_statements_are_unreadable(harness: ConformanceHarness) -> None:
    parser = _parser(harness)
    samples = harness.statements()
    with cases() as tried:
        for number, sample in enumerate(samples, 1):
            for title, damaged in _damages(sample):
                with tried.case(f"statement {number}, {title}"):
                    _require_not_fewer(parser, sample, damaged)
        for garbage in KNOWN_GARBAGE:
            with tried.case("garbage"):
                require(_read(parser, garbage) is None, f"reads {garbage[:30]!r} as a statement")

    @random_settings(harness)
    @given(st.binary(max_size=400))
    def garble(content: bytes) -> None:
        require(_read(parser, content) is None, "reads garbage as a statement")

    garble()


def _require_not_fewer(parser: Statements, sample: StatementSample, damaged: bytes) -> None:
    entries = _read(parser, damaged)
    if entries is not None:
        same = _essence(entries) == _essence(sample.entries)
        require(same, f"is read with {len(entries)} entries of {len(sample.entries)}")


def _damages(sample: StatementSample) -> Iterator[tuple[str, bytes]]:
    content = sample.content
    step = max(1, len(content) // _CUTS)
    for length in range(0, len(content), step):
        yield f"cut off after {length} bytes", content[:length]
    for title, text, pack in _layers(content):
        lines = text.splitlines(keepends=True)
        for index in range(len(lines)):
            rest = b"".join(lines[:index] + lines[index + 1 :])
            yield f"without line {index + 1}{title}", pack(rest)
            yield f"ended before line {index + 1}{title}", pack(b"".join(lines[:index]))


def _layers(content: bytes) -> Iterator[tuple[str, bytes, Callable[[bytes], bytes]]]:
    """The text of a statement, unpacked where it is packed, and how to pack it again."""
    if content.startswith(b"\x1f\x8b"):
        yield " of the unpacked text", gzip.decompress(content), gzip.compress
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {info: archive.read(info) for info in archive.infolist()}
        for info, text in files.items():
            yield f" of the file of {len(text)} bytes", text, _zip_with(files, info)
    else:
        yield "", content, bytes


def _zip_with(
    files: Mapping[zipfile.ZipInfo, bytes], changed: zipfile.ZipInfo
) -> Callable[[bytes], bytes]:
    def pack(text: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for info, content in files.items():
                archive.writestr(info, text if info is changed else content)
        return packed.getvalue()

    return pack


@promise("a statement comes as its own bytes; a day without one is None")
def check_statements_are_downloaded(harness: ConformanceHarness) -> None:
    _parser(harness)
    content = harness.statements()[0].content
    trial: Trial = next(t for t in trials(harness) if t.situation.verb is Verb.DOWNLOAD_STATEMENT)
    result = trial.run(harness, trial.told(Status.SUCCEEDED))
    require(result.outcome == content, f"came out as {result}, not as the statement's bytes")
