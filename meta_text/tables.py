"""Files of answers: in order, one a row, whole or not at all; nothing is held in memory."""

import csv
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from meta_text.classifier import FewShotClassifier
from meta_text.inputs import STDIN, InputRow, chunks, input_rows
from meta_text.rows import CorpusError


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
        for chunk in chunks(input_rows(source, column), source):
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
