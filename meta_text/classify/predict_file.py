"""Classifying files of texts, chunk by chunk: bad rows are reported, not fatal; at most one chunk is held in memory.

The output has the columns of the input and the answer. Until it is complete, its parts are kept in a hidden folder
next to the target, so that a killed run can be resumed.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

from meta_text.classify.answer_parts import Parts, Record, free_names, json_line, kind_written
from meta_text.classify.answer_table import answer_types, column_types
from meta_text.classify.answerers import SUMMED_AT, Answerer, Cells, OneLabel, answerer_of
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.input_rows import CHUNK_ROWS, STDIN, InputRow, chunks, input_rows
from meta_text.classify.multilabel import MultiLabelFewShotClassifier
from meta_text.classify.tally import Tally, total
from meta_text.classify.tool_imports import ToolFormat
from meta_text.corpus.read_rows import column_names
from meta_text.corpus.table_row import heading_of, no_column
from meta_text.corpus.text_lines import Note
from meta_text.errors import InputError, OutputError
from meta_text.files import check_file

PARTS_FORMAT = 2  # of the parts of a run; a run with another format cannot be resumed


def predict_file(
    classifier: FewShotClassifier | MultiLabelFewShotClassifier,
    source: str,
    target: str,
    column: str,
    reject: float | None,
    errors: Path | None,
    progress: Callable[[int], None] = lambda done: None,
    on_bad_row: Callable[[InputRow], None] = lambda row: None,
    *,
    resume: bool = False,
    separator: str | None = None,
    encoding: str | None = None,
    note: Note | None = None,
    tool: ToolFormat | None = None,
    on_tally: Callable[[Tally], None] | None = None,
    mark: str = "|",
) -> int:
    """Answer every row in order, at constant memory; returns how many rows had no readable text.

    An output row is the input's row with the answer's columns (see `answerers`), which get other names if the input has
    them (`free_names`). A row without a readable text
    keeps its place with no label, and its number and problem go to `errors` (JSON lines). With `tool` the rows are what
    that labelling tool imports, the answer is a prediction, and a row without a text is left out. A guessed separator or
    encoding is reported to `note`; without it nothing is guessed. mark: between labels, if a text may have several. With resume=True a killed run continues after its
    last complete chunk. Raises OutputError for a target that cannot be written or is the input, and if the input, the
    classes or an option have changed since the run to resume. on_tally gets what all answers sum up to, at the rate `reject` or
    else SUMMED_AT; every encoder reads every text then.
    """
    check_outputs(source, target, errors, resume=resume, tool=tool)
    source, errors = _expanded(source), None if errors is None else errors.expanduser()
    reported: dict[str, None] = {}

    def tell_once(line: str) -> None:
        if note is not None and line not in reported:
            note(line)
        reported[line] = None

    how: dict[str, Any] = {"separator": separator, "encoding": encoding, "note": None if note is None else tell_once}
    answering = answering_of(classifier, column, reject, mark, on_bad_row, tool=tool, is_summed=on_tally is not None)
    if source == STDIN and target == STDIN:
        return _to_stdout(answering, source, how, errors, progress, on_tally, len(classifier.classes_))
    if source != STDIN:
        answering = answering.beside_columns_of(source, **how)
    if target == STDIN:
        return _to_stdout(answering, source, how, errors, progress, on_tally, len(classifier.classes_))
    path = Path(target).expanduser()
    run = run_of(answering, identity(source), column, reject, mark)
    run |= {"tool": None if tool is None else list(astuple(tool)), "separator": separator, "encoding": encoding}
    if source == STDIN and kind_written(path) != "jsonl":  # the other columns of a pipe are not known in advance
        answering = answering.beside([column])
    types = parquet_types(source, answering) if kind_written(path) == "parquet" else {}
    parts = Parts(path, run, answering.columns, types, resume=resume)
    for problem in parts.problems():  # of a run to resume
        on_bad_row(InputRow(problem["row"], None, problem["problem"]))
    number = len(parts.finished())
    rows = islice(input_rows(source, column, **how), number * CHUNK_ROWS, None)
    done = number * CHUNK_ROWS
    while (chunk := list(islice(rows, CHUNK_ROWS))) or number == 0:
        parts.add(number, *answering.answer(chunk))
        number, done = number + 1, done + len(chunk)
        progress(done)
    if on_tally is not None:
        on_tally(total(parts.tallies(), len(classifier.classes_)))
    return parts.join(errors)


def answering_of(
    classifier: FewShotClassifier | MultiLabelFewShotClassifier,
    column: str,
    reject: float | None,
    mark: str,
    on_bad_row: Callable[[InputRow], None] = lambda row: None,
    *,
    tool: ToolFormat | None = None,
    is_summed: bool = False,
) -> "Answering":
    """How a classifier answers rows. Raises OutputError and InputError for what does not go with several labels a text."""
    answerer = answerer_of(classifier, reject, mark)
    if tool is not None and len(answerer.names) != 2:
        raise OutputError(
            f"a file for {tool.kind} holds one label a text, and this classifier gives several; leave --format out"
        )
    if is_summed and not isinstance(answerer, OneLabel):
        raise InputError("a summary goes with one label a text, and this classifier gives several; leave --summary out")
    return Answering(answerer, column, on_bad_row, tool=tool, is_summed=is_summed)


def run_of(
    answering: "Answering", source: list[Any], column: str, reject: float | None, mark: str, engine: str = "local"
) -> dict[str, Any]:
    """What the parts of a run depend on, for `Parts`; source: the `identity` of its input."""
    run = {
        "engine": engine,  # others than "local" write parts in any order
        "input": source,
        "column": column,
        "reject": reject,
        "classifier": answering.answerer.fingerprint(),
        "chunk size": CHUNK_ROWS,
        "version": PARTS_FORMAT,
        "summary": [SUMMED_AT, reject] if answering.is_summed else None,
    }
    return run if isinstance(answering.answerer, OneLabel) else run | {"separator of labels": mark}


@dataclass(frozen=True)
class Answering:
    """How rows become output rows. Without `columns`, as in a pipe, each row keeps its own columns."""

    answerer: Answerer
    column: str
    on_bad_row: Callable[[InputRow], None]
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    tool: ToolFormat | None = None
    is_summed: bool = False

    def beside(self, input_columns: Sequence[str]) -> "Answering":
        """The same with fixed columns: those of the input, then the answer's."""
        heading = heading_of(self.column, input_columns)
        own = [*input_columns] if heading else [*input_columns, self.column]
        names = free_names(own, self.answerer.names)
        return replace(self, column=heading or self.column, columns=(*own, *names), names=names)

    def beside_columns_of(self, source: str, **how: Any) -> "Answering":
        """The same beside the columns of a file. Raises CorpusError where none of them holds the texts."""
        input_columns = column_names(source, (self.column,), **how)
        if input_columns and heading_of(self.column, input_columns) is None:
            raise no_column(source, self.column, input_columns, {"text": self.column})
        return self.beside(input_columns)

    def answer(self, chunk: list[InputRow]) -> tuple[list[Record], list[dict[str, Any]], Tally | None]:
        """An output row for each row, the problems among them, and what the answers sum up to."""
        texts = [row.text for row in chunk if row.text is not None]
        found, tally = self._answers(texts, len(chunk) - len(texts))
        answers, nothing = iter(found), (None,) * len(self.answerer.names)
        answered = [(row, nothing if row.text is None else next(answers)) for row in chunk]
        if self.tool is None:
            records = [self._record(row, answer) for row, answer in answered]
        else:
            records = [self.tool.task(row.cells, row.text, *answer) for row, answer in answered if row.text is not None]
        bad = [row for row in chunk if row.problem is not None]
        for row in bad:
            self.on_bad_row(row)
        return records, [{"row": row.number, "problem": row.problem} for row in bad], tally

    def _answers(self, texts: list[str], blank: int) -> tuple[list[Cells], Tally | None]:
        if self.is_summed:
            assert isinstance(self.answerer, OneLabel)
            return self.answerer.summed(texts, blank)
        return self.answerer.cells(texts) if texts else [], None

    def _record(self, row: InputRow, answer: Cells) -> Record:
        record = dict(row.cells)
        if heading_of(self.column, record) is None:
            record[self.column] = None
        names = self.names or free_names(record, self.answerer.names)
        return {**record, **dict(zip(names, answer, strict=True))}


def check_outputs(
    source: str,
    target: str,
    errors: Path | None,
    *,
    resume: bool = False,
    tool: ToolFormat | None = None,
    summary: Path | None = None,
) -> None:
    """Raises OutputError, before anything is opened, for files that cannot be written or are the same file."""
    if target == STDIN and resume:
        raise OutputError("standard output cannot be resumed; name a file with --output")
    if resume and source == STDIN:
        raise OutputError("standard input cannot be resumed; name a file with --input")
    options = {"--input": source, "--output": target, "--errors": errors, "--summary": summary}
    files = {
        option: Path(_expanded(str(name))) for option, name in options.items() if name not in (None, STDIN) and name
    }
    if summary is not None and summary.suffix.lower() != ".json":
        raise OutputError(f"--summary {summary}: a summary is written as JSON; name a file that ends in .json")
    if tool is not None:
        tool.check(target, "--output")
    if "--output" in files:
        kind_written(files["--output"])
    for option in ("--output", "--errors", "--summary"):
        path = files.get(option)
        if path is not None:
            check_file(path, option)
    for other, one in combinations(("--input", "--output", "--errors", "--summary"), 2):
        if one in files and other in files and _is_same(files[one], files[other]):
            raise OutputError(f"{one} {files[one]} is the same file as {other}, which would be lost; name another file")


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths mean the same file, also through links or before the file exists."""
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _to_stdout(
    answering: Answering,
    source: str,
    how: dict[str, Any],
    errors: Path | None,
    progress: Callable[[int], None],
    on_tally: Callable[[Tally], None] | None,
    n_way: int,
) -> int:
    bad, done, summed = 0, 0, total([], n_way)
    with ExitStack() as stack:
        listed = stack.enter_context(open(errors, "w", encoding="utf-8")) if errors else None
        for chunk in chunks(input_rows(source, answering.column, **how), source):
            answers, problems, tally = answering.answer(chunk)
            summed = summed if tally is None else summed + tally
            sys.stdout.writelines(json_line(row).encode("utf-8", "replace").decode("utf-8") for row in answers)
            sys.stdout.flush()  # for whoever reads the other end of a pipe
            if listed is not None:
                listed.writelines(json.dumps(problem) + "\n" for problem in problems)
            bad, done = bad + len(problems), done + len(chunk)
            progress(done)
    if on_tally is not None:
        on_tally(summed)
    return bad


def parquet_types(source: str, answering: Answering) -> dict[str, Any]:
    """Arrow types of the output: the input's own, if it is Parquet too, and strings for texts and labels."""
    known = column_types(Path(source)) if source.lower().endswith(".parquet") else {}
    return answer_types(answering.column, answering.names or answering.answerer.names) | known


def _expanded(name: str) -> str:
    return name if name == STDIN else str(Path(name).expanduser())


def identity(source: str) -> list[Any]:
    """What identifies a file and its content: path, size and time of change."""
    if source == STDIN or not Path(source).exists():
        return [source]
    status = Path(source).stat()
    return [str(Path(source).resolve()), status.st_size, status.st_mtime_ns]
