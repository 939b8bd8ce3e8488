"""Rows of JSON files: one object per line, or one array of objects."""

import json
from collections.abc import Iterator

from meta_text.corpus.table_row import BadRow, Row
from meta_text.corpus.text_lines import TextFile
from meta_text.errors import CorpusError
from meta_text.parsing import parse_json


def json_line_rows(file: TextFile) -> Iterator[Row | BadRow]:
    """One object per line; a blank line is an empty row. Reading continues after a bad line."""
    for number, line in enumerate(file.lines(), start=1):
        if stray := file.stray_byte(line):
            yield BadRow(number, stray)
            continue
        try:
            row = parse_json(line.lstrip("\ufeff")) if line.strip() else {}
        except json.JSONDecodeError as error:
            yield BadRow(number, f"not JSON ({error.msg}); one object per line is needed")
            continue
        yield row if isinstance(row, dict) else BadRow(number, f"found {type(row).__name__}; an object is needed")


def json_file_rows(file: TextFile) -> Iterator[Row | BadRow]:
    """A .json file: an array of objects, or, as some programs write it, one object per line. An array is held in memory."""
    first = next((line for line in file.lines() if line.strip()), "").lstrip("\ufeff").lstrip()
    if first.startswith("["):
        yield from _array_rows(file)
        return
    rows = json_line_rows(file)
    start = next(rows, None)
    if isinstance(start, dict) and start and all(isinstance(value, dict | list) for value in start.values()):
        raise CorpusError(
            f"{file.path} is one object of {', '.join(map(str, list(start)[:5]))}; an array of objects, one per row, "
            "is needed (in pandas: orient='records')"
        )
    if isinstance(start, BadRow):
        raise CorpusError(
            f"{file.path}, line {start.line}: {start.problem.partition(';')[0]}; an array of objects, "
            "or one object per line, is needed"
        )
    if start is not None:
        yield start
        yield from rows


def _array_rows(file: TextFile) -> Iterator[Row | BadRow]:
    text = "".join(file.lines()).lstrip("\ufeff")
    if stray := file.stray_byte(text):
        raise CorpusError(f"{file.path}: {stray}")
    try:
        rows = parse_json(text)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{file.path}, line {error.lineno}: not JSON ({error.msg}); an array of objects, one per row, is needed"
        ) from None
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield row
        else:
            yield BadRow(None, f"element {number} of the array is {type(row).__name__}; an object is needed")
