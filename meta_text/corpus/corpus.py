"""`Corpus`: checked labelled texts, and every way to read them."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from meta_text.corpus.class_split import ClassSplit as ClassSplit  # re-exported
from meta_text.corpus.class_split import read_lists
from meta_text.corpus.data_folder import class_splits, data_files, folder_rows, task_columns
from meta_text.corpus.dataset_rows import dataset_rows
from meta_text.corpus.known_corpora import KNOWN_CORPORA
from meta_text.corpus.labels import words
from meta_text.corpus.read_rows import placed_rows
from meta_text.corpus.row_checks import BadRows, NullLabel, RowChecker
from meta_text.corpus.table_row import Place, Row
from meta_text.corpus.text_lines import Note
from meta_text.errors import CorpusError, HubError
from meta_text.extras import needs
from meta_text.files import did_you_mean_file
from meta_text.hub_client import at_once_without_address, hub_errors, without_retry_lines
from meta_text.shipped import shipped_folder
from meta_text.wording import counted, did_you_mean


@dataclass(frozen=True)
class Corpus:
    """Texts with their classes.

    In a corpus of many small tasks (ARSC: each domain and rating threshold has its own two classes)
    `groups` says for every class which task it belongs to; only classes of one group are in the same
    episode, and a class's unique name is then "group/label". `notes` says what was guessed in reading.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]  # row -> index into class_names
    class_names: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further columns, one value per row
    groups: tuple[str, ...] | None = None  # class -> group
    class_labels: tuple[str, ...] | None = None  # class -> its label, if class_names contain more than that
    origins: tuple[str, ...] | None = None  # class -> the corpus it came from, in a mixture of several
    out_of_scope: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    class_splits: Mapping[str, ClassSplit] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was guessed or skipped in reading

    def rows_of(self, class_name: str) -> list[int]:
        """The rows of one class, in file order."""
        return self._rows_by_class[self.class_index(class_name)]

    def class_index(self, class_name: str) -> int:
        try:
            return self._index[class_name]
        except KeyError:
            hint = did_you_mean(class_name, self.class_names)
            raise CorpusError(f"corpus '{self.name}' has no class '{class_name}'{hint}") from None

    def units(self, field: str | None = None) -> dict[str, str]:
        """Class -> what must stay together when classes are divided: itself or its task, or its value of a field."""
        if field is None:
            groups = self.groups or self.class_names
            return {name: group or name for name, group in zip(self.class_names, groups, strict=True)}
        if field not in self.fields:
            columns = ", ".join(self.fields) or "none"
            raise CorpusError(f"corpus '{self.name}' has no field '{field}' (found: {columns})")
        values = {name: sorted({self.fields[field][row] for row in self.rows_of(name)}) for name in self.class_names}
        for class_name, several in values.items():
            if len(several) > 1:
                raise CorpusError(
                    f"class '{class_name}' has {len(several)} values of '{field}' ({', '.join(several)}); one is needed"
                )
        return {class_name: value for class_name, [value] in values.items()}

    def label_text(self, class_name: str) -> str:
        """A class's label as words: underscores as spaces, without the task or corpus it belongs to."""
        index = self.class_index(class_name)
        if self.class_labels is not None:
            return words(self.class_labels[index])
        return words(class_name.removeprefix(f"{self.groups[index]}/") if self.groups is not None else class_name)

    def describe(self) -> str:
        """One line for people: sizes, every row that was skipped with its reason, and what was guessed."""
        summary = f"{counted(len(self.texts), 'text')}, {counted(len(self.class_names), 'class', 'classes')}"
        if self.groups is not None:
            tasks = len(set(zip(self.origins or self.groups, self.groups, strict=True)))
            summary += f" in {counted(tasks, 'task')}"
        if self.out_of_scope:
            summary += f", {len(self.out_of_scope)} out of scope"
        for reason, count in self.skipped.items():
            summary += f"; skipped {count} ({reason})"
        summary += "".join(f"; {note}" for note in self.notes)
        return f"{self.name}: {summary}"

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.class_names)}

    @cached_property
    def _rows_by_class(self) -> dict[int, list[int]]:
        rows: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(self.labels):
            rows[label].append(row)
        return rows

    def thinned(self, class_names: Sequence[str], most: int, seed: int) -> "Corpus":
        """The same corpus with at most `most` texts, drawn by seed, of each named class."""
        rng = np.random.default_rng([seed, 2])
        spare = [row for name in class_names for row in rng.permutation(self.rows_of(name))[most:].tolist()]
        return self.without(spare)

    def without(self, rows: Iterable[int]) -> "Corpus":
        """The same corpus without these rows; class names stay, later rows move up."""
        gone = set(rows)
        kept = [row for row in range(len(self.texts)) if row not in gone]

        def pick(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[row] for row in kept)

        fields = {key: pick(column) for key, column in self.fields.items()}
        return replace(self, texts=pick(self.texts), labels=pick(self.labels), fields=fields)

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        name: str,
        text: str = "text",
        label: str = "label",
        group: Sequence[str] = (),
        bad_rows: BadRows = "raise",
        null_label: NullLabel = "missing",
        out_of_scope: str | None = None,
    ) -> "Corpus":
        """Build from mappings. `text` and `label` name columns; `group` those whose values define a task.

        Raises CorpusError for a missing column, an empty or non-string text, a missing label, the same
        text under two labels, or no row at all. With bad_rows="skip" such rows are counted instead.
        With null_label="out of scope" a row whose label is None belongs to no class; otherwise its label is missing.
        Rows labelled `out_of_scope` belong to no class either.
        """
        placed = ((Place(name, number), row) for number, row in enumerate(rows, start=1))
        return cls._of(placed, name, text, label, group, bad_rows, null_label, out_of_scope)

    @classmethod
    def _of(
        cls,
        rows: Iterable[tuple[Place, Mapping[str, Any]]],
        name: str,
        text: str,
        label: str,
        group: Sequence[str] = (),
        bad_rows: BadRows = "raise",
        null_label: NullLabel = "missing",
        out_of_scope: str | None = None,
        source: str | Path | None = None,
    ) -> "Corpus":
        """`from_rows` for rows that know their places; `source` is the file or folder that they are from."""
        checker = RowChecker(name, text, label, tuple(group), bad_rows, null_label, out_of_scope, source)
        for place, row in rows:
            checker.add(place, row)
        return cls(**checker.finish())

    @classmethod
    def from_csv(cls, path: str | Path, **options: Any) -> "Corpus":
        """A CSV or TSV file with a header line; options as in `from_file`."""
        return cls.from_file(path, **options)

    @classmethod
    def from_jsonl(cls, path: str | Path, **options: Any) -> "Corpus":
        """One JSON object per line; options as in `from_file`."""
        return cls.from_file(path, **options)

    @classmethod
    def from_parquet(cls, path: str | Path, **options: Any) -> "Corpus":
        """A Parquet file (extra `[parquet]`); options as in `from_file`."""
        return cls.from_file(path, **options)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        text: str = "text",
        label: str = "label",
        separator: str | None = None,
        encoding: str | None = None,
        note: Note | None = None,
        **options: Any,
    ) -> "Corpus":
        """A file by its suffix: CSV, TSV, JSON lines or array, Excel or Parquet; text formats also with .gz.

        A guessed separator or encoding is reported to `note` and kept in `notes`; separator= and encoding= override the
        guess. Columns are found whatever their case. Other options as in `from_rows`.
        """
        notes: list[str] = []

        def keep(line: str) -> None:
            notes.append(line)
            if note is not None:
                note(line)

        rows = placed_rows(path, (text, label), separator=separator, encoding=encoding, note=keep)
        name = Path(path).name.split(".")[0] if name is None else name
        corpus = cls._of(rows, name, text, label, source=path, **options)
        return replace(corpus, notes=(*notes, *corpus.notes))

    @classmethod
    def from_dataset(cls, dataset: Any, *, name: str = "dataset", **options: Any) -> "Corpus":
        """A data set in memory: from `datasets` (also a stream), a pandas or polars DataFrame, a pyarrow Table, or dicts.

        ClassLabel columns keep their names, int and bool labels become strings. A DatasetDict is refused: its splits
        may be meant to stay separate. Options as in `from_rows`.
        """
        return cls.from_rows(dataset_rows(dataset), name=name, **options)

    @classmethod
    def from_hub(
        cls, repo_id: str, *, config: str | None = None, revision: str | None = None, **options: Any
    ) -> "Corpus":
        """All splits of a data set on the Hugging Face Hub, together (extra `[train]`). Raises HubError."""
        with needs("train", "a corpus from the Hub"):
            import datasets

        with hub_errors(repo_id, "pull"), without_retry_lines(), at_once_without_address():
            parts = datasets.load_dataset(repo_id, config, revision=revision)
        options.setdefault("name", repo_id.split("/")[-1])
        return cls.from_dataset(datasets.concatenate_datasets(list(parts.values())), **options)

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        text: str = "text",
        label: str = "label",
        separator: str | None = None,
        encoding: str | None = None,
        note: Note | None = None,
        bad_rows: BadRows = "skip",
    ) -> "Corpus":
        """A folder of files with texts (any format but .json), with class_splits/*.json or domains.json.

        With a domains.json ({"train_domains": [...], "test_domains": [...], optionally "validation_domains"})
        every value of the row fields `domain` (and `threshold`, if there) is a separate task. The field
        `file` says which file a row came from. A label that is null means out of scope in the files
        out_of_scope.*; elsewhere it is missing. Other options as in `from_file`.
        """
        folder = Path(path).expanduser()
        notes: dict[str, None] = {}  # in order, each once

        def rows_of(file: Path) -> Iterator[tuple[Place, Row]]:
            return placed_rows(file, (text, label), separator=separator, encoding=encoding, note=notes.setdefault)

        files, domains = data_files(folder), folder / "domains.json"
        corpus = cls._of(
            folder_rows(files, label, rows_of),
            name or folder.resolve().name,
            text,
            label,
            group=task_columns(files, rows_of) if domains.exists() else (),
            bad_rows=bad_rows,
            null_label="out of scope",
            source=folder,
        )
        if note is not None:
            for line in notes:
                note(line)
        splits = class_splits(folder)
        if domains.exists():
            listed = read_lists(domains, ("train_domains", "test_domains"))
            splits["domains"] = ClassSplit.by_listed_domains(corpus, listed)
        return replace(corpus, class_splits=splits, notes=(*notes, *corpus.notes))

    @classmethod
    def open(cls, name_or_path: str | Path, **options: Any) -> "Corpus":
        """A known name (META_TEXT_DATA/NAME first, then the package, then the Hub), a folder, or a file.

        `~` is expanded. Options of files and folders: text=, label=, separator=, encoding=, note=, bad_rows=, as in `from_file`.
        """
        if not str(name_or_path).strip():  # a path would make it the working folder
            raise CorpusError(
                f"the corpus has no name ({str(name_or_path)!r}); name a file, a folder or a known corpus"
            )
        path = Path(name_or_path).expanduser()
        if path.is_dir():
            return cls.from_folder(path, **options)
        if path.is_file():
            return cls.from_file(path, **options)
        name = str(name_or_path)
        root = os.environ.get("META_TEXT_DATA")
        if root and (Path(root).expanduser() / name).is_dir():
            return cls.from_folder(Path(root).expanduser() / name, **options)
        if name not in KNOWN_CORPORA:
            known = ", ".join(KNOWN_CORPORA)
            hint = did_you_mean(name, KNOWN_CORPORA) or did_you_mean_file(path)
            raise CorpusError(f"'{name}' is neither a file, a folder nor a known corpus ({known}){hint}")
        if KNOWN_CORPORA[name].shipped:
            return cls.from_folder(shipped_folder("data") / name)
        source = KNOWN_CORPORA[name].source
        where = f"META_TEXT_DATA ({root})" if root else "META_TEXT_DATA (not set)"
        way_out = f"set META_TEXT_DATA to a folder that contains {name}/"
        if source is None:
            raise CorpusError(f"corpus '{name}' is not in {where} and has no copy on the Hub; {way_out}")
        columns = {"text": source.text, "label": source.label, "out_of_scope": source.out_of_scope}
        try:
            return cls.from_hub(source.repo_id, config=source.config, name=name, bad_rows="skip", **columns)
        except HubError as error:
            raise HubError(f"corpus '{name}' is not in {where}: {error}, or {way_out}") from error
