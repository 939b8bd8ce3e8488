"""Rows of real-world CSV files: the separator is given, declared or guessed, and a bad row does not affect others."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from meta_text.corpus.table_row import BadRow, Row, check_headings, heading_of, no_column
from meta_text.corpus.text_lines import Note, TextFile
from meta_text.errors import CorpusError

LONGEST_CELL = 2**31 - 1  # characters; Python's own limit is 131,072
MOST_LINES = 10_000  # of one row; a quote open for longer was never closed
SAMPLE_LINES = 20  # from which the separator is guessed
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
BY_NAME = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
DECLARED = re.compile(r'\ufeff?"?sep=(.)"?\s*$', re.IGNORECASE)  # the first line of files for Excel
UNCLOSED = 'a quote opens here and is not closed; close it, and write a quote inside a text twice ("")'
BACKSLASH = 'a quote is escaped by a backslash (\\"); write it twice ("") instead'


def csv_rows(
    file: TextFile, columns: Sequence[str] = (), separator: str | None = None, note: Note | None = None
) -> Iterator[Row | BadRow]:
    """Rows below a header line; a missing cell is None, and empty lines, also above the header, are skipped.

    The separator is `separator`, or the one that a first line such as `sep=;` declares, or the usual one of the
    suffix (.tsv: tabs, else commas), unless the header suggests another: that guess is reported to `note`. `columns`
    are the expected headings. Raises CorpusError for a header that cannot be read, and for a guess without `note`.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = _Lines(file.lines())
    mark = None if separator is None else _checked_separator(separator)
    lines.skip_blank()
    if declared := DECLARED.match(lines.peek(1)[0] if lines.peek(1) else ""):
        next(lines)
        mark = mark or declared[1]
        lines.skip_blank()
    if mark is None:
        mark = _guessed(file, lines.peek(SAMPLE_LINES), columns, note)
    headings, padded = _header(file, lines, mark)
    if columns and headings and heading_of(columns[0], headings) is None:
        wanted = dict(zip(("text", "label"), columns, strict=False))
        raise no_column(f"{file.path}, line {lines.number}", columns[0], headings, wanted)
    reader = _reader(lines, mark, padded)
    while True:
        lines.record.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _unreadable(lines, error)
            reader = _reader(lines, mark, padded)
            continue
        if cells is None:
            return
        if cells:
            yield _row(file, lines, headings, cells, mark)


class _Lines:
    """Lines with their number; those of the current row are remembered and can be read again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.source, self.again = iter(lines), deque[str]()
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.record) > MOST_LINES:
            raise csv.Error(f"open for {MOST_LINES:,} lines")
        line = self.again.popleft() if self.again else next(self.source)
        self.record.append(line)
        self.number += 1
        return line

    def peek(self, count: int) -> list[str]:
        self.again.extend(islice(self.source, max(0, count - len(self.again))))
        return list(islice(self.again, count))

    def skip_blank(self) -> None:
        """Go to the next line with anything but spaces in it."""
        while (following := self.peek(1)) and not following[0].strip(" \r\n"):
            next(self)
            self.record.clear()

    def back_to_second(self) -> list[str]:
        """Go back to the second line of this row; returns the row's lines."""
        record = list(self.record)
        self.again.extendleft(reversed(record[1:]))
        self.number -= len(record) - 1
        return record


def _reader(lines: Iterable[str], mark: str, padded: bool) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=mark, strict=True, skipinitialspace=padded)


def _unreadable(lines: _Lines, error: csv.Error) -> BadRow:
    """A row with unmatched quotes loses only its first line: the lines after it are read again."""
    record = lines.back_to_second()
    if r"\"" in record[0]:
        return BadRow(lines.number, BACKSLASH)
    if len(record) > 1 or "unexpected end of data" in str(error):
        return BadRow(lines.number, UNCLOSED)
    return BadRow(lines.number, f"not a CSV row ({error}); put texts with quotes or line breaks in quotes")


def _row(file: TextFile, lines: _Lines, headings: Sequence[str], cells: list[str], mark: str) -> Row | BadRow:
    first = lines.number - len(lines.record) + 1
    if any(cell.strip() for cell in cells[len(headings) :]):
        kept = SEPARATORS.get(mark, repr(mark))
        problem = f"{len(cells)} cells where the header has {len(headings)}; put texts with {kept} in quotes"
        return BadRow(first, BACKSLASH if r"\"" in "".join(lines.record) else problem)
    if stray := file.stray_byte(*cells):
        return BadRow(first, stray)
    padded: list[str | None] = [*cells[: len(headings)], *[None] * (len(headings) - len(cells))]
    return dict(zip(headings, padded, strict=True))


def _header(file: TextFile, lines: _Lines, mark: str) -> tuple[list[str], bool]:
    """The headings, and whether a space follows each separator."""
    lines.record.clear()
    start = lines.number + 1
    try:
        cells: list[str] = next(_reader(lines, mark, padded=False), [])
    except csv.Error as error:
        open_quote = "unexpected end" in str(error) or len(lines.record) > 1
        problem = UNCLOSED if open_quote else f"not a CSV header ({error}); save the file with one row per line"
        raise CorpusError(f"{file.path}, line {start}: {problem}") from None
    if stray := file.stray_byte(*cells):
        raise CorpusError(f"{file.path}, line {start}: {stray}")
    return check_headings(cells, f"{file.path}, line {start}"), len(cells) > 1 and all(
        cell.startswith(" ") for cell in cells[1:]
    )


def _guessed(file: TextFile, sample: Sequence[str], columns: Sequence[str], note: Note | None) -> str:
    usual = "\t" if ".tsv" in [suffix.lower() for suffix in file.path.suffixes] else ","
    # the usual one wins a tie; another needs a header of more than one column
    marks = [mark for mark in SEPARATORS if mark != usual and _fit(mark, sample, columns)[1]]
    best = max([usual, *marks], key=lambda mark: _fit(mark, sample, columns))
    if best == usual:
        return usual
    guess = f"columns seem to be separated by {best!r}, not by {SEPARATORS[usual]}"
    if note is None:
        raise CorpusError(
            f"{file.path}, line 1: {guess}; pass separator={best!r} (--separator), or note= to accept the guess"
        )
    note(f"{file.path.name}: {guess} (a guess); --separator, or separator=, overrides it")
    return best


def _fit(mark: str, sample: Sequence[str], columns: Sequence[str]) -> tuple[int, bool, float]:
    """Evidence for a separator: expected headings, more than one column, rows as long as the header."""
    try:
        rows = [cells for cells in csv.reader(sample, delimiter=mark) if cells]
    except csv.Error:
        return 0, False, 0.0
    if not rows:
        return 0, False, 0.0
    headings = {cell.strip().lstrip("\ufeff").casefold() for cell in rows[0]}
    expected = sum(column.strip().casefold() in headings for column in columns)
    even = sum(len(cells) == len(rows[0]) for cells in rows) / len(rows)
    return expected, len(rows[0]) > 1, even


def _checked_separator(separator: str) -> str:
    mark = BY_NAME.get(separator.lower(), separator)
    if len(mark) != 1 or mark in '"\r\n':
        raise CorpusError(f"separator {separator!r} cannot be used; one character is needed, such as ';' or 'tab'")
    return mark
