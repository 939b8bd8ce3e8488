"""Texts to classify, row by row: bad rows are reported, not fatal; the file is not held in memory."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from meta_text.corpus.arrow_rows import parquet_length, parquet_rows
from meta_text.corpus.labels import decoded
from meta_text.corpus.read_rows import kind_of, table_rows
from meta_text.corpus.table_row import BadRow, Row, heading_of, is_blank, no_column
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError, MetaTextError
from meta_text.parsing import parse_json

STDIN = "-"
CHUNK_ROWS = 2048  # in memory together, sorted by length for the model
COUNTED_BYTES = 32 * 2**20  # largest file that is read once more only to count its rows, about a second
SLOW_SECONDS = 1.0  # after waiting this long for rows, the next chunk is smaller
NO_CELLS: Mapping[str, Any] = MappingProxyType({})


class InputRow(NamedTuple):
    """A row by its number, counted from 1; `problem` says why it has no text to classify."""

    number: int
    text: str | None
    problem: str | None
    cells: Mapping[str, Any] = NO_CELLS  # all cells of the row, including the text


def input_rows(
    source: str,
    column: str = "text",
    *,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
) -> Iterator[InputRow]:
    """Rows of a file in any supported format, or of standard input ("-": JSON objects, or one text per line).

    A row that cannot be read or has no text becomes a row with a problem, and the others are still answered; so does
    the end of a truncated gzip file. Blank rows at the end are skipped. A guessed separator or encoding is reported
    to `note`; without it nothing is guessed. Raises CorpusError for a missing file, an unknown format, or a table
    without the column.
    """
    if source == STDIN:
        yield from _from_pipe(sys.stdin.buffer, column)
        return
    rows = _until_broken(table_rows(source, (column,), separator=separator, encoding=encoding, note=note))
    lines = ".json" in source.lower() or ".ndjson" in source.lower()  # each row has columns of its own
    for number, row in enumerate(rows, start=1):
        if isinstance(row, BadRow):
            yield InputRow(number, None, row.problem)
            continue
        heading = heading_of(column, row)
        if heading is None and not lines:
            raise no_column(source, column, row, {"text": column})
        yield _checked(number, row, heading, column)


def parquet_input(source: Path, column: str, first: int) -> Iterator[InputRow]:
    """The same rows of a Parquet file, from row `first` on (counted from 0), without those before it being read."""
    for number, row in enumerate(parquet_rows(source, first), start=first + 1):
        yield _checked(number, row, heading_of(column, row), column)


def _from_pipe(lines: Iterable[bytes], column: str) -> Iterator[InputRow]:
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if line.lstrip().startswith("{"):
                row: Row = parse_json(line)
                yield _checked(number, row, heading_of(column, row), column)
            else:
                yield _checked(number, {column: line}, column, column)
        except UnicodeDecodeError as error:
            yield InputRow(number, None, f"byte 0x{raw[error.start]:02x} is not UTF-8")
        except json.JSONDecodeError as error:
            yield InputRow(number, None, f"not JSON ({error.msg})")


def _until_broken(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows, then the error that ended them, as a bad row. Raises the error if there was no row before it."""
    started = False
    try:
        for row in rows:
            yield row
            started = True
    except CorpusError as error:
        if not started:
            raise
        yield BadRow(0, str(error))


def _checked(number: int, row: Row, heading: str | None, column: str) -> InputRow:
    if heading is None:
        problem = (
            "the row is blank" if is_blank(row) else f"no '{column}' in the row (found: {', '.join(map(str, row))})"
        )
        return InputRow(number, None, problem, row)
    text = decoded(row[heading])
    if isinstance(text, bytes):
        return InputRow(number, None, f"'{column}' is bytes that are not UTF-8", row)
    if not isinstance(text, str):
        return InputRow(number, None, f"'{column}' is {text!r}; a string is needed", row)
    if not text.strip():
        return InputRow(number, None, f"'{column}' is empty", row)
    return InputRow(number, text, None, row)


def chunks(rows: Iterator[InputRow], source: str) -> Iterator[list[InputRow]]:
    """Rows to answer together. A pipe starts with one row; the number doubles while rows arrive fast enough."""
    size = 1 if source == STDIN else CHUNK_ROWS
    while True:
        started = time.monotonic()
        chunk = list(islice(rows, size))
        if not chunk:
            return
        slow = time.monotonic() - started > SLOW_SECONDS
        size = max(1, size // 2) if slow else min(CHUNK_ROWS, 2 * size)
        yield chunk


def count_rows(
    source: str, column: str = "text", *, separator: str | None = None, encoding: str | None = None
) -> int | None:
    """How many rows `input_rows` gives, if that is cheap: a Parquet file stores it, a small file is read twice.

    None for pipes, large files, and files that cannot be read; reading them later raises the error.
    """
    path = Path(source).expanduser()
    if source == STDIN or not path.is_file():
        return None
    try:
        if kind_of(path) == ".parquet":
            return parquet_length(path)
        if path.stat().st_size > COUNTED_BYTES or path.suffix.lower() in (".gz", ".xlsx"):
            return None
        rows = input_rows(source, column, separator=separator, encoding=encoding, note=lambda line: None)
        return sum(1 for _ in rows)
    except MetaTextError:
        return None
