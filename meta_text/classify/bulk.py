"""Parquet of any length in spans of rows, which workers answer in any order: a file, or each file of a folder.

The chunks and parts are those of `predict_file`, so the answers are too: the target of a file equals what `predict_file` writes, and
so does each file of a folder. What a killed worker or run has answered stays in the parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import ceil
from pathlib import Path

from meta_text.classify.answer_parts import Parts
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.input_rows import CHUNK_ROWS, STDIN, InputRow, parquet_input
from meta_text.classify.multilabel import MultiLabelFewShotClassifier
from meta_text.classify.predict_file import Answering, answering_of, check_outputs, identity, parquet_types, run_of
from meta_text.corpus.arrow_rows import parquet_length
from meta_text.errors import InputError, OutputError

SPAN_CHUNKS = 16  # handed to a worker at once, so that the queue stays short and little of a row group is read twice
SPANS_PER_WORKER = 4  # at least, of a short file: no worker waits long for the last
TRIES = 5  # of one chunk, before what kills its worker is taken to be the chunk


@dataclass(frozen=True)
class Span:
    """Consecutive chunks of one file, by number: `first` within the file, `part` among the parts of all files."""

    file: int
    first: int
    part: int
    chunks: int
    rows: int


@dataclass(frozen=True)
class Bulk:
    """What is asked: files, and how each is answered. Pickled to the workers, so paths are absolute."""

    files: tuple[Path, ...]
    target: Path
    in_folder: bool  # both the input and the target
    column: str
    reject: float | None
    mark: str
    is_summed: bool

    @classmethod
    def of(
        cls,
        source: str,
        target: str,
        column: str,
        reject: float | None = None,
        mark: str = "|",
        is_summed: bool = False,
    ) -> "Bulk":
        """Of what `check_bulk` lets pass."""
        path, whole = Path(source).expanduser().absolute(), Path(target).expanduser().absolute()
        return cls(parquet_files(path), whole, path.is_dir(), column, reject, mark, is_summed)

    @cached_property
    def lengths(self) -> list[int]:
        """How many rows each file has."""
        return [parquet_length(file) for file in self.files]

    def chunks(self) -> list[int]:
        """How many chunks each file has; one without rows has one, for it is written too."""
        return [max(1, ceil(length / CHUNK_ROWS)) for length in self.lengths]

    def answering(self, classifier: FewShotClassifier | MultiLabelFewShotClassifier, file: int) -> Answering:
        """How the rows of a file are answered. Raises as `answering_of` and `beside_columns_of` do."""
        answering = answering_of(classifier, self.column, self.reject, self.mark, is_summed=self.is_summed)
        return answering.beside_columns_of(str(self.files[file]))

    def open(
        self, classifier: FewShotClassifier | MultiLabelFewShotClassifier, file: int = 0, *, resume: bool
    ) -> tuple[Answering, Parts]:
        """How the rows of a file are answered, and where the answers go. Raises as `answering` and `Parts` do."""
        answering = self.answering(classifier, file)
        inputs = [part for path in self.files for part in identity(str(path))]
        run = run_of(answering, inputs, self.column, self.reject, self.mark, engine="ray")
        types = parquet_types(str(self.files[file]), answering)
        return answering, Parts(self.target, run, answering.columns, types, resume=resume, kind="parquet")

    def pending(self, parts: Parts, workers: int) -> list[Span]:
        """What is not answered yet, in order."""
        counts, size = self.chunks(), CHUNK_ROWS
        most = min(SPAN_CHUNKS, max(1, sum(counts) // (SPANS_PER_WORKER * workers)))
        spans, part = [], 0
        for file, count in enumerate(counts):
            for first in range(0, count, most):
                chunks = min(most, count - first)
                rows = min(chunks * size, self.lengths[file] - first * size)
                span = Span(file, first, part + first, chunks, rows)
                if not all(parts.has(number) for number in range(span.part, span.part + span.chunks)):
                    spans.append(span)
            part += count
        return spans

    def answer(self, classifier: FewShotClassifier | MultiLabelFewShotClassifier, span: Span) -> None:
        """Answer what a span lacks. Raises InputError for a chunk that kills its workers."""
        answering, parts = self.open(classifier, span.file, resume=True)
        rows = parquet_input(self.files[span.file], self.column, span.first * CHUNK_ROWS)
        for number in range(span.part, span.part + span.chunks):
            chunk = list(islice(rows, CHUNK_ROWS))
            if parts.has(number):  # answered by a worker that was killed later
                continue
            self._count_try(parts, number, span, chunk)
            records, problems, tally = answering.answer(chunk)
            if self.in_folder:
                problems = [{"file": self.files[span.file].name, **problem} for problem in problems]
            parts.add(number, records, problems, tally)

    def join(self, parts: Parts, errors: Path | None) -> int:
        """Write the target from its parts; returns how many rows had no readable text."""
        if not self.in_folder:
            return parts.join(errors)
        return parts.join(errors, dict(zip((file.name for file in self.files), self.chunks(), strict=True)))

    def bad_rows(self, parts: Parts) -> Iterator[InputRow]:
        """The rows without a readable text, each by its number in its file."""
        for problem in parts.problems():
            place = f"{problem['file']}: " if self.in_folder else ""
            yield InputRow(problem["row"], None, place + problem["problem"])

    def _count_try(self, parts: Parts, number: int, span: Span, chunk: list[InputRow]) -> None:
        """A byte for each try, before it: who is killed cannot write it afterwards."""
        tries = parts.folder / f"{number:08d}.tries"
        with open(tries, "ab") as file:
            file.write(b".")
        if tries.stat().st_size > TRIES:
            raise InputError(
                f"{self.files[span.file]}, rows {chunk[0].number} to {chunk[-1].number}: {TRIES} workers were killed at them, "
                "most likely for want of memory; take fewer --workers, and go on with --resume"
            )


def forget_tries(parts: Parts) -> None:
    """For a run to resume, perhaps with fewer workers."""
    for tries in parts.folder.glob("*.tries"):
        tries.unlink()


def parquet_files(source: Path) -> tuple[Path, ...]:
    """The file, or those of the folder by name. Raises InputError if there are none, or if it is of another format."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    found = tuple(file for file in files if file.suffix.lower() == ".parquet" and not file.name.startswith((".", "_")))
    if not found:
        what = "has no .parquet file" if source.is_dir() else "is not one"
        raise InputError(
            f"--engine ray reads a Parquet file or a folder of such files, and {source} {what}; "
            "write the texts as Parquet, or leave --engine out"
        )
    return found


def check_bulk(
    source: str, target: str, errors: Path | None, *, resume: bool = False, summary: Path | None = None
) -> None:
    """Raises InputError and OutputError, before anything is opened, for what cannot be read or written in bulk."""
    if STDIN in (source, target):
        raise InputError(
            "--engine ray reads and writes Parquet, not standard input and output; name files with --input and --output"
        )
    path, whole = Path(source).expanduser(), Path(target).expanduser()
    files = parquet_files(path)
    if not path.is_dir():
        if whole.suffix.lower() != ".parquet":
            raise OutputError(f"--engine ray writes Parquet, and --output is {target}; let its name end in .parquet")
        check_outputs(source, target, errors, resume=resume, summary=summary)
        return
    if whole.is_file() or (whole.is_dir() and any(whole.iterdir())):
        what = "is a file" if whole.is_file() else "is not empty"
        raise OutputError(f"--input is a folder, and --output {target} {what}; name a folder that is new or empty")
    if not whole.parent.is_dir():
        raise OutputError(f"--output {target}: the folder {whole.parent} does not exist; create it first")
    for file in files:
        check_outputs(str(file), STDIN, errors, summary=summary)
