"""Rows of files and data sets, read and checked one by one; every message about a row is here."""

import csv
import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from meta_text.corpus.labels import plain
from meta_text.errors import CorpusError

BadRows = Literal["raise", "skip"]
NullLabel = Literal["missing", "out of scope"]
LONGEST_CELL = 2**31 - 1  # characters of a CSV cell; Python's own limit is 131,072


class RowChecker:
    """Collects checked rows; one place for every message about a row."""

    def __init__(
        self,
        name: str,
        text: str,
        label: str,
        group: tuple[str, ...],
        bad_rows: BadRows,
        null_label: NullLabel = "missing",
    ) -> None:
        self.name, self.text, self.label, self.group, self.bad_rows = name, text, label, group, bad_rows
        self.null_label = null_label
        self.texts: list[str] = []
        self.names: list[str] = []
        self.group_of: dict[str, str] = {}
        self.fields: dict[str, list[str]] = {}
        self.out_of_scope: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.seen: dict[tuple[str, str], tuple[str, int]] = {}

    def add(self, number: int, row: Mapping[str, Any]) -> None:
        for column in (self.text, self.label, *self.group):
            if column not in row:
                found = ", ".join(map(str, row)) or "nothing"
                odd = next((mark for mark in (";", "\t") if len(row) == 1 and mark in found), None)
                way_out = "rename the column, or name it (--text, --label of `meta-text fit`; text=, label= in Python)"
                if odd:
                    way_out = f"the columns seem to be separated by {odd!r}; save the file with commas"
                raise CorpusError(f"{self.name}, row {number}: no column '{column}' (found: {found}); {way_out}")
        text, label = row[self.text], plain(row[self.label])
        if not isinstance(text, str) or not text.strip():
            return self._bad(number, "empty text", f"{self.text} is {text!r} where a non-empty string is needed")
        if isinstance(label, list | tuple | set | frozenset | dict):
            raise CorpusError(
                f"{self.name}, row {number}: {self.label} holds several labels ({label!r}); multi-label input is not "
                "supported: give one label a text, or make one file a label with labels yes and no"
            )
        if label is None and self.null_label == "out of scope":
            self.out_of_scope.append(text)
            return None
        if label is None or (isinstance(label, float) and math.isnan(label)):
            return self._bad(number, "label missing", f"{self.label} is missing; give every text a label")
        label = str(label).strip()
        if not label:
            return self._bad(number, "label missing", f"{self.label} is empty; give every text a label")
        self._keep(number, row, text, label)
        return None

    def _keep(self, number: int, row: Mapping[str, Any], text: str, label: str) -> None:
        group = ".".join(str(row[key]) for key in self.group)
        class_name = f"{group}/{label}" if self.group else label
        earlier = self.seen.get((group, text))
        if earlier is not None and earlier[0] != class_name:
            return self._bad(
                number,
                "same text under two labels",
                f"text {text[:40]!r} has label '{class_name}' here and '{earlier[0]}' in row {earlier[1]}; keep one",
            )
        if earlier is not None:
            self.skipped["exact duplicate"] += 1
            return None
        self.seen[group, text] = (class_name, number)
        for key, value in row.items():
            if key not in (self.text, self.label):
                column = self.fields.setdefault(key, [])
                column.extend([""] * (len(self.texts) - len(column)))
                column.append("" if value is None else str(value))
        self.texts.append(text)
        self.names.append(class_name)
        self.group_of[class_name] = group
        return None

    def _bad(self, number: int, reason: str, message: str) -> None:
        if self.bad_rows == "raise":
            raise CorpusError(f"{self.name}, row {number}: {message}")
        self.skipped[reason] += 1

    def finish(self) -> dict[str, Any]:
        if not self.texts:
            raise CorpusError(f"{self.name}: no labelled text in it; at least two classes with texts are needed")
        class_names = tuple(sorted(set(self.names)))
        index = {name: i for i, name in enumerate(class_names)}
        size = len(self.texts)
        return {
            "name": self.name,
            "texts": tuple(self.texts),
            "labels": tuple(index[name] for name in self.names),
            "class_names": class_names,
            "fields": {key: tuple(v + [""] * (size - len(v))) for key, v in self.fields.items()},
            "groups": tuple(self.group_of[name] for name in class_names) if self.group else None,
            "out_of_scope": tuple(self.out_of_scope),
            "skipped": dict(self.skipped),
        }


class BadRow(NamedTuple):
    """A row of a CSV file that cannot be read as it stands, by its last line in the file."""

    line: int
    problem: str


def read_rows(path: str | Path, column: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a CSV, JSONL, JSONL.gz or Parquet file as dicts; of Parquet `column` alone, if named and there. Raises CorpusError with the line where it breaks."""
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"no such file: {path}")
    if path.suffix == ".parquet":
        yield from _parquet_rows(path, column)
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_rows(path)
    elif path.suffix == ".csv":
        for row in csv_rows(path):
            if isinstance(row, BadRow):
                raise CorpusError(f"{path}, line {row.line}: {row.problem}")
            yield row
    else:
        raise CorpusError(f"{path}: unknown kind '{path.suffix}'; .csv, .jsonl, .jsonl.gz and .parquet are read")


def _parquet_rows(path: Path, column: str | None) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = [column] if column in file.schema_arrow.names else None
            for batch in file.iter_batches(batch_size=2048, columns=columns):  # small: other columns may be wide
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(f"{path} is no Parquet file, or broken ({error}); write or copy it again") from None


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, raw in enumerate(byte_lines(path), start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            row = json.loads(line) if line.strip() else None
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path}, line {number}: {_not_utf8(raw[error.start])}") from None
        except json.JSONDecodeError as error:
            raise CorpusError(f"{path}, line {number}: not JSON ({error.msg}); one object a line is needed") from None
        if row is None and not line.strip():
            continue
        if not isinstance(row, dict):
            raise CorpusError(f"{path}, line {number}: found {type(row).__name__}, an object is needed")
        yield row


def csv_rows(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a CSV file with a header line; a cell that is not there is None. Bad rows do not end it."""
    csv.field_size_limit(LONGEST_CELL)
    # bytes that are no UTF-8 come through as lone surrogates, so that only their own row is lost
    lines = (
        raw.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")
        for number, raw in enumerate(byte_lines(path), start=1)
    )
    reader = csv.DictReader(lines)
    columns = _header(path, reader)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield BadRow(reader.line_num, f"no CSV row ({error}); put texts with quotes or line breaks in quotes")
            continue
        if row is None:
            return
        yield _checked_cells(row, reader.line_num, columns)


def _header(path: Path, reader: "csv.DictReader[str]") -> int:
    """How many columns the first line names."""
    try:
        names = reader.fieldnames or ()
    except csv.Error as error:
        raise CorpusError(f"{path}, line 1: no CSV header ({error}); save it with one row a line") from None
    byte = _odd_byte(names)
    if byte is not None:
        raise CorpusError(f"{path}, line 1: {_not_utf8(byte)}")
    return len(names)


def _checked_cells(row: dict[str, Any], line: int, columns: int) -> dict[str, Any] | BadRow:
    beyond = row.pop(None, [])  # type: ignore[call-overload]  # what DictReader calls the cells beyond the header
    if any(cell.strip() for cell in beyond):
        found = columns + len(beyond)
        return BadRow(line, f"{found} cells where the header has {columns}; put texts with commas in quotes")
    byte = _odd_byte(row.values())
    return row if byte is None else BadRow(line, _not_utf8(byte))


def _odd_byte(cells: Any) -> int | None:
    """The first byte that was no UTF-8, or None."""
    return next((ord(c) - 0xDC00 for cell in cells if cell for c in cell if "\udc80" <= c <= "\udcff"), None)


def _not_utf8(byte: int) -> str:
    return f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 (iconv -f latin1 -t utf-8)"


def byte_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, unpacked if its name ends in .gz. Raises CorpusError where a packed file breaks off."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        try:
            yield from file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CorpusError(f"{path} is no gzip file, or breaks off ({error}); copy or pack it again") from None
