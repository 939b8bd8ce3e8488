"""Rows of files and data sets, read and checked one by one; every message about a row is here."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

BadRows = Literal["raise", "skip"]


class CorpusError(ValueError):
    """What the user's labelled texts lack, with the row and the way out."""


class RowChecker:
    """Collects checked rows; one place for every message about a row."""

    def __init__(self, name: str, text: str, label: str, group: tuple[str, ...], bad_rows: BadRows) -> None:
        self.name, self.text, self.label, self.group, self.bad_rows = name, text, label, group, bad_rows
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
        text, label = row[self.text], row[self.label]
        if not isinstance(text, str) or not text.strip():
            return self._bad(number, "empty text", f"{self.text} is {text!r} where a non-empty string is needed")
        if label is None:
            self.out_of_scope.append(text)
            return None
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
            raise CorpusError(f"{self.name}, row {number}: {message}; or pass bad_rows='skip' to leave such rows out")
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


def read_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV, JSONL, JSONL.gz or Parquet file as dicts. Raises CorpusError with the line where it breaks."""
    path = Path(path)
    if not path.exists():
        raise CorpusError(f"no such file: {path}")
    if path.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        for number, line in enumerate(_text_lines(path), start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise CorpusError(
                        f"{path}, line {number}: not JSON ({error.msg}); one object a line is needed"
                    ) from None
                if not isinstance(row, dict):
                    raise CorpusError(f"{path}, line {number}: found {type(row).__name__}, an object is needed")
                yield row
        return
    if path.suffix == ".csv":
        for row in csv.DictReader(_text_lines(path)):
            row.pop(None, None)  # cells beyond the header
            yield row
        return
    raise CorpusError(f"{path}: unknown kind '{path.suffix}'; .csv, .jsonl, .jsonl.gz and .parquet are read")


def _text_lines(path: Path) -> Iterator[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8; "
                    f"save the file as UTF-8 (iconv -f latin1 -t utf-8)"
                ) from None
