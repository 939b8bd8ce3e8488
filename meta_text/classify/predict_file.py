"""Files of texts to classify, chunk by chunk: bad rows are told apart, not fatal; no more than a chunk is held in memory.

A file's answers are kept as parts, one a chunk, in a hidden folder beside the target until all are there, so a run
that was killed can go on.
"""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.input_rows import CHUNK_ROWS, STDIN, InputRow, chunks, input_rows
from meta_text.errors import CorpusError

Answer = tuple[str | None, Any, float | None]  # text, label and probability; None where there is none
COLUMNS = ("text", "label", "probability")


class Parts:
    """Answers on their way to a CSV, JSONL or Parquet file, a part a chunk, in `.NAME.parts` beside it.

    `run` says what the answers depend on; parts of another run are refused (CorpusError) when resuming, and
    deleted when starting anew.
    """

    def __init__(self, target: str, run: dict[str, Any], *, resume: bool) -> None:
        self.target = Path(target)
        self.kind = self.target.suffix.lstrip(".")
        if self.kind not in ("csv", "jsonl", "parquet"):
            raise CorpusError(f"{target}: unknown kind '.{self.kind}'; .csv, .jsonl and .parquet are written")
        if not self.target.parent.is_dir():
            raise CorpusError(f"{target}: there is no folder {self.target.parent}; make it first")
        self.folder = self.target.with_name(f".{self.target.name}.parts")
        about = self.folder / "run.json"
        if resume:
            self._check(about, run)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            about.write_text(json.dumps(run), encoding="utf-8")

    def _check(self, about: Path, run: dict[str, Any]) -> None:
        if not about.exists():
            raise CorpusError(f"nothing to resume: no parts of {self.target}; run once without --resume")
        before = json.loads(about.read_text("utf-8"))
        changed = [key for key in run if before.get(key) != json.loads(json.dumps(run[key]))]
        if changed:
            raise CorpusError(
                f"the parts of {self.target} were made with another {' and '.join(changed)}; "
                "use the same, or run without --resume to start over"
            )

    def finished(self) -> list[Path]:
        """The parts that are whole, in order."""
        return sorted(self.folder.glob(f"*.{self.kind}"))

    def add(self, number: int, answers: list[Answer], problems: list[dict[str, Any]]) -> None:
        """A chunk's answers, whole or not at all."""
        with open(self.folder / f"{number:08d}.problems", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(problem) + "\n" for problem in problems)
        partial = self.folder / f"{number:08d}.partial"
        if self.kind == "parquet":
            import pyarrow
            import pyarrow.parquet

            types = (pyarrow.string(), pyarrow.string(), pyarrow.float64())
            schema = pyarrow.schema(list(zip(COLUMNS, types, strict=True)))
            rows = [{"text": t, "label": None if y is None else str(y), "probability": p} for t, y, p in answers]
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), partial)
        else:
            with open(partial, "w", encoding="utf-8", newline="") as file:
                if self.kind == "csv":
                    head = [COLUMNS] if number == 0 else []
                    csv.writer(file).writerows([*head, *(["" if v is None else v for v in row] for row in answers)])
                else:
                    file.writelines(map(_json_line, answers))
        partial.rename(partial.with_suffix(f".{self.kind}"))

    def join(self, errors: Path | None) -> int:
        """All parts as one file, under its name only when whole; returns how many rows had a problem."""
        whole = self.folder / "whole.partial"
        if self.kind == "parquet":
            import pyarrow.parquet

            parts = self.finished()
            with pyarrow.parquet.ParquetWriter(whole, pyarrow.parquet.read_schema(parts[0])) as writer:
                for part in parts:
                    writer.write_table(pyarrow.parquet.read_table(part))
        else:
            _concatenate(self.finished(), whole)
        problems = sorted(self.folder.glob("*.problems"))
        if errors is not None:
            _concatenate(problems, errors)
        count = sum(path.read_bytes().count(b"\n") for path in problems)
        whole.replace(self.target)
        shutil.rmtree(self.folder)
        return count


def _concatenate(parts: Iterable[Path], whole: Path) -> None:
    with open(whole, "wb") as file:
        for part in parts:
            with open(part, "rb") as read:
                shutil.copyfileobj(read, file)


def _json_line(answer: Answer) -> str:
    return json.dumps(dict(zip(COLUMNS, answer, strict=True)), ensure_ascii=False) + "\n"


def predict_file(
    classifier: FewShotClassifier,
    source: str,
    target: str,
    column: str,
    reject: float | None,
    errors: Path | None,
    progress: Callable[[int], None] = lambda done: None,
    on_bad_row: Callable[[InputRow], None] = lambda row: None,
    *,
    resume: bool = False,
) -> int:
    """Answer every row in order, at constant memory; returns how many rows had no readable text.

    Such a row keeps its place with no label, and its number and problem go to `errors` (JSON lines). With
    resume=True a run that was killed goes on after the last whole chunk of its output; CorpusError where the
    input, the classes or an option have changed since.
    """
    if target == STDIN:
        if resume:
            raise CorpusError("standard output keeps nothing to resume from; name a file with --output")
        return _predict_to_stdout(classifier, source, column, reject, errors, progress, on_bad_row)
    if resume and source == STDIN:
        raise CorpusError("standard input cannot be read again from where it stopped; name a file with --input")
    run = {"input": _identity(source), "column": column, "reject": reject, "classifier": classifier.fingerprint()}
    parts = Parts(target, run | {"chunk size": CHUNK_ROWS}, resume=resume)
    number = len(parts.finished())
    rows = islice(input_rows(source, column), number * CHUNK_ROWS, None)
    done = number * CHUNK_ROWS
    while (chunk := list(islice(rows, CHUNK_ROWS))) or number == 0:
        parts.add(number, *_answer(classifier, chunk, reject, on_bad_row))
        number, done = number + 1, done + len(chunk)
        progress(done)
    return parts.join(errors)


def _predict_to_stdout(
    classifier: FewShotClassifier,
    source: str,
    column: str,
    reject: float | None,
    errors: Path | None,
    progress: Callable[[int], None],
    on_bad_row: Callable[[InputRow], None],
) -> int:
    bad, done = 0, 0
    with ExitStack() as stack:
        listed = stack.enter_context(open(errors, "w", encoding="utf-8")) if errors else None
        for chunk in chunks(input_rows(source, column), source):
            answers, problems = _answer(classifier, chunk, reject, on_bad_row)
            sys.stdout.writelines(map(_json_line, answers))
            sys.stdout.flush()  # for whoever reads the other end of a pipe
            if listed is not None:
                listed.writelines(json.dumps(problem) + "\n" for problem in problems)
            bad, done = bad + len(problems), done + len(chunk)
            progress(done)
    return bad


def _answer(
    classifier: FewShotClassifier, chunk: list[InputRow], reject: float | None, on_bad_row: Callable[[InputRow], None]
) -> tuple[list[Answer], list[dict[str, Any]]]:
    found = iter(classifier.answers([row.text for row in chunk if row.text is not None], reject))
    answers: list[Answer] = [(None, None, None) if row.text is None else next(found) for row in chunk]
    bad = [row for row in chunk if row.problem is not None]
    for row in bad:
        on_bad_row(row)
    return answers, [{"row": row.number, "problem": row.problem} for row in bad]


def _identity(source: str) -> list[Any]:
    """What tells a file from another one, or from itself after a change."""
    if source == STDIN or not Path(source).exists():
        return [source]
    found = Path(source).stat()
    return [str(Path(source).resolve()), found.st_size, found.st_mtime_ns]
