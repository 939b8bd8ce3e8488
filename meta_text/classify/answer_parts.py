"""Answers for a file: one part per chunk, joined into the file only when all parts are complete."""

import csv
import json
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from meta_text.classify.answer_table import as_text, concatenate_tables, write_table
from meta_text.classify.tally import Tally
from meta_text.errors import OutputError
from meta_text.files import whole_file
from meta_text.parsing import parse_json

KINDS = ("csv", "json", "jsonl", "parquet")
Record = dict[str, Any]  # an output row: the input's cells, then the answer


class Parts:
    """Answers for a CSV, JSON, JSONL or Parquet file, or a folder of Parquet, one part per chunk, in `.NAME.parts` next to it.

    `run` holds what the answers depend on. When resuming, parts of a different run are refused (OutputError);
    otherwise they are deleted. `columns` are the columns of every row, in order. kind: of the parts, if the suffix does not say.
    """

    def __init__(
        self,
        target: Path,
        run: Mapping[str, Any],
        columns: Sequence[str],
        types: Mapping[str, Any] | None = None,
        *,
        resume: bool,
        kind: str | None = None,
    ) -> None:
        self.target, self.columns, self.types = target, list(columns), types or {}
        self.kind = kind_written(target) if kind is None else kind
        self.folder = target.with_name(f".{target.name}.parts")
        about = self.folder / "run.json"
        if resume:
            self._check(about, run)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with whole_file(about) as partial:
                partial.write_text(json.dumps(run), encoding="utf-8")

    def _check(self, about: Path, run: Mapping[str, Any]) -> None:
        if not about.exists():
            raise OutputError(f"nothing to resume: no parts of {self.target}; run once without --resume")
        before = parse_json(about.read_text("utf-8"))
        changed = [key for key in run if before.get(key) != json.loads(json.dumps(run[key]))]
        if changed:
            raise OutputError(
                f"the parts of {self.target} were made with a different {' and '.join(changed)}; "
                "use the same, or run without --resume to start over"
            )

    def finished(self) -> list[Path]:
        """The complete parts, in order."""
        return sorted(self.folder.glob(f"[0-9]*.{self.kind}"))  # run.json is none

    def has(self, number: int) -> bool:
        """Whether a part is complete."""
        return self._part(number).exists()

    def problems(self) -> Iterator[dict[str, Any]]:
        """The problems of all complete parts, in order."""
        for part in self.finished():
            yield from map(json.loads, _lines(part.with_suffix(".problems")))

    def tallies(self) -> list[Tally]:
        """What the answers of each part sum up to, where that was counted."""
        files = sorted(self.folder.glob("[0-9]*.tally"))
        return [Tally.from_dict(json.loads(file.read_text("utf-8"))) for file in files]

    def add(
        self, number: int, answers: list[Record], problems: list[dict[str, Any]], tally: Tally | None = None
    ) -> None:
        """Write a chunk's answers, completely or not at all."""
        if tally is not None:
            (self.folder / f"{number:08d}.tally").write_text(json.dumps(tally.as_dict()), encoding="utf-8")
        with open(self.folder / f"{number:08d}.problems", "w", encoding="utf-8", errors="replace") as file:
            file.writelines(json.dumps(problem) + "\n" for problem in problems)
        with whole_file(self._part(number)) as partial:
            if self.kind == "parquet":
                write_table(answers, self.columns, self.types, partial)
                return
            # a lone surrogate, which UTF-8 cannot encode, is written as a question mark
            with open(partial, "w", encoding="utf-8", errors="replace", newline="") as file:
                if self.kind == "csv":
                    writer = csv.writer(file)
                    writer.writerows([self.columns] if number == 0 else [])
                    writer.writerows([as_text(row.get(column)) for column in self.columns] for row in answers)
                else:
                    file.writelines(map(json_line, answers))

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:08d}.{self.kind}"

    def join(self, errors: Path | None, files: Mapping[str, int] | None = None) -> int:
        """Join all parts into the target, which appears only when complete; returns how many rows had a problem.

        files: where the target is a folder, its files by name, each with how many of the parts are its own, in order.
        """
        whole = self.folder / "whole.partial"
        if files is None:
            joined = {"parquet": concatenate_tables, "json": concatenate_array}.get(self.kind, concatenate)
            joined(self.finished(), whole)
        else:
            parts = iter(self.finished())
            whole.mkdir(exist_ok=True)
            for name, count in files.items():
                concatenate_tables(list(islice(parts, count)), whole / name)
        problems = sorted(self.folder.glob("*.problems"))
        if errors is not None:
            concatenate(problems, errors)
        count = sum(path.read_bytes().count(b"\n") for path in problems)
        whole.replace(self.target)
        shutil.rmtree(self.folder)
        return count


def kind_written(target: Path) -> str:
    """The format of a file by its suffix. Raises OutputError for one that is not supported."""
    kind = target.suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise OutputError(f"{target}: unknown output format '{target.suffix}'; use .csv, .json, .jsonl or .parquet")
    return kind


def free_names(taken: Collection[str], names: Sequence[str]) -> tuple[str, ...]:
    """Names for the answer's columns that the input does not use.

    If one of these is taken, in any case, all get a prefix: predicted_label and predicted_probability, then
    predicted_2_label ...
    """
    folded = {name.casefold() for name in taken}
    for number in count():
        prefix = "" if number == 0 else "predicted_" if number == 1 else f"predicted_{number}_"
        free = tuple(f"{prefix}{name}" for name in names)
        if not folded & {name.casefold() for name in free}:
            break
    return free


def concatenate(parts: Iterable[Path], whole: Path) -> None:
    """Write the bytes of all parts to `whole`, one after another."""
    with open(whole, "wb") as file:
        for part in parts:
            with open(part, "rb") as read:
                shutil.copyfileobj(read, file)


def concatenate_array(parts: Iterable[Path], whole: Path) -> None:
    """Write the lines of JSON of all parts to `whole` as one array."""
    with open(whole, "w", encoding="utf-8") as file:
        file.writelines(json_array(line for part in parts for line in _lines(part)))


def _lines(part: Path) -> Iterator[str]:
    with open(part, encoding="utf-8", newline="\n") as file:
        yield from file


def json_array(lines: Iterable[str]) -> Iterator[str]:
    """The pieces of an array whose elements are lines of JSON."""
    before = "[\n"
    for line in lines:
        yield before + line.rstrip("\n")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def json_line(record: Record) -> str:
    """An output row as a line of JSON; NaN, which JSON does not have, becomes null."""
    plain = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in record.items()}
    return json.dumps(plain, ensure_ascii=False, default=as_text) + "\n"
