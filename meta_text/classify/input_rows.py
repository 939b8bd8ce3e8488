"""Texts to classify, row by row: bad rows are told apart, not fatal; nothing is held in memory."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.corpus.rows import BadRow, byte_lines, csv_rows, read_rows
from meta_text.errors import CorpusError

STDIN = "-"
CHUNK_ROWS = 2048  # in memory together, sorted by length for the model
SLOW_SECONDS = 1.0  # of waiting for rows, after which fewer are waited for


class InputRow(NamedTuple):
    """A row by its number, counted from 1; `problem` says why it has no text to classify."""

    number: int
    text: str | None
    problem: str | None


def input_rows(source: str, column: str = "text") -> Iterator[InputRow]:
    """Rows of a CSV, JSONL(.gz) or Parquet file, or of standard input ("-": JSON objects, or one text a line).

    A blank line of a CSV is no row. A line that is not JSON, not UTF-8, or has too many cells is a row with a problem,
    so the others are still answered; so is the place where a packed file breaks off.
    Raises CorpusError for a missing file, an unknown kind, or a table without the column.
    """
    if source == STDIN:
        yield from _from_lines(sys.stdin.buffer, column, plain=True)
    elif not Path(source).exists():
        raise CorpusError(f"no such file: {source}")
    elif source.endswith((".jsonl", ".jsonl.gz")):
        yield from _from_lines(byte_lines(Path(source)), column, plain=False)
    else:
        rows = csv_rows(Path(source)) if source.endswith(".csv") else read_rows(source, column)
        for number, row in enumerate(rows, start=1):
            if isinstance(row, BadRow):
                yield InputRow(number, None, row.problem)
            elif column in row:
                yield _checked(number, row[column], column)
            else:
                raise CorpusError(f"{source} has no column '{column}'; it has {', '.join(map(str, row))}: pass --text")


def _from_lines(lines: Iterable[bytes], column: str, *, plain: bool) -> Iterator[InputRow]:
    for number, raw in enumerate(_until_broken(lines), start=1):
        if isinstance(raw, CorpusError):
            yield InputRow(number, None, str(raw))
            return
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if plain and not line.lstrip().startswith("{"):
                yield _checked(number, line, column)
                continue
            row = json.loads(line)
        except UnicodeDecodeError as error:
            yield InputRow(number, None, f"byte 0x{raw[error.start]:02x} is not UTF-8")
        except json.JSONDecodeError as error:
            yield InputRow(number, None, f"not JSON ({error.msg})")
        else:
            yield _checked(number, row.get(column) if isinstance(row, dict) else None, column)


def _until_broken(lines: Iterable[bytes]) -> Iterator[bytes | CorpusError]:
    """The lines, and at last the error that ended them. Raises it where there was no line before."""
    found = False
    try:
        for line in lines:
            yield line
            found = True
    except CorpusError as error:
        if not found:
            raise
        yield error


def _checked(number: int, text: Any, column: str) -> InputRow:
    if not isinstance(text, str):
        return InputRow(number, None, f"'{column}' is {text!r}, a string is needed")
    if not text.strip():
        return InputRow(number, None, f"'{column}' is empty")
    return InputRow(number, text, None)


def chunks(rows: Iterator[InputRow], source: str) -> Iterator[list[InputRow]]:
    """Rows to answer together: of a pipe first one, then twice as many as long as they come fast enough."""
    size = 1 if source == STDIN else CHUNK_ROWS
    while True:
        started = time.monotonic()
        chunk = list(islice(rows, size))
        if not chunk:
            return
        slow = time.monotonic() - started > SLOW_SECONDS
        size = max(1, size // 2) if slow else min(CHUNK_ROWS, 2 * size)
        yield chunk
