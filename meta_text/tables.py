"""Files of texts to classify, row by row: bad rows are told apart, not fatal; nothing is held in memory."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.classifier import FewShotClassifier
from meta_text.rows import CorpusError, read_rows

STDIN = "-"
CHUNK_ROWS = 2048  # in memory together, sorted by length for the model


class InputRow(NamedTuple):
    """A row by its number, counted from 1; `problem` says why it has no text to classify."""

    number: int
    text: str | None
    problem: str | None


def input_rows(source: str, column: str = "text") -> Iterator[InputRow]:
    """Rows of a CSV, JSONL(.gz) or Parquet file, or of standard input ("-": JSON objects, or one text a line).

    A blank line of a CSV is no row. A line that is not JSON or not UTF-8 is a row with a problem, so the others are still answered.
    Raises CorpusError for a missing file, an unknown kind, or a table without the column.
    """
    if source == STDIN:
        yield from _from_lines(sys.stdin.buffer, column, plain=True)
    elif source.endswith(".jsonl"):
        if not Path(source).exists():
            raise CorpusError(f"no such file: {source}")
        with open(source, "rb") as file:
            yield from _from_lines(file, column, plain=False)
    else:
        for number, row in enumerate(read_rows(source), start=1):
            if number == 1 and column not in row:
                raise CorpusError(f"{source} has no column '{column}'; it has {', '.join(map(str, row))}: pass --text")
            yield _checked(number, row.get(column), column)


def _from_lines(lines: Iterable[bytes], column: str, *, plain: bool) -> Iterator[InputRow]:
    for number, raw in enumerate(lines, start=1):
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


def _checked(number: int, text: Any, column: str) -> InputRow:
    if not isinstance(text, str):
        return InputRow(number, None, f"'{column}' is {text!r}, a string is needed")
    if not text.strip():
        return InputRow(number, None, f"'{column}' is empty")
    return InputRow(number, text, None)


class OutputRows:
    """Writes rows of text, label and probability to CSV, JSONL or Parquet, or as JSON lines to standard output ("-").

    A file appears whole when the block ends; until then it has a temporary name.
    """

    columns = ("text", "label", "probability")

    def __init__(self, target: str) -> None:
        self.target = target
        self.kind = "jsonl" if target == STDIN else Path(target).suffix.lstrip(".")
        if self.kind not in ("csv", "jsonl", "parquet"):
            raise CorpusError(f"{target}: unknown kind '.{self.kind}'; .csv, .jsonl and .parquet are written")
        self.partial = Path(target).with_name(f".{Path(target).name}.partial")
        self.stack = ExitStack()

    def __enter__(self) -> "OutputRows":
        if self.kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            types = (pyarrow.string(), pyarrow.string(), pyarrow.float64())
            self.schema = pyarrow.schema(list(zip(self.columns, types, strict=True)))
            self.parquet = self.stack.enter_context(pyarrow.parquet.ParquetWriter(self.partial, self.schema))
        elif self.target == STDIN:
            self.file: Any = sys.stdout
        else:
            self.file = self.stack.enter_context(open(self.partial, "w", encoding="utf-8", newline=""))
        if self.kind == "csv":
            csv.writer(self.file).writerow(self.columns)
        return self

    def write(self, rows: list[tuple[str | None, Any, float | None]]) -> None:
        """Rows of (text, label or None, probability or None)."""
        if self.kind == "parquet":
            import pyarrow

            named = [{"text": t, "label": None if y is None else str(y), "probability": p} for t, y, p in rows]
            self.parquet.write_table(pyarrow.Table.from_pylist(named, schema=self.schema))
        elif self.kind == "csv":
            csv.writer(self.file).writerows([("" if v is None else v for v in row) for row in rows])
        else:
            for row in rows:
                named_row = dict(zip(self.columns, row, strict=True))
                self.file.write(json.dumps(named_row, ensure_ascii=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.stack.close()
        if self.target != STDIN:
            if kind is None:
                self.partial.replace(self.target)
            else:
                self.partial.unlink(missing_ok=True)


def predict_file(
    classifier: FewShotClassifier,
    source: str,
    target: str,
    column: str,
    reject: float | None,
    errors: Path | None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Answer every row in order, at constant memory; returns how many rows had no readable text.

    Such a row keeps its place with no label, and its number and problem go to `errors` (JSON lines).
    """
    rows, bad, done = input_rows(source, column), 0, 0
    with ExitStack() as stack:
        output = stack.enter_context(OutputRows(target))
        problems = stack.enter_context(open(errors, "w", encoding="utf-8")) if errors else None
        while chunk := list(islice(rows, CHUNK_ROWS)):
            answers = iter(classifier.answers([row.text for row in chunk if row.text is not None], reject))
            output.write([(None, None, None) if row.text is None else next(answers) for row in chunk])
            for row in chunk:
                if row.problem is not None:
                    bad += 1
                    if problems is not None:
                        problems.write(json.dumps({"row": row.number, "problem": row.problem}) + "\n")
            done += len(chunk)
            progress(done)
    return bad
