"""Files of texts to classify, row by row: bad rows are told apart, not fatal; nothing is held in memory."""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from meta_text.classifier import FewShotClassifier
from meta_text.rows import BadRow, CorpusError, byte_lines, csv_rows, read_rows

STDIN = "-"
SLOW_SECONDS = 1.0  # of waiting for rows, after which fewer are waited for
CHUNK_ROWS = 2048  # in memory together, sorted by length for the model


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
        rows = csv_rows(Path(source)) if source.endswith(".csv") else read_rows(source)
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
        if not Path(target).parent.is_dir():
            raise CorpusError(f"{target}: there is no folder {Path(target).parent}; make it first")
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
        if self.target == STDIN:
            self.file.flush()  # for whoever reads the other end of a pipe

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
    on_bad_row: Callable[[InputRow], None] = lambda row: None,
) -> int:
    """Answer every row in order, at constant memory; returns how many rows had no readable text.

    Such a row keeps its place with no label, and its number and problem go to `errors` (JSON lines).
    """
    bad, done = 0, 0
    with ExitStack() as stack:
        output = stack.enter_context(OutputRows(target))
        problems = stack.enter_context(open(errors, "w", encoding="utf-8")) if errors else None
        for chunk in _chunks(input_rows(source, column), source):
            answers = iter(classifier.answers([row.text for row in chunk if row.text is not None], reject))
            output.write([(None, None, None) if row.text is None else next(answers) for row in chunk])
            for row in chunk:
                if row.problem is not None:
                    bad += 1
                    on_bad_row(row)
                    if problems is not None:
                        problems.write(json.dumps({"row": row.number, "problem": row.problem}) + "\n")
            done += len(chunk)
            progress(done)
    return bad


def _chunks(rows: Iterator[InputRow], source: str) -> Iterator[list[InputRow]]:
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
